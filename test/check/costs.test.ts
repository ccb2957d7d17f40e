import t, { type Test } from 'tap'
import {
  build,
  makeAdmin,
  password,
  signIn,
  signUp,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { askChild } from '../support/child.js'
import { counting, recording, type Counts } from '../support/count.js'
import { until } from '../support/poll.js'

/*
 * The costs of operations, as counts that do not depend on the machine. A change that makes one
 * more expensive must say so here. The bench measures times.
 */
const hasRedis = storage === 'postgres'

const verify = async ({ url }: Running, bearer: string) =>
  (await fetch(`${url}/verify`, { headers: { authorization: `Bearer ${bearer}` } })).status

async function warm(running: Running, bearer: string): Promise<void> {
  await until(
    'the cache to answer',
    async () => (await counting(() => verify(running, bearer))).queries === 0
  )
}

/** Asserts the costs of an operation, which must be no higher. */
function atMost(t: Test, what: string, counts: Counts, queries: number, commands: number): void {
  t.ok(
    counts.queries <= queries && counts.commands <= (hasRedis ? commands : 0),
    `${what}: ${counts.queries} of ${queries} queries, ${counts.commands} of ${commands} commands`
  )
}

async function signInForTokens(
  { url }: Running,
  { email }: Person
): Promise<{ access_token: string; refresh_token: string }> {
  const response = await fetch(`${url}/api/auth/sign-in/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'token-transport': 'body' },
    body: JSON.stringify({ email, password })
  })
  return ((await response.json()) as { tokens: { access_token: string; refresh_token: string } })
    .tokens
}

async function refresh({ url }: Running, refreshToken: string): Promise<number> {
  return (
    await fetch(`${url}/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken })
    })
  ).status
}

t.test('a check of a session that this process knows costs no I/O', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  await warm(running, ada.bearer)
  t.strictSame(await counting(() => verify(running, ada.bearer)), { queries: 0, commands: 0 })
})

t.test(
  'a check from Redis is one command',
  { skip: hasRedis ? false : 'the embedded store has no shared cache' },
  async (t) => {
    const running = await build(t, { localCache: false })
    const ada = await signUp(running.url)
    await warm(running, ada.bearer)
    t.strictSame(await counting(() => verify(running, ada.bearer)), { queries: 0, commands: 1 })
  }
)

t.test('the first check of a session is one query', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  await warm(running, ada.bearer)
  // No check has been made yet of the session of a sign-in with tokens.
  const { access_token: token } = await signInForTokens(running, ada)
  atMost(t, 'it', await counting(async () => t.equal(await verify(running, token), 200)), 1, 2)
})

t.test('refreshes, sign-ins and revocations', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  await warm(running, ada.bearer)
  const { refresh_token: refreshToken } = await signInForTokens(running, ada)
  atMost(
    t,
    'a refresh',
    await counting(async () => t.equal(await refresh(running, refreshToken), 200)),
    1,
    1
  )
  // Where mail is on, one more looks whether the device is new.
  const signInQueries = running.app.holdfast.mail === null ? 4 : 5
  atMost(t, 'a sign-in', await counting(() => signInForTokens(running, ada)), signInQueries, 1)
  const phone = await signIn(running.url, ada.email)
  await warm(running, phone.bearer)
  atMost(
    t,
    'a revocation',
    await counting(async () =>
      t.equal((await phone.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
    ),
    2,
    2
  )
})

t.test('every statement that a request sends finds its rows by an index', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  const statements = await recording(async () => {
    const phone = await signIn(running.url, ada.email)
    await verify(running, phone.bearer)
    for (const path of ['/session', '/sessions', `/sessions/${ada.sessionId}/events`])
      await ada.browser.get(path)
    await refresh(running, (await signInForTokens(running, ada)).refresh_token)
    await ada.browser.delete(`/sessions/${phone.sessionId}`)
    await ada.browser.delete('/sessions?except=current')
    await makeAdmin(running, ada)
    for (const path of [
      'list-events',
      'list-events?kind=role_changed',
      `list-events?actorId=${ada.id}&kind=role_changed`,
      `list-user-events?userId=${ada.id}`,
      `list-user-events?userId=${ada.id}&kind=role_changed`,
      `list-user-session-history?userId=${ada.id}`,
      `list-session-events?sessionId=${ada.sessionId}`
    ])
      await ada.browser.get(`/api/auth/admin/${path}`)
    await ada.browser.get('/account/events')
    await ada.browser.post('/api/auth/change-password', {
      currentPassword: password,
      newPassword: `${password} 2`,
      revokeOtherSessions: true
    })
    await ada.browser.post('/api/auth/sign-out')
  })
  const queries = statements.filter((text) =>
    /^\s*(SELECT|UPDATE|INSERT|DELETE|WITH)\b/i.test(text)
  )
  t.ok(queries.length > 10, `${queries.length} different statements`)
  for (const text of queries) {
    const plan = await planOf(running, text)
    t.notMatch(
      plan,
      /Seq Scan on (public\.)?"?(session|user|account|verification|two_factor|session_event|account_event|outbox)\b/,
      text.trim().slice(0, 160)
    )
  }
})

t.test('a warm check allocates little', async (t) => {
  const { bytes } = await askElsewhere<{ bytes: number }>(t, 'allocation.js', [
    '--expose-gc',
    '--max-semi-space-size=64'
  ])
  t.ok(bytes > 0 && bytes <= 400, `${bytes.toFixed(0)} bytes`)
})

t.test('no promise is watched but while better-auth answers', async (t) => {
  const watched = await askElsewhere<{ before: boolean; during: boolean; after: boolean }>(
    t,
    'watched.js'
  )
  // Node 24 carries values without watching promises.
  t.strictSame(watched, {
    before: false,
    during: Number(process.versions.node.split('.', 1)[0]) < 24,
    after: false
  })
})

/** Runs a script on a server in a process of its own, with a signed-in user. */
async function askElsewhere<T>(t: Test, script: string, execArgv?: string[]): Promise<T> {
  const running = await build(t)
  const ada = await signUp(running.url)
  await running.app.close()
  return askChild<T>(
    t,
    script,
    { options: { ...running.options, baseUrl: running.url }, bearer: ada.bearer },
    execArgv
  )
}

/** The generic plan. It has a sequential scan only where there is no other way. */
async function planOf({ app }: Running, text: string): Promise<string> {
  const count = Math.max(0, ...[...text.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number)))
  const values = count === 0 ? '' : `(${Array.from({ length: count }, () => 'NULL').join()})`
  return app.holdfast.prisma.$transaction(async (db) => {
    await db.$executeRawUnsafe('SET LOCAL enable_seqscan = off')
    await db.$executeRawUnsafe('SET LOCAL plan_cache_mode = force_generic_plan')
    await db.$executeRawUnsafe(`PREPARE explained AS ${text}`)
    const rows = await db.$queryRawUnsafe<{ 'QUERY PLAN': string }[]>(
      `EXPLAIN EXECUTE explained${values}`
    )
    await db.$executeRawUnsafe('DEALLOCATE explained')
    return rows.map((row) => row['QUERY PLAN']).join('\n')
  })
}
