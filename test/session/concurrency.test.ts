import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.js'
import { withTransaction } from '../../src/database/transaction.js'
import { Activity } from '../../src/session/activity.js'
import { purgeEnded } from '../../src/session/retention.js'
import {
  Browser,
  build,
  makeAdmin,
  password,
  sessionState,
  signIn,
  signUp,
  storage,
  type Person
} from '../support/server.js'
import { inTurn } from '../support/locks.js'
import { until } from '../support/poll.js'

const running = await build(t, { oneTimeTokens: true })
const { url } = running
const { prisma, reader } = running.app.holdfast
const admin = await signUp(url)
await makeAdmin(running, admin)
const newPassword = 'Tr0ub4dor & three more words'

/** Repeats a race: at least twice, and until the time is over. */
async function repeat(budgetMs: number, race: (round: number) => Promise<void>): Promise<void> {
  const end = performance.now() + budgetMs
  for (let round = 0; round < 2 || (performance.now() < end && round < 50); round++)
    await race(round)
}

/** Signs in. Null when it was refused. Only a clear refusal is allowed. */
async function trySignIn(t: Test, email: string, secret = password): Promise<Browser | null> {
  const browser = new Browser(url)
  const response = await browser.post('/api/auth/sign-in/email', { email, password: secret })
  const text = await response.text()
  if (![200, 401, 403].includes(response.status))
    t.fail(`sign-in answered ${response.status} ${text}`)
  return response.status === 200 ? browser : null
}

const statusesInTurn = async (
  sessionId: string,
  first: () => Promise<Response>,
  second: () => Promise<Response>
) => (await inTurn(prisma, sessionId, first, second)).map(({ status }) => status)

const present = <T>(items: (T | null)[]): T[] => items.filter((item) => item !== null)

interface Change {
  what: string
  path: string
  body: (person: Person) => Record<string, unknown>
  by: (person: Person) => Browser
  /** Makes the account usable again, to see that its sessions stay ended. */
  undo?: (person: Person) => Promise<unknown>
}

const changes: Change[] = [
  {
    what: 'change-password',
    path: '/change-password',
    body: () => ({ currentPassword: password, newPassword }),
    by: (person) => person.browser
  },
  {
    what: 'admin/set-user-password',
    path: '/admin/set-user-password',
    body: ({ id }) => ({ userId: id, newPassword }),
    by: () => admin.browser
  },
  {
    what: 'a ban',
    path: '/admin/ban-user',
    body: ({ id }) => ({ userId: id }),
    by: () => admin.browser,
    undo: ({ id }) => admin.browser.post('/api/auth/admin/unban-user', { userId: id })
  },
  {
    what: 'delete-user',
    path: '/delete-user',
    body: () => ({ password }),
    by: (person) => person.browser
  }
]

for (const { what, path, body, by, undo } of changes) {
  t.test(`no session of a sign-in with the old password outlives ${what}`, async (t) => {
    let bornInAll = 0
    await repeat(1_200, async (round) => {
      const person = await signUp(url)
      const racers = Array.from({ length: 4 }, () => trySignIn(t, person.email))
      // Every other round starts the change when the first racer has finished, and the others are
      // under way.
      if (round % 2 === 1) await Promise.race(racers)
      const change = by(person).post(`/api/auth${path}`, body(person))
      racers.push(...Array.from({ length: 4 }, () => trySignIn(t, person.email)))
      const response = await change
      t.equal(response.status, 200, `round ${round}: ${await response.text()}`)
      const born = present(await Promise.all(racers))
      bornInAll += born.length
      if (undo) await undo(person)
      for (const browser of born) {
        const state = await sessionState(browser)
        if (!/^401 (session_revoked|user_banned|user_gone)$/.test(state))
          t.fail(`round ${round}: a session of the old password is ${state}`)
      }
    })
    t.ok(bornInAll > 0, `${bornInAll} sign-ins began a session, which was revoked`)
  })
}

t.test(
  'revoke-others ends every session that there was when it began, whatever sign-ins race it',
  async (t) => {
    await repeat(1_500, async (round) => {
      const person = await signUp(url)
      const existing = await Promise.all([signIn(url, person.email), signIn(url, person.email)])
      const racers = [trySignIn(t, person.email), trySignIn(t, person.email)]
      const [response, ...others] = await Promise.all([
        round % 2 === 0
          ? person.browser.delete('/sessions?except=current')
          : person.browser.post('/api/auth/revoke-other-sessions'),
        trySignIn(t, person.email),
        trySignIn(t, person.email)
      ])
      t.equal(response.status, 200)
      for (const { browser } of existing)
        t.equal(await sessionState(browser), '401 session_revoked', `round ${round}`)
      t.equal(await sessionState(person.browser), 'valid', 'the acting session stays valid')
      for (const browser of present([...(await Promise.all(racers)), ...others])) {
        if (!['valid', '401 session_revoked'].includes(await sessionState(browser)))
          t.fail(`round ${round}: a racing sign-in is neither valid nor revoked`)
      }
    })
  }
)

t.test('revocations that race each other never wait for each other, and never fail', async (t) => {
  await repeat(2_000, async (round) => {
    const person = await signUp(url)
    const others = await Promise.all([
      signIn(url, person.email),
      signIn(url, person.email),
      signIn(url, person.email)
    ])
    const [one, two, three] = others
    const responses = await Promise.all([
      person.browser.delete('/sessions?except=current'),
      one.browser.delete('/sessions?except=current'),
      two.browser.post('/api/auth/revoke-other-sessions'),
      three.browser.post('/api/auth/sign-out'),
      person.browser.delete(`/sessions/${one.sessionId}`),
      one.browser.delete(`/sessions/${person.sessionId}`),
      two.browser.post('/api/auth/revoke-session', { token: `hsh1_${three.sessionId}` }),
      admin.browser.post('/api/auth/admin/revoke-user-sessions', { userId: person.id })
    ])
    const failed = responses.filter(({ status }) => ![200, 401].includes(status))
    t.strictSame(
      await Promise.all(
        failed.map(
          async (response) => `${response.status} ${response.url} ${await response.text()}`
        )
      ),
      [],
      `round ${round}`
    )
    for (const { browser, sessionId } of [person, ...others]) {
      if (browser.cookies.has(running.app.holdfast.auth.cookieName))
        t.equal(await sessionState(browser), '401 session_revoked', `round ${round}`)
      const { revocations } = await eventsOf(sessionId)
      t.equal(revocations, 1, 'it was revoked once')
    }
  })
})

t.test(
  'a session that is revoked while it ends all the others waits for that, and is not waited for',
  { skip: storage === 'embedded' && 'one connection' },
  async (t) => {
    const ends = [
      ['DELETE /sessions', (browser: Browser) => browser.delete('/sessions?except=current')],
      [
        'change-password',
        (browser: Browser) =>
          browser.post('/api/auth/change-password', { currentPassword: password, newPassword })
      ],
      ['update-user', (browser: Browser) => browser.post('/api/auth/update-user', { name: 'Ada' })]
    ] as const
    for (const [what, end] of ends) {
      const older = await signUp(url)
      const newer = await signIn(url, older.email)
      t.strictSame(
        await statusesInTurn(
          older.sessionId,
          () => older.browser.delete(`/sessions/${newer.sessionId}`),
          () => end(newer.browser)
        ),
        [200, 401],
        what
      )
    }
  }
)

t.test(
  "an administrator's change of a user and a change of that administrator do not deadlock",
  { skip: storage === 'embedded' && 'one connection' },
  async (t) => {
    const target = await signUp(url)
    const { id, email } = await signUp(url)
    await makeAdmin(running, { ...target, id })
    const impersonating = await signIn(url, email)
    t.equal(
      (await impersonating.browser.post('/api/auth/admin/impersonate-user', { userId: target.id }))
        .status,
      200
    )
    const impersonation = await prisma.session.findFirstOrThrow({ where: { impersonatedBy: id } })
    const [one, two] = [await signIn(url, email), await signIn(url, email)]
    const changing = () =>
      one.browser.post('/api/auth/change-password', { currentPassword: password, newPassword })
    const banning = () => two.browser.post('/api/auth/admin/ban-user', { userId: target.id })
    t.strictSame(await statusesInTurn(impersonation.id, changing, banning), [200, 401])
    t.ok(
      (await prisma.session.findUniqueOrThrow({ where: { id: impersonation.id } })).revokedAt,
      'the impersonation has ended'
    )
  }
)

t.test(
  'a write that a session authorised is not committed after its revocation was answered',
  async (t) => {
    await repeat(1_500, async (round) => {
      const laptop = await signUp(url)
      const phone = await signIn(url, laptop.email)
      const nameOf = async () =>
        (await prisma.user.findUniqueOrThrow({ where: { id: laptop.id } })).name
      const writes = Array.from({ length: 5 }, (_, i) =>
        laptop.browser.fetch('/api/auth/update-user', {
          method: 'POST',
          body: JSON.stringify({ name: `name ${i}` }),
          headers: { 'content-type': 'application/json', cookie: cookiesOf(laptop) }
        })
      )
      const revocation = await phone.browser.delete(`/sessions/${laptop.sessionId}`)
      const name = await nameOf()
      t.equal(revocation.status, 200)
      const statuses = (await Promise.all(writes)).map(({ status }) => status)
      t.ok(
        statuses.every((status) => [200, 401].includes(status)),
        `round ${round}: ${statuses.join(' ')}`
      )
      t.equal(await nameOf(), name, `round ${round}: nothing was written after the end`)
    })
  }
)

t.test('update-user never brings back a session that signs out at the same time', async (t) => {
  await repeat(1_000, async (round) => {
    const person = await signUp(url)
    const cookie = cookiesOf(person)
    const headers = { cookie, origin: url, 'content-type': 'application/json' }
    const update = (name: string) =>
      fetch(`${url}/api/auth/update-user`, {
        method: 'POST',
        body: JSON.stringify({ name }),
        headers
      })
    const [a, b, out, c] = await Promise.all([
      update('a'),
      update('b'),
      fetch(`${url}/api/auth/sign-out`, { method: 'POST', body: '{}', headers }),
      update('c')
    ])
    t.equal(out.status, 200)
    t.ok(
      [a, b, c].every(({ status }) => [200, 401].includes(status)),
      `round ${round}: ${[a, b, c].map(({ status }) => status).join(' ')}`
    )
    for (const path of ['/session', '/api/auth/list-sessions'])
      t.equal(
        (await fetch(`${url}${path}`, { headers: { cookie } })).status,
        401,
        `round ${round}: ${path}`
      )
  })
})

t.test('of many sign-ups with one address exactly one succeeds', async (t) => {
  await repeat(1_000, async (round) => {
    const email = `${randomUUID()}@example.com`
    const responses = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        new Browser(url).post('/api/auth/sign-up/email', {
          name: 'Ada',
          email: i % 2 ? email : email.toUpperCase(),
          password
        })
      )
    )
    t.strictSame(
      responses.map(({ status }) => status).toSorted((a, b) => a - b),
      [200, 422, 422, 422, 422, 422],
      `round ${round}`
    )
    t.equal(await prisma.user.count({ where: { email } }), 1)
    t.equal(await prisma.account.count({ where: { user: { email } } }), 1)
  })
})

t.test('a one-time token serves one of twenty callers', async (t) => {
  await repeat(800, async (round) => {
    const person = await signUp(url)
    const { token } = (await (
      await person.browser.get('/api/auth/one-time-token/generate')
    ).json()) as { token: string }
    const responses = await Promise.all(
      Array.from({ length: 20 }, () =>
        new Browser(url).post('/api/auth/one-time-token/verify', { token })
      )
    )
    t.strictSame(
      responses.map(({ status }) => status).toSorted((a, b) => a - b),
      [200, ...Array<number>(19).fill(400)],
      `round ${round}`
    )
  })
})

t.test('a batch of notes of use never brings a revoked session back', async (t) => {
  await repeat(1_000, async (round) => {
    const laptop = await signUp(url)
    const phone = await signIn(url, laptop.email)
    await shift(phone.sessionId, { expiresIn: 60 })
    const activity = activityOf(3_600)
    activity.note(phone.sessionId)
    const [, response] = await Promise.all([
      activity.flush(),
      laptop.browser.delete(`/sessions/${phone.sessionId}`)
    ])
    t.strictSame(await response.json(), { revoked: 1 })
    t.equal(await sessionState(phone.browser), '401 session_revoked', `round ${round}`)
    const before = await rowOf(phone.sessionId)
    activity.note(phone.sessionId)
    await activity.flush()
    t.strictSame(await rowOf(phone.sessionId), before, 'a late note changes nothing')
  })
})

/** The server writes the first use of a session by itself, which would move what a test shifts. */
async function untilFirstUseIsWritten({ sessionId }: Person): Promise<void> {
  await until('the first use to be written', async () => {
    const { lastSeenAt, issuedAt } = await rowOf(sessionId)
    return lastSeenAt > issuedAt
  })
}

t.test(
  'a batch of notes of use does not wait for a locked row',
  { skip: storage !== 'postgres' && 'the embedded store has one connection' },
  async (t) => {
    const [held, free] = [await signUp(url), await signUp(url)]
    for (const person of [held, free]) await untilFirstUseIsWritten(person)
    for (const { sessionId } of [held, free]) await shift(sessionId, { expiresIn: 60 })
    const activity = activityOf(3_600)
    activity.note(held.sessionId)
    activity.note(free.sessionId)
    await withTransaction(prisma, async (transaction) => {
      const db = await transaction.forWrite()
      await db.$queryRaw`SELECT 1 FROM "session" WHERE "id" = ${held.sessionId} FOR UPDATE`
      await activity.flush()
      t.ok((await secondsLeft(free.sessionId)) > 3_000, 'the other row was written')
    })
    t.ok((await secondsLeft(held.sessionId)) <= 60, 'the locked row was left out')
  }
)

t.test('a session expires when it was idle too long, and when its life is over', async (t) => {
  for (const times of [{ expiresIn: -1 }, { expiresIn: 60, absoluteIn: -1 }]) {
    const person = await signUp(url)
    await shift(person.sessionId, times)
    const activity = activityOf(3_600)
    activity.note(person.sessionId)
    await activity.flush()
    await until(
      'the shift to be heard of, and the note of use to come too late',
      async () => (await sessionState(person.browser)) === '401 session_expired'
    )
    t.equal(await (await person.browser.get('/api/auth/get-session')).text(), 'null')
  }
})

t.test('use moves the idle expiry, and never past the absolute one', async (t) => {
  const person = await signUp(url)
  await untilFirstUseIsWritten(person)
  await shift(person.sessionId, { expiresIn: 60 })
  const versionBefore = (await rowOf(person.sessionId)).version
  const activity = activityOf(3_600)
  activity.note(person.sessionId)
  await activity.flush()
  const left = await secondsLeft(person.sessionId)
  t.ok(left > 3_500 && left <= 3_600, `${left} s left`)
  t.equal(
    (await rowOf(person.sessionId)).version,
    versionBefore + 1,
    'the version has grown, because a cached copy would show the name'
  )
  activity.note(person.sessionId)
  await activity.flush()
  t.equal(
    (await rowOf(person.sessionId)).version,
    versionBefore + 1,
    'a use within the same step does not change the row'
  )

  await shift(person.sessionId, { expiresIn: 60, absoluteIn: 600 })
  activity.note(person.sessionId)
  await activity.flush()
  const { expiresAt, absoluteExpiresAt } = await rowOf(person.sessionId)
  t.strictSame(expiresAt, absoluteExpiresAt)
})

t.test('use extends neither a session that is not remembered nor an impersonation', async (t) => {
  const person = await signUp(url)
  const short = new Browser(url)
  t.equal(
    (
      await short.post('/api/auth/sign-in/email', {
        email: person.email,
        password,
        rememberMe: false
      })
    ).status,
    200
  )
  const imposter = await signIn(url, admin.email)
  t.equal(
    (await imposter.browser.post('/api/auth/admin/impersonate-user', { userId: person.id })).status,
    200
  )
  for (const [browser, limit] of [
    [short, 86_400],
    [imposter.browser, 3_600]
  ] as const) {
    const { session } = (await (await browser.get('/session')).json()) as {
      session: { id: string; expiresAt: string; absoluteExpiresAt: string }
    }
    const activity = activityOf(604_800)
    activity.note(session.id)
    await activity.flush()
    const { expiresAt, absoluteExpiresAt } = await rowOf(session.id)
    t.equal(expiresAt.toISOString(), session.expiresAt)
    t.equal(absoluteExpiresAt.toISOString(), session.absoluteExpiresAt)
    t.ok((await secondsLeft(session.id)) <= limit)
  }
})

t.test('retention removes what ended long ago, once, and nothing else', async (t) => {
  const people = await Promise.all(Array.from({ length: 6 }, () => signUp(url)))
  const [revokedLong, revokedNow, expiredLong, expiredNow, alive, both] = people as [
    Person,
    Person,
    Person,
    Person,
    Person,
    Person
  ]
  await prisma.$executeRaw`UPDATE "session" SET "revokedAt" = clock_timestamp() - interval '2 hours' WHERE "id" = ANY(${[revokedLong.sessionId, both.sessionId]}::text[])`
  await prisma.$executeRaw`UPDATE "session" SET "revokedAt" = clock_timestamp() WHERE "id" = ${revokedNow.sessionId}`
  await shift(expiredLong.sessionId, { expiresIn: -7_200 })
  await shift(both.sessionId, { expiresIn: -7_200 })
  await shift(expiredNow.sessionId, { expiresIn: -60 })
  // More than a statement removes at once.
  await prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt")
    SELECT 'old-' || n, 'old-' || n, ${alive.id}, clock_timestamp() - interval '2 hours', clock_timestamp() FROM generate_series(1, 2500) n`
  await prisma.$executeRaw`INSERT INTO "session_event" ("sessionId", "userId", "type") SELECT 'old-' || n, ${alive.id}, 'created' FROM generate_series(1, 2500) n`
  const removed = await Promise.all([
    purgeEnded(prisma, 3_600, { now: systemClock.monotonic }),
    purgeEnded(prisma, 3_600, { now: systemClock.monotonic })
  ])
  const rest = await purgeEnded(prisma, 3_600, { now: systemClock.monotonic })
  t.equal(
    removed[0] + removed[1] + rest,
    2_503,
    `each session is removed by one caller: ${removed.join(' and ')}, ${rest} afterwards`
  )
  for (const { sessionId } of [revokedLong, expiredLong, both]) {
    t.equal(await prisma.session.count({ where: { id: sessionId } }), 0)
    t.equal((await eventsOf(sessionId)).all, 0)
  }
  for (const { sessionId } of [revokedNow, expiredNow, alive]) {
    t.equal(await prisma.session.count({ where: { id: sessionId } }), 1)
    t.ok((await eventsOf(sessionId)).all > 0)
  }
  t.equal(await prisma.sessionEvent.count({ where: { sessionId: { startsWith: 'old-' } } }), 0)
  t.equal(await sessionState(alive.browser), 'valid')
})

t.test('the reader agrees with all of it', async (t) => {
  const person = await signUp(url)
  const credential = { kind: 'signed', value: decodeURIComponent(person.bearer) } as const
  t.match(await reader.check(credential), { active: true })
  await Promise.all([
    person.browser.post('/api/auth/sign-out'),
    ...Array.from({ length: 20 }, () => reader.check(credential))
  ])
  t.match(await reader.check(credential), { active: false, cause: 'session_revoked' })
})

function activityOf(idleTtlSeconds: number): Activity {
  return new Activity({ db: prisma, idleTtlSeconds, now: () => performance.now() })
}

function cookiesOf({ browser }: Person): string {
  return [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
}

/** Moves a session's times, as waiting would: seconds from now on the database's clock. */
async function shift(
  sessionId: string,
  { expiresIn, absoluteIn }: { expiresIn: number; absoluteIn?: number }
): Promise<void> {
  await prisma.$executeRaw`
    UPDATE "session" SET "expiresAt" = clock_timestamp() + ${expiresIn}::int * interval '1 second',
      "absoluteExpiresAt" = COALESCE(clock_timestamp() + ${absoluteIn ?? null}::int * interval '1 second', "absoluteExpiresAt")
    WHERE "id" = ${sessionId}`
}

async function rowOf(sessionId: string) {
  return prisma.session.findUniqueOrThrow({ where: { id: sessionId } })
}

async function secondsLeft(sessionId: string): Promise<number> {
  const [row] = await prisma.$queryRaw<{ left: number }[]>`
    SELECT extract(epoch FROM "expiresAt" - clock_timestamp())::float8 AS "left" FROM "session" WHERE "id" = ${sessionId}`
  return row?.left ?? Number.NaN
}

async function eventsOf(sessionId: string): Promise<{ all: number; revocations: number }> {
  const events = await prisma.sessionEvent.findMany({ where: { sessionId } })
  return { all: events.length, revocations: events.filter(({ type }) => type === 'revoked').length }
}
