import t, { type Test } from 'tap'
import { build } from '../support/server.js'
import {
  elapse,
  makeFamily,
  outcomeOf,
  refresh,
  type RefreshAnswer
} from '../support/refresh-fixtures.js'

/*
 * Cases of refresh tokens in the field, and this server's outcome for each. Other servers' rules
 * fail at least one of them: they sign out two tabs, or an app that lost an answer, or they never
 * notice a thief.
 */
const running = await build(t)
const {
  url,
  app: {
    holdfast: { prisma }
  }
} = running

/** A client that holds a refresh token and keeps each new one. */
class Holder {
  token: string
  last: RefreshAnswer | null = null

  constructor(token: string) {
    this.token = token
  }

  async refresh(options: { lost?: boolean; key?: string } = {}): Promise<string> {
    this.last = await refresh(
      url,
      this.token,
      options.key === undefined ? {} : { key: options.key }
    )
    if (this.last.status === 200 && !options.lost) this.token = this.last.body.refresh_token
    return outcomeOf(this.last)
  }

  copy(): Holder {
    return new Holder(this.token)
  }
}

const REUSED = '400 invalid_grant refresh_reused'

async function scenario(
  name: string,
  play: (
    t: Test,
    owner: Holder,
    pass: (seconds: number) => Promise<void>,
    sessionId: string
  ) => Promise<void>
): Promise<void> {
  await t.test(name, async (t) => {
    const family = await makeFamily(running)
    await play(
      t,
      new Holder(family.refreshToken),
      (seconds) => elapse(prisma, family.sessionId, seconds),
      family.sessionId
    )
  })
}

await scenario('two tabs 0.2 s apart, and both alive 15 minutes later', async (t, tab, pass) => {
  const other = tab.copy()
  t.equal(await tab.refresh(), '200')
  t.equal(await other.refresh(), '200')
  t.equal(tab.token, other.token)
  await pass(900)
  t.equal(await tab.refresh(), '200')
  t.equal(await other.refresh(), '200')
  await pass(900)
  t.equal(await other.refresh(), '200')
  t.equal(await tab.refresh(), '200')
})

await scenario('a lost answer, asked for again 5 s later', async (t, app, pass) => {
  t.equal(await app.refresh({ lost: true }), '200')
  await pass(5)
  t.equal(await app.refresh(), '200')
  await pass(900)
  t.equal(await app.refresh(), '200')
})

await scenario(
  'a lost answer, asked for again an hour later with the same key',
  async (t, app, pass) => {
    t.equal(await app.refresh({ lost: true, key: 'attempt-1' }), '200')
    await pass(3_600)
    t.equal(await app.refresh({ key: 'attempt-1' }), '200')
    await pass(900)
    t.equal(await app.refresh({ key: 'attempt-2' }), '200')
  }
)

await scenario(
  'a thief and an owner who alternate hourly are noticed at the first step outside the window',
  async (t, owner, pass, sessionId) => {
    const thief = owner.copy()
    t.equal(await thief.refresh(), '200')
    await pass(3_600)
    t.equal(await owner.refresh(), REUSED)
    t.equal(await thief.refresh(), REUSED, "the thief's token is refused as well")
    t.equal(
      (await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })).revokedReason,
      'refresh_reused'
    )
  }
)

await scenario(
  'a token fifty generations old is refused 5 s after a refresh',
  async (t, owner, pass) => {
    const old = owner.copy()
    for (let i = 0; i < 50; i++) t.equal(await owner.refresh(), '200')
    await pass(5)
    t.equal(await old.refresh(), REUSED)
  }
)

await scenario(
  'whoever shows the parent every 2 s is given the same child, and after 32 s nothing',
  async (t, owner, pass) => {
    const replayer = owner.copy()
    t.equal(await owner.refresh(), '200')
    for (let elapsed = 2; elapsed <= 28; elapsed += 2) {
      await pass(2)
      t.equal(await replayer.refresh({ lost: true }), '200')
      t.equal(replayer.last?.body.refresh_token, owner.token)
    }
    await pass(4)
    t.equal(await replayer.refresh(), REUSED)
  }
)

await scenario(
  'a theft inside the window, and separate schedules afterwards: noticed at the first step',
  async (t, owner, pass) => {
    const thief = owner.copy()
    t.equal(await owner.refresh(), '200')
    await pass(10)
    t.equal(await thief.refresh(), '200')
    t.equal(thief.token, owner.token, 'there is no fork: both have the same successor')
    await pass(3_600)
    t.equal(await thief.refresh(), '200')
    await pass(1_800)
    t.equal(await owner.refresh(), REUSED)
  }
)

await scenario(
  "two clients with one idempotency key are no key to each other's sessions",
  async (t, owner, pass) => {
    const bystander = new Holder((await makeFamily(running)).refreshToken)
    t.equal(await owner.refresh({ lost: true, key: 'attempt-1' }), '200')
    t.equal(await bystander.refresh({ key: 'attempt-1' }), '200')
    await pass(3_600)
    t.equal(await owner.refresh({ key: 'attempt-1' }), '200')
  }
)
