import { Writable } from 'node:stream'
import Fastify from 'fastify'
import { pino } from 'pino'
import t from 'tap'
import holdfast from '../../plugins/holdfast.js'
import { RefusedOrigins } from '../../src/refused-origins.js'
import { makeFamily } from '../support/refresh-fixtures.js'
import { Browser, build, freshStore, password, signUp, type Running } from '../support/server.js'
import { until } from '../support/poll.js'

/** The log's line about the answer to the request that `ask` sends. */
async function lineOf(
  { log }: Pick<Running, 'log'>,
  ask: () => Promise<Response>
): Promise<Record<string, unknown>> {
  const before = log.length
  const { status } = await ask()
  const lines = () =>
    log
      .slice(before)
      .map((line) => JSON.parse(line) as { msg: string; res?: Record<string, unknown> })
  return until<Record<string, unknown> | undefined>(
    `a line about the ${status}`,
    () =>
      lines().find(({ msg, res }) => msg === 'request completed' && res?.['statusCode'] === status)
        ?.res
  )
}

t.test('O15: the line about a refusal has its cause, and the user it was about', async (t) => {
  const running = await build(t)
  const { url } = running
  const ada = await signUp(url)
  const ended = await signUp(url)
  await running.app.holdfast.revoker.revoke([ended.sessionId], null, 'revoked_by_operator')
  const ask = (what: () => Promise<Response>) => lineOf(running, what)
  const signIn = (email: string) =>
    new Browser(url).post('/api/auth/sign-in/email', { email, password: 'a wrong guess, surely' })
  t.strictSame(await ask(() => signIn(ada.email)), {
    statusCode: 401,
    code: 'INVALID_EMAIL_OR_PASSWORD',
    userId: ada.id
  })
  t.strictSame(await ask(() => signIn('nobody@example.com')), {
    statusCode: 401,
    code: 'INVALID_EMAIL_OR_PASSWORD'
  })
  t.strictSame(await ask(() => ended.browser.get('/session')), {
    statusCode: 401,
    cause: 'session_revoked',
    sessionId: ended.sessionId
  })
  t.strictSame(
    await ask(() =>
      ada.browser.post('/api/auth/change-password', {
        currentPassword: 'wrong',
        newPassword: 'Tr0ub4dor & three more words'
      })
    ),
    { statusCode: 400, code: 'INVALID_PASSWORD', userId: ada.id, sessionId: ada.sessionId }
  )
  t.strictSame(
    await ask(() =>
      ada.browser.post('/api/auth/change-password', { currentPassword: password, newPassword: 'x' })
    ),
    { statusCode: 400, cause: 'password_too_short' }
  )
  t.strictSame(await ask(() => ada.browser.post('/api/auth/admin/ban-user', { userId: ada.id })), {
    statusCode: 403,
    code: 'YOU_ARE_NOT_ALLOWED_TO_BAN_USERS',
    userId: ada.id,
    sessionId: ada.sessionId
  })
  t.strictSame(await ask(() => ada.browser.get(`/sessions/${ended.sessionId}/events`)), {
    statusCode: 404,
    cause: 'not_found',
    userId: ada.id,
    sessionId: ada.sessionId
  })
  t.strictSame(
    await ask(() =>
      fetch(`${url}/oauth2/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'x' })
      })
    ),
    { statusCode: 400, cause: 'refresh_malformed' }
  )
  const { refreshToken } = await makeFamily(running)
  const refused = await ask(() =>
    fetch(`${url}/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: refreshToken,
        client_id: 'another'
      })
    })
  )
  t.match(refused, { statusCode: 400, cause: 'client_mismatch', sessionId: /^[0-9a-f-]{36}$/ })
  t.strictSame(await ask(() => fetch(`${url}/nowhere`)), { statusCode: 404, cause: 'not_found' })
  t.strictSame(await ask(() => ada.browser.get('/sessions')), { statusCode: 200 })
})

t.test(
  'O15: so it is in the log of a host application, with what its own serializer says',
  async (t) => {
    const log: string[] = []
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        log.push(chunk.toString())
        done()
      }
    })
    const app = Fastify({
      loggerInstance: pino(
        {
          serializers: {
            res: (reply: { statusCode: number }) => ({ statusCode: reply.statusCode, host: 'mine' })
          }
        },
        sink
      )
    })
    await app.register(holdfast, {
      ...(await freshStore(t)),
      prefix: '/identity',
      baseUrl: 'http://localhost',
      rateLimit: false
    })
    t.teardown(() => app.close())
    const ask = async () =>
      new Response(null, { status: (await app.inject('/identity/session')).statusCode })
    t.strictSame(await lineOf({ log }, ask), {
      statusCode: 401,
      host: 'mine',
      cause: 'credential_missing'
    })
  }
)

/** Lines of the log that name origins. */
const originsIn = ({ log }: Running) =>
  log
    .filter((line) => /origin/.test(line) && line.includes('"level":40'))
    .map((line) => (JSON.parse(line) as { msg: string }).msg)

t.test('O7: one line names an origin that was refused, and the setting', async (t) => {
  const running = await build(t, { trustedOrigins: ['https://app.example.com'] })
  const ada = await signUp(running.url)
  const ways: [origin: string, ask: (origin: string) => Promise<Response>, status: number][] = [
    [
      'https://one.example',
      (origin) =>
        ada.browser.fetch('/sessions?except=current', { method: 'DELETE', headers: { origin } }),
      403
    ],
    [
      'https://two.example',
      (origin) => ada.browser.post('/api/auth/update-user', { name: 'Eve' }, { origin }),
      403
    ],
    [
      'https://three.example',
      (origin) =>
        fetch(`${running.url}/api/auth/sign-in/email`, {
          method: 'OPTIONS',
          headers: { origin, 'access-control-request-method': 'POST' }
        }),
      204
    ],
    [
      'https://four.example:8443',
      (origin) => ada.browser.fetch('/verify', { method: 'POST', headers: { origin } }),
      403
    ],
    [
      'https://five.example',
      (origin) =>
        ada.browser.post('/api/auth/sign-in/email', {
          email: ada.email,
          password,
          callbackURL: `${origin}/welcome?token=secret`
        }),
      403
    ],
    [
      'capacitor://localhost',
      (origin) =>
        ada.browser.fetch('/sessions?except=current', { method: 'DELETE', headers: { origin } }),
      403
    ]
  ]
  for (const [origin, ask, status] of ways) {
    for (let i = 0; i < 3; i++) t.equal((await ask(origin)).status, status, origin)
    t.strictSame(
      originsIn(running).filter((line) => line.includes(` ${origin} `)),
      [`a request from the origin ${origin} was refused: TRUSTED_ORIGINS does not name it`]
    )
  }
  t.equal(
    (
      await ada.browser.fetch('/sessions?except=current', {
        method: 'DELETE',
        headers: { origin: 'null' }
      })
    ).status,
    403
  )
  t.equal(originsIn(running).length, ways.length + 1)
  t.notMatch(originsIn(running).join('\n'), /secret|welcome/)
  t.equal(
    (
      await fetch(`${running.url}/session`, {
        method: 'OPTIONS',
        headers: { origin: 'https://app.example.com', 'access-control-request-method': 'GET' }
      })
    ).status,
    204
  )
  t.equal(originsIn(running).length, ways.length + 1, 'a trusted origin is not logged')
})

t.test('O7: so it is where no origin is trusted', async (t) => {
  const running = await build(t)
  await fetch(`${running.url}/api/auth/sign-in/email`, {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example.com', 'access-control-request-method': 'POST' }
  })
  t.strictSame(originsIn(running), [
    'a request from the origin https://app.example.com was refused: TRUSTED_ORIGINS does not name it'
  ])
})

t.test('O7: made-up origins do not fill the log, and cannot write what they like', (t) => {
  let now = 0
  const lines: string[] = []
  const origins = new RefusedOrigins({ now: () => now, onRefused: (line) => lines.push(line) })
  for (let i = 0; i < 1_000; i++) origins.note(`https://${i}.example`)
  t.equal(lines.length, 21)
  t.match(lines.at(-1), /^more origins were refused/)
  now += 10 * 60_000
  origins.note('https://1.example')
  t.equal(lines.length, 22, 'after ten minutes origins are logged again')
  lines.length = 0
  for (const sent of [
    'https://x.example/\n{"level":60}',
    `https://${'x'.repeat(5_000)}.example`,
    'no address at all\u0000',
    'https://user:password@y.example/path?secret',
    undefined,
    ''
  ])
    origins.note(sent)
  for (const line of lines) {
    t.ok(line.length < 400, line.slice(0, 60))
    t.match(line, /^[\x20-\x7e]+$/)
    t.notMatch(line, /password|secret|level/)
  }
  t.end()
})
