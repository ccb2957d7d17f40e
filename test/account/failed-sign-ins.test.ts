import { randomUUID } from 'node:crypto'
import t from 'tap'
import { systemClock } from '../../src/clock.js'
import { FailedAttempts, ROWS_OF_WINDOW } from '../../src/account/failed-attempts.js'
import { hashName } from '../../src/account/name-hash.js'
import { eraseAccountEvents } from '../../src/account/store.js'
import { deriveKeys } from '../../src/secrets/keys.js'
import {
  authSecret,
  Browser,
  build,
  makeAdmin,
  password,
  proveAddress,
  signIn,
  signUp,
  start,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { findAccountEvents } from '../support/account-events.js'
import { recording } from '../support/count.js'
import { until } from '../support/poll.js'
import { totpOf } from '../support/totp.js'
import { readStore } from '../support/store-contents.js'

const WRONG = 'a wrong guess, surely'

/** Tries a password, as a browser from this address. */
function attempt(
  { url }: Running,
  email: string,
  secret = WRONG,
  address = '203.0.113.7'
): Promise<Response> {
  return new Browser(url).post(
    '/api/auth/sign-in/email',
    { email, password: secret },
    { 'x-forwarded-for': address, 'user-agent': 'a test' }
  )
}

const behindProxy = { trustedProxies: ['127.0.0.1'] }

/** Rows of failed attempts, once they contain this many attempts. */
async function attemptsIn(
  running: Running,
  count: number,
  kind = 'sign_in_failed'
): Promise<Record<string, unknown>[]> {
  return until<Record<string, unknown>[] | null>(
    `${count} attempts to be written`,
    async () => {
      const rows = await findAccountEvents(running, { kind })
      return rows.reduce((sum, row) => sum + Number(row['count']), 0) >= count ? rows : null
    },
    20_000
  )
}

/** A row without its own values: rows that differ in nothing else have one shape. */
function shapeOf(row: Record<string, unknown> | undefined): unknown {
  const { id, at, lastAt, userId, nameHash, sumKey, cause, ...same } = row ?? {}
  return {
    ...same,
    types: [id, at, lastAt, nameHash, sumKey, cause].map((value) => typeof value),
    userId: userId === null || typeof userId
  }
}

/** Whether a failed sign-in sends this statement. Others are sent by jobs. */
function isOfSignIn(text: string): boolean {
  return (
    /account_event|failed attempts|KEY SHARE|FROM "user"|"public"."user"/.test(text) &&
    !/ORDER BY "public"|OFFSET/.test(text)
  )
}

/** An attempt from one of many networks. */
function fromNetwork(i: number) {
  return {
    kind: 'sign_in_failed' as const,
    cause: 'user_unknown',
    sessionId: null,
    ipAddress: `10.${(i >> 8) & 255}.${i & 255}.1`,
    userAgent: null
  }
}

/** What an erasure keeps of rows. */
function factsOf(rows: Record<string, unknown>[]): unknown {
  return rows.map(({ id, at, kind, cause, actor, actorId, userId, count }) => ({
    id,
    at,
    kind,
    cause,
    actor,
    actorId,
    userId,
    count
  }))
}

async function secondFactor(person: Person): Promise<{ secret: string; backupCodes: string[] }> {
  const { browser } = person
  await proveAddress(person)
  const { totpURI, backupCodes } = (await (
    await browser.post('/api/auth/two-factor/enable', { password })
  ).json()) as { totpURI: string; backupCodes: string[] }
  const secret = new URL(totpURI).searchParams.get('secret') ?? ''
  await browser.post('/api/auth/two-factor/verify-totp', { code: totpOf(secret) })
  return { secret, backupCodes }
}

t.test(
  'O15: a failed sign-in is told with its cause, address, and the keyed hash of the name',
  async (t) => {
    const running = await build(t, behindProxy)
    const ada = await signUp(running.url)
    const stranger = `${randomUUID()}@example.com`
    t.equal((await attempt(running, ada.email)).status, 401)
    t.equal((await attempt(running, stranger.toUpperCase())).status, 401)
    const rows = await attemptsIn(running, 2)
    t.equal(rows.length, 2)
    const known = rows.find(({ userId }) => userId === ada.id)
    const unknown = rows.find(({ userId }) => userId === null)
    const hash = (name: string) =>
      hashName(deriveKeys(running.options.authSecret ?? authSecret).eventNames, name)
    t.match(known, {
      cause: 'wrong_password',
      actor: 'unknown',
      actorId: null,
      ipAddress: '203.0.113.7',
      userAgent: 'a test',
      nameHash: hash(ada.email),
      count: 1,
      sessionId: null,
      detail: null
    })
    t.match(unknown, {
      cause: 'user_unknown',
      actor: 'unknown',
      actorId: null,
      ipAddress: '203.0.113.7',
      userAgent: 'a test',
      nameHash: hash(stranger),
      count: 1,
      sessionId: null,
      detail: null
    })
    t.strictSame(
      shapeOf({ ...known, userId: null }),
      shapeOf(unknown),
      'a known and an unknown name leave rows of one shape'
    )
  }
)

t.test(
  'O15: a known and an unknown name cost the same statements, before the answer and behind it',
  async (t) => {
    const running = await build(t)
    const ada = await signUp(running.url)
    let count = 0
    const statementsOf = (email: string) =>
      recording(async () => {
        t.equal((await attempt(running, email)).status, 401)
        await attemptsIn(running, ++count)
      })
    await statementsOf(`${randomUUID()}@example.com`) // for statements that are sent only once
    const known = (await statementsOf(ada.email)).filter(isOfSignIn)
    const unknown = (await statementsOf(`${randomUUID()}@example.com`)).filter(isOfSignIn)
    // Inside a transaction of the embedded store statements cannot be observed.
    t.equal(
      known.some((text) => text.includes('INSERT INTO "account_event"')),
      storage === 'postgres'
    )
    t.strictSame(known.toSorted(), unknown.toSorted())
  }
)

t.test('O15: attempts that are alike are one row with a count', async (t) => {
  const running = await build(t, behindProxy)
  const ada = await signUp(running.url)
  for (let i = 0; i < 6; i++) await attempt(running, ada.email, WRONG, `203.0.113.${i}`)
  await attempt(running, ada.email, WRONG, '198.51.100.1')
  const rows = await attemptsIn(running, 7)
  t.strictSame(
    rows.map(({ count, ipAddress }) => `${count} ${ipAddress}`).toSorted(),
    ['1 198.51.100.1', '6 203.0.113.5'],
    'a row for each network, with the last address'
  )
})

t.test('O15: every cause of a failed sign-in is told, and counted in the metrics', async (t) => {
  const running = await build(t, { rateLimit: true, ...behindProxy })
  const { app } = running
  const ada = await signUp(running.url)
  const factors = await secondFactor(ada)
  const banned = await signUp(running.url)
  await app.holdfast.auth.users.update(banned.id, { banned: true })
  t.equal((await attempt(running, banned.email, password)).status, 403)
  t.equal((await attempt(running, ada.email)).status, 401)
  const browser = new Browser(running.url)
  t.match(
    await (await browser.post('/api/auth/sign-in/email', { email: ada.email, password })).json(),
    { twoFactorRedirect: true }
  )
  t.equal((await browser.post('/api/auth/two-factor/verify-totp', { code: '000000' })).status, 401)
  t.equal(
    (await browser.post('/api/auth/two-factor/verify-backup-code', { code: 'nonsense' })).status,
    401
  )
  t.equal(
    (
      await browser.post('/api/auth/two-factor/verify-backup-code', {
        code: factors.backupCodes[0]
      })
    ).status,
    200
  )
  t.equal(
    (await new Browser(running.url).post('/api/auth/two-factor/verify-totp', { code: '000000' }))
      .status,
    401,
    'without a challenge'
  )
  const limited = `${randomUUID()}@example.com`
  for (let i = 0; i < 10; i++) await attempt(running, limited)
  t.equal((await attempt(running, limited)).status, 429)
  t.equal(
    (await new Browser(running.url).post('/api/auth/sign-in/email', { email: 7, password })).status,
    400
  )
  t.equal(
    (
      await browser.post('/api/auth/change-password', {
        currentPassword: WRONG,
        newPassword: 'Tr0ub4dor & three more words'
      })
    ).status,
    400
  )
  const rows = await attemptsIn(running, 15)
  const told = new Map<string, number>()
  for (const { cause, userId, count } of rows) {
    const key = `${String(cause)} ${userId === ada.id ? 'ada' : userId === banned.id ? 'banned' : String(userId)}`
    told.set(key, (told.get(key) ?? 0) + Number(count))
  }
  t.strictSame(Object.fromEntries(told), {
    'user_banned banned': 1,
    'wrong_password ada': 1,
    'wrong_code ada': 2,
    'user_unknown null': 10,
    'rate_limited null': 1
  })
  const [again] = await attemptsIn(running, 1, 'reauthentication_failed')
  t.match(again, {
    cause: 'wrong_password',
    userId: ada.id,
    nameHash: null,
    sessionId: /^[0-9a-f-]{36}$/
  })
  const metrics = await (await fetch(`${running.url}/metrics`)).text()
  for (const line of [
    'holdfast_sign_ins_total{outcome="ok"} 0',
    'holdfast_sign_ins_total{outcome="second_factor_required"} 1',
    'holdfast_sign_ins_total{outcome="wrong_password"} 1',
    'holdfast_sign_ins_total{outcome="unknown"} 10',
    'holdfast_sign_ins_total{outcome="banned"} 1',
    'holdfast_sign_ins_total{outcome="limited"} 1',
    'holdfast_sign_ins_total{outcome="invalid"} 1',
    'holdfast_second_factors_total{factor="totp",outcome="ok"} 1',
    'holdfast_second_factors_total{factor="totp",outcome="wrong"} 1',
    'holdfast_second_factors_total{factor="totp",outcome="expired"} 1',
    'holdfast_second_factors_total{factor="backup_code",outcome="wrong"} 1',
    'holdfast_second_factors_total{factor="backup_code",outcome="ok"} 1'
  ])
    t.ok(metrics.includes(line), line)
})

t.test('O15: a second factor that is locked is told', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  await secondFactor(ada)
  const statuses: number[] = []
  while (!statuses.includes(429) && statuses.length < 20) {
    const browser = new Browser(running.url)
    await browser.post('/api/auth/sign-in/email', { email: ada.email, password })
    for (let i = 0; i < 4; i++)
      statuses.push(
        (await browser.post('/api/auth/two-factor/verify-totp', { code: '000000' })).status
      )
  }
  t.ok(statuses.includes(429))
  const rows = await attemptsIn(running, statuses.length)
  t.ok(rows.some(({ cause, userId }) => cause === 'second_factor_locked' && userId === ada.id))
})

t.test(
  'O15: a flood from many names and networks leaves a bounded number of rows, and every attempt is counted',
  async (t) => {
    const running = await build(t)
    const ada = await signUp(running.url)
    const { prisma } = running.app.holdfast
    // Two processes on one store, whose attempts are written at the same time.
    const nodes = [1, 2].map(() => new FailedAttempts({ prisma, now: () => performance.now() }))
    const FLOOD = 6_000
    for (let i = 0; i < FLOOD; i++)
      nodes[i % 2]?.note({ ...fromNetwork(i), userId: null, nameHash: `name-${i}` })
    await Promise.all(nodes.map((node) => node.flush()))
    for (let i = 0; i < FLOOD; i++)
      nodes[i % 2]?.note({ ...fromNetwork(i + FLOOD), userId: null, nameHash: `other-${i}` })
    await Promise.all(nodes.map((node) => node.flush()))
    const rows = await attemptsIn(running, 2 * FLOOD)
    t.ok(rows.length <= ROWS_OF_WINDOW.unknown + ROWS_OF_WINDOW.network + 1, `${rows.length} rows`)
    t.ok(rows.length >= ROWS_OF_WINDOW.unknown)
    t.equal(
      rows.reduce((sum, { count }) => sum + Number(count), 0),
      2 * FLOOD
    )
    t.ok(
      rows.some(
        ({ nameHash, ipAddress }) => nameHash === null && String(ipAddress).endsWith('.0/24')
      ),
      'some are counted by network'
    )
    t.ok(
      rows.some(({ nameHash, ipAddress }) => nameHash === null && ipAddress === null),
      'and the rest in all'
    )
    // Invented names do not push out a user's own rows. From however many networks, those are few.
    for (let i = 0; i < 500; i++)
      nodes[i % 2]?.note({
        ...fromNetwork(i),
        cause: 'wrong_password',
        userId: ada.id,
        nameHash: 'ada'
      })
    await Promise.all(nodes.map((node) => node.flush()))
    const hers = (await attemptsIn(running, 2 * FLOOD + 500)).filter(
      ({ userId }) => userId === ada.id
    )
    t.ok(hers.length > 1 && hers.length <= 12, `${hers.length} rows`)
    t.equal(
      hers.reduce((sum, { count }) => sum + Number(count), 0),
      500
    )
  }
)

t.test('O15: two nodes that count one row lose nothing', async (t) => {
  const running = await build(t)
  const { prisma } = running.app.holdfast
  const nodes = [1, 2, 3].map(() => new FailedAttempts({ prisma, now: () => performance.now() }))
  const one = {
    kind: 'sign_in_failed' as const,
    cause: 'user_unknown',
    sessionId: null,
    ipAddress: '192.0.2.1',
    userAgent: null,
    userId: null,
    nameHash: 'one'
  }
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      nodes.map((node) => {
        for (let i = 0; i < 7; i++) node.note(one)
        return node.flush()
      })
    )
  }
  const rows = await attemptsIn(running, 210)
  t.ok(rows.length <= 2, 'one row, or two where a window has ended meanwhile')
  t.equal(
    rows.reduce((sum, { count }) => sum + Number(count), 0),
    210
  )
})

t.test(
  'O15: a store that cannot take failed sign-ins makes no other answer of a 401, and gets them later',
  async (t) => {
    const running = await build(t)
    const { prisma } = running.app.holdfast
    await prisma.$executeRawUnsafe(
      'ALTER TABLE "account_event" ADD CONSTRAINT "none" CHECK (false) NOT VALID'
    )
    t.equal((await attempt(running, `${randomUUID()}@example.com`)).status, 401)
    await until(
      'the log to say so',
      () => running.log.some((line) => line.includes('failed sign-ins could not be written')),
      20_000
    )
    t.equal((await attempt(running, `${randomUUID()}@example.com`)).status, 401)
    await prisma.$executeRawUnsafe('ALTER TABLE "account_event" DROP CONSTRAINT "none"')
    t.equal((await attemptsIn(running, 2)).length, 2)
  }
)

t.test('O15: what was noted is written when a server ends', async (t) => {
  const running = await build(t)
  await attempt(running, `${randomUUID()}@example.com`)
  await running.app.close()
  const again = await start(t, running.options)
  t.equal((await findAccountEvents(again, { kind: 'sign_in_failed' })).length, 1)
})

t.test('O15: a password that was typed in the place of a name is nowhere', async (t) => {
  const running = await build(t, { logLevel: 'trace' })
  const typed = `Correct-Horse-${randomUUID()}`
  // A client without the browser's check of addresses, and one with it: both may send what is not
  // an address.
  t.ok([400, 401].includes((await attempt(running, typed)).status))
  t.equal((await attempt(running, `${typed}@x.example`)).status, 401)
  await attemptsIn(running, 1)
  const contents = JSON.stringify([...(await readStore(running.app.holdfast.prisma))])
  for (const text of [typed, typed.toLowerCase(), Buffer.from(typed).toString('base64url')]) {
    t.notMatch(contents, text)
    t.notMatch(running.log.join('\n'), text)
  }
})

t.test('O15: erasing a person keeps what happened and drops what names them', async (t) => {
  const running = await build(t, behindProxy)
  const { prisma } = running.app.holdfast
  const admin = await signUp(running.url)
  await makeAdmin(running, admin)
  const { browser } = await signIn(running.url, admin.email)
  const ada = await signUp(running.url)
  await attempt(running, ada.email)
  await attemptsIn(running, 1)
  await browser.post(
    '/api/auth/admin/set-role',
    { userId: ada.id, role: 'admin' },
    { 'user-agent': "the administrator's" }
  )
  await browser.post('/api/auth/admin/remove-user', { userId: ada.id })
  const before = await findAccountEvents(running, { userId: ada.id })
  const hash = hashName(deriveKeys(running.options.authSecret ?? authSecret).eventNames, ada.email)
  t.ok((await eraseAccountEvents(prisma, ada.id, [hash], systemClock.monotonic)) > 0)
  t.equal(
    await eraseAccountEvents(prisma, ada.id, [hash], systemClock.monotonic),
    0,
    'nothing is left to erase'
  )
  const after = await findAccountEvents(running, { userId: ada.id })
  t.strictSame(factsOf(after), factsOf(before))
  t.strictSame(
    after.map(({ kind }) => kind),
    ['user_created', 'sign_in_failed', 'role_changed', 'user_deleted']
  )
  for (const { nameHash, detail, sumKey, ipAddress, userAgent, actor } of after) {
    t.strictSame({ nameHash, detail, sumKey }, { nameHash: null, detail: null, sumKey: null })
    if (actor !== 'administrator')
      t.strictSame({ ipAddress, userAgent }, { ipAddress: null, userAgent: null })
  }
  t.equal(
    after[2]?.['userAgent'],
    "the administrator's",
    'the event still has the user agent of the other person'
  )
  await eraseAccountEvents(prisma, admin.id, [], systemClock.monotonic)
  t.strictSame(
    (await findAccountEvents(running, { userId: ada.id })).map(
      ({ userAgent, ipAddress }) => userAgent ?? ipAddress
    ),
    [null, null, null, null]
  )
})

t.test('O15: an attempt at an account that is gone when it is written names no user', async (t) => {
  const running = await build(t)
  const node = new FailedAttempts({
    prisma: running.app.holdfast.prisma,
    now: () => performance.now()
  })
  const userId = randomUUID()
  node.note({
    kind: 'sign_in_failed',
    cause: 'wrong_password',
    sessionId: null,
    ipAddress: '192.0.2.1',
    userAgent: 'a test',
    userId,
    nameHash: 'gone'
  })
  await node.flush()
  t.match(await findAccountEvents(running, { userId }), [
    { cause: 'wrong_password', nameHash: null, ipAddress: null, userAgent: null }
  ])
})
