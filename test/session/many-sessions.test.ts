import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { systemClock } from '../../src/clock.js'
import { countEnded, purgeEnded } from '../../src/session/retention.js'
import { Pace } from '../../src/database/pace.js'
import { toNetwork } from '../../src/network.js'
import { makeDevices, makeFamily, refresh } from '../support/refresh-fixtures.js'
import { enrol, newAdmin, newPerson } from '../support/device.js'
import {
  Browser,
  build,
  password,
  sessionState,
  signIn,
  signUp,
  start,
  storage,
  type Running
} from '../support/server.js'
import { until } from '../support/poll.js'
import { execute } from '../support/postgres.js'
import { runCli } from '../support/server-process.js'

/*
 * Users with more sessions than any cap allows: tens of thousands of sessions and a million events,
 * inserted by SQL. Every statement has a bound, so each operation ends in reasonable time. The
 * embedded store is slower, and gets fewer.
 */
const onPostgres = storage === 'postgres'
const running = await build(t, { trustedProxies: ['127.0.0.1'], rateLimit: false })
const { url } = running
const { prisma } = running.app.holdfast
// Another server with a low cap, which users reach.
const CAP = 3
const capped = await build(t, {
  maxSessionsPerUser: CAP,
  trustedProxies: ['127.0.0.1'],
  rateLimit: false
})
const store = capped.app.holdfast.prisma
const RETENTION_SECONDS = 86_400

/** Runs SQL as an operator would: without the limits of the server's own statements. */
async function sql({ options }: Running, ...statements: string[]): Promise<void> {
  if (options.databaseUrl) return execute(options.databaseUrl, ...statements)
  for (const statement of statements) await prisma.$executeRawUnsafe(statement)
}

let piles = 0
/**
 * Inserts sessions for a user. The first is the oldest, and was used longest ago.
 *
 * @returns a function from a number to its session's id
 */
async function pile(
  userId: string,
  sessions: number,
  columns: Record<string, string> = {}
): Promise<(n: number) => string> {
  const prefix = (++piles).toString(16).padStart(8, '0')
  const all: Record<string, string> = {
    id: `'${prefix}-0000-7000-8000-' || lpad(to_hex(n), 12, '0')`,
    token: `'${prefix}-' || n`,
    userId: `'${userId}'`,
    issuedAt: `now() - interval '3 days' + n * interval '1 second'`,
    lastSeenAt: `now() - interval '2 days' + n * interval '1 second'`,
    expiresAt: `now() + interval '1 day' + n * interval '1 second'`,
    absoluteExpiresAt: `now() + interval '30 days'`,
    amr: `'{pwd}'`,
    ...columns
  }
  await sql(
    running,
    `INSERT INTO "session" (${Object.keys(all)
      .map((name) => `"${name}"`)
      .join()}) SELECT ${Object.values(all).join()} FROM generate_series(1, ${sessions}) n`
  )
  return (n) => `${prefix}-0000-7000-8000-${n.toString(16).padStart(12, '0')}`
}

/** Inserts events for each session of a user. */
async function pileEvents(
  userId: string,
  each: number,
  type = 'created',
  at = 'now()'
): Promise<void> {
  await sql(
    running,
    `INSERT INTO "session_event" ("id", "sessionId", "userId", "type", "at")
    SELECT "id" || '-${type}-' || lpad(n::text, 6, '0'), "id", "userId", '${type}', ${at} FROM "session", generate_series(1, ${each}) n WHERE "userId" = '${userId}'`,
    'ANALYZE "session"',
    'ANALYZE "session_event"'
  )
}

async function refreshFrom(address: string, refreshToken: string): Promise<string> {
  const response = await fetch(`${url}/oauth2/token`, {
    method: 'POST',
    headers: { 'x-forwarded-for': address },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken })
  })
  return ((await response.json()) as { refresh_token: string }).refresh_token
}

const typesOf = async (sessionId: string) =>
  (await prisma.sessionEvent.findMany({ where: { sessionId }, orderBy: { id: 'asc' } })).map(
    ({ type, cause }) => `${type} ${cause}`
  )

t.test('S4: a refresh leaves no event, and the session counts it', async (t) => {
  const ada = await signUp(url)
  const { sessionId, refreshToken } = await makeFamily(running)
  await prisma.$executeRaw`UPDATE "session" SET "userId" = ${ada.id} WHERE "id" = ${sessionId}`
  let token = refreshToken
  for (let count = 0; count < 5; count++) token = await refreshFrom(`203.0.113.${count}`, token)
  t.strictSame(await typesOf(sessionId), ['created pwd'])
  const { sessions } = (await (await ada.browser.get('/sessions')).json()) as {
    sessions: { id: string }[]
  }
  t.match(
    sessions.find(({ id }) => id === sessionId),
    {
      refreshCount: 5,
      firstRefreshAt: /^20/,
      firstRefreshAddress: '203.0.113.0',
      lastRefreshAt: /^20/,
      lastRefreshAddress: '203.0.113.4',
      replayCount: 0
    }
  )
  t.match(
    sessions.find(({ id }) => id === ada.sessionId),
    { refreshCount: 0, firstRefreshAt: null, lastRefreshAt: null, lastRefreshAddress: null }
  )
})

t.test('S4: a new network is an event, once for each network', async (t) => {
  const { sessionId, refreshToken } = await makeFamily(running)
  let token = await refreshFrom('203.0.113.7', refreshToken)
  for (let count = 0; count < 4; count++) {
    for (const address of ['203.0.113.99', '198.51.100.7', '2001:db8:1:2::3', '2001:db8:1:9::4'])
      token = await refreshFrom(address, token)
  }
  const networks = (await typesOf(sessionId)).filter((event) => event.startsWith('new_network'))
  t.strictSame(networks, [
    'new_network 198.51.100.0/24',
    'new_network 2001:db8:1::/48',
    'new_network 203.0.113.0/24'
  ])
  for (let network = 0; network < 60; network++)
    token = await refreshFrom(`10.0.${network}.1`, token)
  t.equal(
    (await typesOf(sessionId)).filter((event) => event.startsWith('new_network')).length,
    50,
    'there are at most fifty such events a day'
  )
})

t.test('S4: a client that repeats its refresh leaves one event for each generation', async (t) => {
  const { sessionId, refreshToken } = await makeFamily(running)
  const { body } = await refresh(url, refreshToken)
  await Promise.all(Array.from({ length: 20 }, () => refresh(url, refreshToken)))
  t.strictSame(await typesOf(sessionId), ['created pwd', 'refresh_replayed null'])
  await refresh(url, body.refresh_token)
  await Promise.all(Array.from({ length: 5 }, () => refresh(url, body.refresh_token)))
  t.strictSame(await typesOf(sessionId), [
    'created pwd',
    'refresh_replayed null',
    'refresh_replayed null'
  ])
  t.equal((await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })).replayCount, 25)
})

t.test('networks', async (t) => {
  t.strictSame(
    [
      '192.0.2.77',
      '::ffff:192.0.2.1',
      '2001:db8::1',
      '2001:DB8:0a:b:c:d:e:f',
      '::1',
      'fe80::1%eth0',
      '64:ff9b::192.0.2.1',
      'nonsense',
      '',
      null
    ].map(toNetwork),
    [
      '192.0.2.0/24',
      '192.0.2.0/24',
      '2001:db8:0::/48',
      '2001:db8:a::/48',
      '0:0:0::/48',
      'fe80:0:0::/48',
      '64:ff9b:0::/48',
      null,
      null,
      null
    ]
  )
})

t.test('S4: retention ends, however many events ended sessions have', async (t) => {
  const [sessions, events] = onPostgres ? [1_000, 1_000] : [20, 100]
  const ada = await signUp(url)
  const idOf = await pile(ada.id, sessions, {
    revokedAt: `now() - interval '2 days'`,
    revokedReason: `'signed_out'`
  })
  await pileEvents(ada.id, events, 'refreshed')
  t.equal(await countEnded(prisma, RETENTION_SECONDS), sessions)
  t.equal(await purgeEnded(prisma, RETENTION_SECONDS, { now: systemClock.monotonic }), sessions)
  t.equal(
    await prisma.sessionEvent.count({
      where: { sessionId: { gte: idOf(1), lte: idOf(sessions) } }
    }),
    0
  )
  t.equal(await countEnded(prisma, RETENTION_SECONDS), 0)
})

t.test(
  'S4: events of a session that lives are removed when they are old, but for its beginning',
  async (t) => {
    const ada = await signUp(url)
    const idOf = await pile(ada.id, 1)
    await pileEvents(ada.id, 1)
    const many = onPostgres ? 20_000 : 200
    await pileEvents(ada.id, many, 'refreshed')
    await pileEvents(ada.id, many, 'new_network', `now() - interval '2 days'`)
    await sql(
      running,
      `INSERT INTO "session_event" ("sessionId", "userId", "type") VALUES ('${idOf(1)}', '${ada.id}', 'new_network')`
    )
    await purgeEnded(prisma, RETENTION_SECONDS, { now: systemClock.monotonic })
    t.strictSame((await typesOf(idOf(1))).toSorted(), ['created null', 'new_network null'])
  }
)

t.test(
  'S4: proofs that have expired are removed by retention, and not while a client waits for an answer',
  async (t) => {
    await prisma.verification.create({
      data: {
        id: 'expired',
        identifier: 'expired',
        value: 'v',
        expiresAt: new Date(Date.now() - 60_000)
      }
    })
    const ada = await newPerson(url)
    await enrol(ada)
    const pending = new Browser(url)
    await pending.post('/api/auth/sign-in/email', { email: ada.email, password })
    t.equal(
      (await pending.post('/api/auth/two-factor/verify-totp', { code: '000000' })).status,
      401,
      'the endpoint searches for a proof'
    )
    t.equal(await prisma.verification.count({ where: { id: 'expired' } }), 1)
    await purgeEnded(prisma, RETENTION_SECONDS, { now: systemClock.monotonic })
    t.equal(await prisma.verification.count({ where: { id: 'expired' } }), 0)
  }
)

t.test('S4: proofs and confirmed changes are removed in batches', async (t) => {
  await sql(
    running,
    `INSERT INTO "verification" ("id", "identifier", "value", "expiresAt") SELECT 'v' || n, 'v', 'v', now() - interval '1 minute' FROM generate_series(1, ${onPostgres ? 12_000 : 600}) n`
  )
  await prisma.verification.create({
    data: { id: 'kept', identifier: 'v', value: 'v', expiresAt: new Date(Date.now() + 60_000) }
  })
  await purgeEnded(prisma, RETENTION_SECONDS, { now: systemClock.monotonic })
  t.strictSame(
    (await prisma.verification.findMany({ where: { identifier: 'v' } })).map(({ id }) => id),
    ['kept']
  )
})

t.test(
  'S4: what retention looks for is found by an index',
  { skip: onPostgres ? false : 'the planner of the embedded store sees tables that are small' },
  async (t) => {
    const old = `statement_timestamp() - 86400 * interval '1 second'`
    const queries = {
      session_revokedAt_idx: `SELECT "id" FROM "session" WHERE "revokedAt" < ${old} ORDER BY "revokedAt" LIMIT 500`,
      session_expiresAt_idx: `SELECT "id" FROM "session" WHERE "expiresAt" < ${old} ORDER BY "expiresAt" LIMIT 500`,
      session_event_routine_idx: `SELECT ctid FROM "session_event" WHERE "type" = 'refreshed' LIMIT 5000`,
      verification_expiresAt_idx: `SELECT ctid FROM "verification" WHERE "expiresAt" < statement_timestamp() ORDER BY "expiresAt" LIMIT 5000`,
      outbox_doneAt_createdAt_idx: `SELECT ctid FROM "outbox" WHERE "doneAt" < ${old} AND "createdAt" < ${old} LIMIT 5000`
    }
    for (const [index, query] of Object.entries(queries)) {
      const rows = await prisma.$transaction(async (db) => {
        await db.$executeRawUnsafe('SET LOCAL enable_seqscan = off')
        return db.$queryRawUnsafe<{ 'QUERY PLAN': string }[]>(`EXPLAIN ${query}`)
      })
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
      t.match(plan, new RegExp(`${index}[^]*Index Cond`), index)
      t.notMatch(plan, /Seq Scan/, index)
    }
  }
)

t.test('S4: lists come in pages', async (t) => {
  const ada = await signUp(url)
  await makeDevices(running, ada.id, 4)
  const seen: string[] = []
  let after = ''
  for (let pages = 0; pages < 3; pages++) {
    const { sessions, next } = (await (
      await ada.browser.get(`/sessions?limit=2${after}`)
    ).json()) as { sessions: { id: string }[]; next: string | null }
    seen.push(...sessions.map(({ id }) => id))
    after = `&after=${next}`
    t.equal(next, pages < 2 ? seen.at(-1) : null)
  }
  const rows = await prisma.session.findMany({ where: { userId: ada.id }, orderBy: { id: 'desc' } })
  t.strictSame(
    seen,
    rows.map(({ id }) => id)
  )
  for (const query of ['limit=0', 'limit=201', 'limit=x', 'after=x', 'page=2'])
    t.equal((await ada.browser.get(`/sessions?${query}`)).status, 400, query)
  const events = (await (
    await ada.browser.get(`/sessions/${ada.sessionId}/events?limit=1`)
  ).json()) as { events: { id: string }[]; next: string | null }
  t.match(events, { events: [{ type: 'created' }], next: null })
  t.match(
    await (
      await ada.browser.get(`/sessions/${ada.sessionId}/events?after=${events.events[0]?.id}`)
    ).json(),
    { events: [], next: null }
  )
})

/** Whether all sessions of a user have ended, and every cache has been told. */
async function allEnded(
  idOf: (n: number) => string,
  sessions: number
): Promise<{ live: number; events: number; reasons: (string | null)[] }> {
  const [from, to] = [idOf(1), idOf(sessions)]
  const ids = { gte: from, lte: to }
  // Confirmations are noted afterwards. Where that fails, a relay confirms once more.
  if (onPostgres)
    await until(
      'the changes to be noted as confirmed',
      async () => (await prisma.outbox.count({ where: { sessionId: ids, doneAt: null } })) === 0
    )
  const reasons = await prisma.session.groupBy({
    by: ['revokedReason'],
    where: { id: ids, revokedAt: { not: null } }
  })
  return {
    live: await prisma.session.count({ where: { id: ids, revokedAt: null } }),
    events: await prisma.sessionEvent.count({ where: { sessionId: ids, type: 'revoked' } }),
    reasons: reasons.map(({ revokedReason }) => revokedReason)
  }
}

const MANY = onPostgres ? 3_000 : 1_300

t.test('S3: a store that is slow does less with each statement', async (t) => {
  let now = 0
  const pace = new Pace({ first: 100, min: 20, max: 500 }, () => now)
  /** @returns the size of the batch that follows one that took this long */
  const after = async (tookMs: number) => {
    await pace.keep(async () => {
      now += tookMs
    })
    return pace.size
  }
  t.equal(await after(10), 200, 'the batch grows step by step')
  t.equal(await after(0), 400)
  t.equal(await after(100), 500, 'the batch has an upper limit')
  t.equal(await after(1_000), 100)
  t.equal(await after(10_000), 20, 'the batch has a lower limit')
})

const givesUp = { skip: onPostgres ? false : 'the embedded store gives no statement up' }

/**
 * Sends a request while a session's row is locked, until a statement was cancelled and tried again.
 */
async function whileLocked<T>(
  sessionId: string,
  statement: string,
  send: () => Promise<T>
): Promise<T> {
  const begun = new Set<string>()
  const { answer } = await prisma.$transaction(
    async (db) => {
      await db.$queryRaw`SELECT 1 FROM "session" WHERE "id" = ${sessionId} FOR UPDATE`
      const answer = send()
      await until('a statement to be given up and begun again', async () => {
        const waiting = await prisma.$queryRaw<{ begun: Date }[]>`
        SELECT query_start AS "begun" FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE ${`%${statement}%`}`
        for (const { begun: at } of waiting) begun.add(at.toISOString())
        return begun.size > 1
      })
      return { answer }
    },
    { timeout: 20_000 }
  )
  return answer
}

t.test('S3: a batch that the store gave up is tried again', { ...givesUp }, async (t) => {
  const ada = await newPerson(url)
  const idOf = await pile(ada.id, MANY)
  const change = () =>
    ada.browser.post('/api/auth/change-password', {
      currentPassword: password,
      newPassword: `${password} 2`
    })
  t.equal((await whileLocked(idOf(10), 'WITH locked AS', change)).status, 200)
  t.strictSame(await allEnded(idOf, MANY), { live: 0, events: MANY, reasons: ['password_changed'] })
})

t.test('S3: a new password ends all other sessions, however many there are', async (t) => {
  const ada = await newPerson(url)
  const many = onPostgres ? 50_000 : MANY
  const idOf = await pile(ada.id, many)
  const { status, headers } = await ada.browser.post('/api/auth/change-password', {
    currentPassword: password,
    newPassword: `${password} 2`
  })
  t.strictSame([status, headers.get('session-revocation')], [200, null])
  t.strictSame(await allEnded(idOf, many), { live: 0, events: many, reasons: ['password_changed'] })
  t.equal(await sessionState(ada.browser), 'valid')
  t.equal(await sessionState((await signIn(url, ada.email, `${password} 2`)).browser), 'valid')
})

t.test(
  'S3: and so with "sign out everywhere else", in both forms, and with the session of the caller',
  async (t) => {
    const ada = await newPerson(url)
    const idOf = await pile(ada.id, MANY)
    t.strictSame(await (await ada.browser.delete('/sessions?except=current')).json(), {
      revoked: MANY
    })
    t.strictSame(await allEnded(idOf, MANY), {
      live: 0,
      events: MANY,
      reasons: ['revoked_by_user']
    })
    t.equal(await sessionState(ada.browser), 'valid')
    const again = await pile(ada.id, MANY)
    t.match(await ada.client.revokeSessions(), { error: null })
    t.strictSame(await allEnded(again, MANY), {
      live: 0,
      events: MANY,
      reasons: ['revoked_by_user']
    })
    t.match(await sessionState(ada.browser), /^401/)
  }
)

t.test('S3: a ban, a revocation by an administrator and a deletion end all', async (t) => {
  const admin = await newAdmin(running)
  const people = await Promise.all([newPerson(url), newPerson(url), newPerson(url)] as const)
  const [banned, revoked, removed] = people
  const idOf = [
    await pile(banned.id, MANY),
    await pile(revoked.id, MANY),
    await pile(removed.id, MANY)
  ] as const
  t.match(await admin.client.admin.banUser({ userId: banned.id }), { error: null })
  t.match(await admin.client.admin.revokeUserSessions({ userId: revoked.id }), { error: null })
  t.match(await removed.client.deleteUser({ password }), { error: null })
  const ended = { live: 0, events: MANY }
  t.strictSame(await allEnded(idOf[0], MANY), { ...ended, reasons: ['user_banned'] })
  t.strictSame(await allEnded(idOf[1], MANY), { ...ended, reasons: ['revoked_by_admin'] })
  t.strictSame(await allEnded(idOf[2], MANY), { ...ended, reasons: ['user_deleted'] })
  for (const { browser } of people) t.match(await sessionState(browser), /^401/)
  t.equal(await prisma.user.count({ where: { id: removed.id } }), 0)
})

t.test(
  'S3: the command line ends all, and lists some',
  { skip: onPostgres ? false : 'it talks to a server of its own: see cli' },
  async (t) => {
    const ada = await signUp(url)
    const idOf = await pile(ada.id, MANY)
    const list = runCli(t, ['session', 'list', ada.email, '--limit', '7'], {
      ...running.options,
      baseUrl: url
    })
    t.equal(await list.exited, 0)
    t.equal((JSON.parse(list.stdout) as unknown[]).length, 7)
    const revoke = runCli(t, ['session', 'revoke', '--user', ada.email], {
      ...running.options,
      baseUrl: url
    })
    t.equal(await revoke.exited, 0, revoke.stderr)
    t.strictSame(JSON.parse(revoke.stdout), { revoked: MANY + 1 })
    t.strictSame(await allEnded(idOf, MANY), {
      live: 0,
      events: MANY,
      reasons: ['revoked_by_operator']
    })
  }
)

t.test('S3: a change of the profile reaches every session', async (t) => {
  const ada = await newPerson(url)
  const many = onPostgres ? 50_000 : MANY
  const idOf = await pile(ada.id, many)
  t.match(await ada.client.updateUser({ name: 'Ada King' }), { error: null })
  t.match(await (await ada.browser.get('/session')).json(), { user: { name: 'Ada King' } })
  t.strictSame(
    await prisma.session.groupBy({
      by: ['version'],
      where: { id: { gte: idOf(1), lte: idOf(many) } }
    }),
    [{ version: 2 }]
  )
})

t.test('S3: and so where a statement on the way is given up', { ...givesUp }, async (t) => {
  const ada = await newPerson(url)
  const idOf = await pile(ada.id, MANY)
  const answer = await whileLocked(idOf(MANY / 2), 'bumped AS', () =>
    ada.client.updateUser({ name: 'Ada King' })
  )
  t.match(answer, { error: null })
  t.strictSame(
    await prisma.session.groupBy({
      by: ['version'],
      where: { id: { gte: idOf(1), lte: idOf(MANY) } }
    }),
    [{ version: 2 }]
  )
})

t.test('S3: nothing ends by a change that was refused', async (t) => {
  const ada = await newPerson(url)
  const idOf = await pile(ada.id, MANY)
  t.match(
    (
      await ada.client.changePassword({
        currentPassword: 'a wrong password',
        newPassword: `${password} 2`
      })
    ).error,
    { status: 400 }
  )
  t.equal((await allEnded(idOf, MANY)).live, MANY)
  t.equal((await ada.browser.get('/sessions')).status, 200)
  t.equal((await ada.client.listSessions()).data?.length, 1_000)
})

t.test(
  'S3: sign-ins with the old password, during a change that takes long, do not outlive it',
  async (t) => {
    const ada = await newPerson(url)
    await pile(ada.id, MANY)
    const { credentialEpoch } = await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })
    const ending = new AbortController()
    // The embedded store answers within the turn of the event loop: without a pause the change
    // would never arrive.
    const signingIn = async () => {
      while (!ending.signal.aborted) {
        await makeDevices(running, ada.id, 1, credentialEpoch)
        await nextTurn()
      }
    }
    const change = async () => {
      t.match(
        await ada.client.changePassword({
          currentPassword: password,
          newPassword: `${password} 2`
        }),
        { error: null }
      )
      ending.abort()
    }
    await Promise.all([change(), signingIn(), signingIn()])
    const live = await prisma.session.findMany({ where: { userId: ada.id, revokedAt: null } })
    t.strictSame(
      live.map(({ id }) => id),
      [ada.sessionId]
    )
  }
)

const liveOf = async (userId: string) =>
  (
    await store.session.findMany({ where: { userId, revokedAt: null }, orderBy: { id: 'asc' } })
  ).map(({ id }) => id)

/** Begins a session, and nothing more. */
async function begin(
  email: string,
  address = '203.0.113.1',
  url = capped.url
): Promise<{ status: number; headers: Headers; body: Record<string, string> }> {
  const answer = await new Browser(url).post(
    '/api/auth/sign-in/email',
    { email, password },
    { 'x-forwarded-for': address }
  )
  return {
    status: answer.status,
    headers: answer.headers,
    body: (await answer.json()) as Record<string, string>
  }
}

/** Moves a session's last use back by days. */
const leave = (sessionId: string, days: number) => store.$executeRaw`
  UPDATE "session" SET "issuedAt" = now() - interval '5 days', "lastSeenAt" = now() - ${days}::int * interval '1 day' WHERE "id" = ${sessionId}`

t.test('S3: past the cap a sign-in ends what the same client began and never used', async (t) => {
  const ada = await signUp(capped.url)
  for (let count = 1; count < CAP; count++) t.equal((await begin(ada.email)).status, 200)
  const before = await liveOf(ada.id)
  t.equal((await begin(ada.email)).status, 200)
  const after = await liveOf(ada.id)
  t.equal(after.length, CAP)
  const [taken = '', ...others] = before.filter((id) => !after.includes(id))
  t.strictSame([taken, others], [before[1], []], 'the oldest unused session ended, and no other')
  const row = await store.session.findUniqueOrThrow({ where: { id: taken } })
  t.match(row, { revokedReason: 'session_cap', version: 2 })
  t.equal(
    await store.sessionEvent.count({
      where: { sessionId: taken, type: 'revoked', cause: 'session_cap' }
    }),
    1
  )
  t.match(await store.outbox.findMany({ where: { sessionId: taken } }), [
    { reason: 'session_cap', userId: ada.id, ...(onPostgres ? { doneAt: Date } : {}) }
  ])
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test(
  'S3: past the cap a sign-in is refused where every session was used within a day',
  async (t) => {
    const ada = await signUp(capped.url)
    const devices = await Promise.all([1, 2].map(() => signIn(capped.url, ada.email)))
    const refused = await begin(ada.email)
    t.match(refused, {
      status: 429,
      body: { code: 'TOO_MANY_SESSIONS', cause: 'too_many_sessions', message: /sessions/ }
    })
    const retryAfter = Number(refused.headers.get('retry-after'))
    t.ok(retryAfter > 86_000 && retryAfter <= 86_400, `${retryAfter} s`)
    t.strictSame(refused.headers.getSetCookie(), [])
    t.equal((await liveOf(ada.id)).length, CAP)
    for (const { browser } of [ada, ...devices]) t.equal(await sessionState(browser), 'valid')
  }
)

t.test('S3: past the cap a sign-in ends what was idle for longest', async (t) => {
  const ada = await signUp(capped.url)
  const [one, two] = (await makeDevices(capped, ada.id, 2)).map(({ sessionId }) => sessionId) as [
    string,
    string
  ]
  await leave(one, 2)
  await leave(two, 3)
  t.equal((await begin(ada.email)).status, 200)
  const live = await liveOf(ada.id)
  t.strictSame(
    [live.includes(one), live.includes(two), live.includes(ada.sessionId)],
    [true, false, true]
  )
})

t.test('S3: an unused session of another network waits for its turn', async (t) => {
  const ada = await signUp(capped.url)
  await begin(ada.email, '198.51.100.1')
  await begin(ada.email, '198.51.100.2')
  t.equal((await begin(ada.email, '203.0.113.9')).status, 429)
  t.equal((await begin(ada.email, '198.51.100.3')).status, 200)
})

t.test('S3: a second sign-in in the same browser needs no room', async (t) => {
  const ada = await signUp(capped.url)
  await Promise.all([1, 2].map(() => signIn(capped.url, ada.email)))
  t.equal(
    (await ada.browser.post('/api/auth/sign-in/email', { email: ada.email, password })).status,
    200
  )
  t.equal((await liveOf(ada.id)).length, CAP)
  t.equal(
    (
      await ada.browser.post('/api/auth/change-password', {
        currentPassword: password,
        newPassword: `${password} 2`,
        revokeOtherSessions: true
      })
    ).status,
    200
  )
  t.equal((await liveOf(ada.id)).length, 1)
})

t.test('S3: sign-ins at once, on several nodes, never exceed the cap', async (t) => {
  const ada = await signUp(capped.url)
  const { port: _port, ...options } = capped.options
  const nodes = onPostgres ? [capped.url, (await start(t, options)).url] : [capped.url]
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, n) => begin(ada.email, '203.0.113.1', nodes[n % nodes.length]))
  )
  t.strictSame([...new Set(answers.map(({ status }) => status))], [200])
  t.equal((await liveOf(ada.id)).length, CAP)
  t.equal(
    await store.session.count({ where: { userId: ada.id, revokedReason: 'session_cap' } }),
    13 - CAP
  )
})

t.test('S3: who has more than the cap comes down to it with the next sign-in', async (t) => {
  const ada = await signUp(capped.url)
  for (const { sessionId } of await makeDevices(capped, ada.id, 8)) await leave(sessionId, 4)
  t.equal((await begin(ada.email)).status, 200)
  t.equal((await liveOf(ada.id)).length, CAP)
})

t.test('S3: an impersonation ends no session, and has a cap by administrator', async (t) => {
  const admin = await newAdmin(capped)
  const ada = await signUp(capped.url)
  await Promise.all([1, 2].map(() => signIn(capped.url, ada.email)))
  const before = await liveOf(ada.id)
  const impersonate = () =>
    fetch(`${capped.url}/api/auth/admin/impersonate-user`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${admin.bearer}` },
      body: JSON.stringify({ userId: ada.id })
    })
  for (let count = 0; count < CAP; count++) t.equal((await impersonate()).status, 200)
  t.match(await (await impersonate()).json(), { code: 'TOO_MANY_SESSIONS' })
  const after = await liveOf(ada.id)
  t.strictSame(
    before.filter((id) => !after.includes(id)),
    []
  )
  t.equal(
    (await begin(ada.email)).status,
    429,
    "an impersonation does not count among the user's own sessions"
  )
})
