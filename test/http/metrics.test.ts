import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import t from 'tap'
import { makeFamily, refresh } from '../support/refresh-fixtures.js'
import { factorOutcomes } from '../../src/auth/attempts.js'
import { Browser, build, sessionState, signIn, signUp, storage } from '../support/server.js'
import { until } from '../support/poll.js'
import { freePort } from '../support/ports.js'

const running = await build(t)
const { url } = running

/** The value of a metric with exactly these labels. Undefined when there is none. */
async function read(
  name: string,
  labels: Record<string, string> = {},
  from = `${url}/metrics`
): Promise<number | undefined> {
  const text = await (await fetch(from)).text()
  for (const [, found, shown = '', value] of text.matchAll(
    /^([a-z0-9_:]+)(?:\{(.*)\})? ([\d.e+-]+)$/gm
  )) {
    const of = Object.fromEntries(
      [...shown.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', word = '']) => [key, word])
    )
    if (
      found === name &&
      Object.keys(of).length === Object.keys(labels).length &&
      Object.entries(labels).every(([key, word]) => of[key] === word)
    )
      return Number(value)
  }
  return undefined
}

const count = (route: string, status: string) =>
  read('holdfast_http_request_duration_seconds_count', { method: 'GET', route, status })
const checks = (answer: string, layer: string) => read('holdfast_checks_total', { answer, layer })

/** Sign-ins that succeeded, and those at names without an account. */
const signIns = () =>
  Promise.all(['ok', 'unknown'].map((outcome) => read('holdfast_sign_ins_total', { outcome })))

t.test(
  'requests are counted by route and status, and no path of a stranger becomes a label',
  async (t) => {
    const { browser, sessionId } = await signUp(url)
    await browser.get(`/sessions/${sessionId}/events`)
    await fetch(`${url}/session`)
    await fetch(`${url}/api/auth/no-such-thing-${sessionId}`)
    await until(
      'the requests to be counted',
      async () => (await count('/sessions/:id/events', '200')) === 1
    )
    t.ok(((await count('/session', '401')) ?? 0) >= 1)
    t.equal(await count('/api/auth/*', '404'), 1)
    t.notOk((await (await fetch(`${url}/metrics`)).text()).includes(sessionId))
  }
)

t.test('checks are counted by answer and by the layer that gave it', async (t) => {
  const { browser, bearer } = await signUp(url)
  await until('the local cache to answer', async () => {
    const before = (await checks('active', 'local')) ?? 0
    t.equal(await sessionState(browser), 'valid')
    return (await checks('active', 'local')) === before + 1
  })
  t.ok(await checks('active', 'store'), 'the first check came from the store')
  const refused = (await checks('refused', 'none')) ?? 0
  await new Browser(url).get('/session', { authorization: 'Bearer hst1_nonsense' })
  t.equal(await checks('refused', 'none'), refused + 1)
  await browser.post('/api/auth/sign-out')
  const layer = storage === 'embedded' ? 'store' : 'shared'
  const counted = async () =>
    ((await checks('revoked', layer)) ?? 0) + ((await checks('refused', layer)) ?? 0)
  const before = await counted()
  await new Browser(url).get('/session', { authorization: `Bearer ${bearer}` })
  t.equal(await counted(), before + 1)
})

t.test('checks for a proxy are counted by layer as well', async (t) => {
  const { browser } = await signUp(url)
  await until('the local cache to answer', async () => {
    const before = (await checks('active', 'local')) ?? 0
    t.equal((await browser.get('/verify')).status, 200)
    return (await checks('active', 'local')) === before + 1
  })
  const refused = (await checks('refused', 'none')) ?? 0
  t.equal(
    (await fetch(`${url}/verify`, { headers: { authorization: 'Bearer hst1_nonsense' } })).status,
    401
  )
  t.equal(await checks('refused', 'none'), refused + 1)
  t.ok(await count('/verify', '200'))
})

t.test('refreshes are counted by outcome, under the names that the alerts use', async (t) => {
  const outcomes = ['rotated', 'replayed', 'refresh_reused', 'refresh_malformed']
  const counted = () =>
    Promise.all(
      outcomes.map(async (outcome) => (await read('holdfast_refreshes_total', { outcome })) ?? 0)
    )
  const before = await counted()
  const { refreshToken } = await makeFamily(running)
  const {
    body: { refresh_token: second }
  } = await refresh(url, refreshToken)
  t.equal((await refresh(url, refreshToken)).status, 200, 'the token was answered again')
  t.equal((await refresh(url, second)).status, 200)
  t.match(await refresh(url, refreshToken), { status: 400, body: { cause: 'refresh_reused' } })
  t.match(await refresh(url, 'hrt1_nonsense'), {
    status: 400,
    body: { cause: 'refresh_malformed' }
  })
  t.strictSame(
    (await counted()).map((value, n) => value - (before[n] ?? 0)),
    [2, 1, 1, 1]
  )
  for (const [status, times] of [
    ['200', 3],
    ['400', 2]
  ] as const) {
    t.equal(
      await read('holdfast_http_request_duration_seconds_count', {
        method: 'POST',
        route: '/oauth2/token',
        status
      }),
      times,
      status
    )
  }
  const alerts = readFileSync(
    new URL('../../../examples/prometheus-alerts.yml', import.meta.url),
    'utf8'
  )
  for (const [, outcome = ''] of alerts.matchAll(/refreshes_total\{outcome="([^"]+)"/g))
    t.ok(outcomes.includes(outcome), outcome)
})

t.test(
  'O15: sign-ins and second factors are counted by outcome, under the names that the alerts use',
  async (t) => {
    const alerts = readFileSync(
      new URL('../../../examples/prometheus-alerts.yml', import.meta.url),
      'utf8'
    )
    const named = (metric: string) =>
      [...alerts.matchAll(new RegExp(`${metric}\\{outcome=~"([^"]+)"`, 'g'))].flatMap(
        ([, outcomes = '']) => outcomes.split('|')
      )
    t.ok(named('sign_ins_total').length > 2)
    for (const outcome of named('sign_ins_total'))
      t.type(await read('holdfast_sign_ins_total', { outcome }), 'number', outcome)
    for (const outcome of named('second_factors_total'))
      t.ok(factorOutcomes.includes(outcome as (typeof factorOutcomes)[number]), outcome)
    const before = await signIns()
    const { email } = await signUp(url)
    await signIn(url, email)
    await new Browser(url).post('/api/auth/sign-in/email', {
      email: 'nobody@example.com',
      password: 'a wrong guess, surely'
    })
    t.strictSame(
      await until('the sign-ins to be counted', async () => {
        const difference = (await signIns()).map((value, n) => (value ?? 0) - (before[n] ?? 0))
        return difference.every((value) => value > 0) && difference
      }),
      [1, 1]
    )
  }
)

t.test('revocations are counted by reason, and timed', async (t) => {
  const { browser } = await signUp(url)
  const before = (await read('holdfast_revocations_total', { reason: 'signed_out' })) ?? 0
  await browser.post('/api/auth/sign-out')
  t.equal(await read('holdfast_revocations_total', { reason: 'signed_out' }), before + 1)
  t.ok(await read('holdfast_revocation_confirmation_seconds_count', { outcome: 'confirmed' }))
})

t.test('what the process holds is shown', async (t) => {
  t.ok(await read('holdfast_cache_entries'))
  t.ok(await read('holdfast_cache_bytes'))
  t.equal(await read('holdfast_ready'), 1)
  t.type(await read('nodejs_eventloop_lag_p99_seconds'), 'number')
  if (storage === 'embedded') {
    t.equal(await read('holdfast_pool_total'), undefined, 'there is no pool')
    t.equal(await read('holdfast_redis_breaker_open'), undefined, 'there is no Redis')
  } else {
    t.equal(await read('holdfast_redis_breaker_open'), 0)
    t.equal(
      await until(
        'the outbox to be empty',
        async () => (await read('holdfast_outbox_depth')) === 0
      ),
      true
    )
    t.ok(await read('holdfast_pool_total'))
    t.equal(await read('holdfast_pool_waiting'), 0)
    t.equal(
      await until('the lease to be held', async () => (await read('holdfast_lease_held')) === 1),
      true
    )
  }
})

t.test('mails are counted by kind and outcome, and those that wait are shown', async (t) => {
  const { prisma, counters } = running.app.holdfast
  const alerts = readFileSync(
    new URL('../../../examples/prometheus-alerts.yml', import.meta.url),
    'utf8'
  )
  const outcomes = [...alerts.matchAll(/mails_total\{outcome="([^"]+)"/g)]
  t.equal(outcomes.length, 1)
  for (const [, outcome = ''] of outcomes)
    t.equal(await read('holdfast_mails_total', { kind: 'reset', outcome }), 0)
  counters.mailed('reset', 'refused')
  t.equal(await read('holdfast_mails_total', { kind: 'reset', outcome: 'refused' }), 1)
  t.equal(await read('holdfast_mails_waiting'), 0)
  t.equal(await read('holdfast_mail_oldest_seconds'), 0)
  await prisma.$executeRaw`
    INSERT INTO "mail" ("kind", "recipient", "language", "createdAt", "nextAt", "expiresAt")
    VALUES ('reset', 'ada@example.com', 'en', clock_timestamp() - interval '11 minutes', clock_timestamp() + interval '1 hour', clock_timestamp() + interval '1 day')`
  t.equal(await read('holdfast_mails_waiting'), 1)
  const oldest = (await read('holdfast_mail_oldest_seconds')) ?? 0
  t.ok(oldest >= 660 && oldest < 720, `${oldest} s`)
  await prisma.mail.deleteMany()
})

t.test('they are shown to this machine alone, and not through a proxy of it', async (t) => {
  const { url } = await build(t, { trustedProxies: ['127.0.0.1'] })
  t.equal((await fetch(`${url}/metrics`)).status, 200)
  for (const [name, value] of [
    ['x-forwarded-for', '127.0.0.1'],
    ['forwarded', 'for=127.0.0.1'],
    ['via', '1.1 proxy']
  ] as const) {
    const refused = await fetch(`${url}/metrics`, { headers: { [name]: value } })
    t.equal(refused.status, 404)
    t.match(await refused.json(), { cause: 'not_found' })
  }
  const rebound = await new Promise<number | undefined>((resolve, reject) => {
    request(`${url}/metrics`, { headers: { host: 'rebound.example' } }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
  t.equal(rebound, 404, 'a page whose own name points here is refused')
})

// nginx's `proxy_pass` adds no header of its own, so its requests cannot be told from those of this
// machine.
t.test('S11: a server with a public address shows them on METRICS_PORT alone', async (t) => {
  const metricsPort = await freePort()
  for (const options of [
    { baseUrl: 'https://auth.example.com' },
    { baseUrl: 'https://auth.example.com', metricsPort },
    { host: '0.0.0.0' }
  ]) {
    const { url } = await build(t, options)
    t.equal((await fetch(`${url}/metrics`)).status, 404, JSON.stringify(options))
  }
  t.match(
    await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text(),
    /^holdfast_ready 1$/m
  )
  const other = await freePort()
  await build(t, { metricsPort: other, metricsHost: '127.0.0.2' })
  t.equal((await fetch(`http://127.0.0.2:${other}/metrics`)).status, 200)
  await t.rejects(fetch(`http://127.0.0.1:${other}/metrics`), 'metrics listen on METRICS_HOST only')
})

// A dashboard that asks for a missing metric shows nothing, and an alert on it never fires.
t.test('dashboard and alert rules ask for metrics that there are', async (t) => {
  const text = await (await fetch(`${url}/metrics`)).text()
  const known = new Set([...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name = '']) => name))
  for (const file of ['grafana-dashboard.json', 'prometheus-alerts.yml']) {
    const asked = [
      ...readFileSync(new URL(`../../../examples/${file}`, import.meta.url), 'utf8').matchAll(
        /\b(?:holdfast|nodejs)_[a-z0-9_]+/g
      )
    ].map(([name]) => name.replace(/_(bucket|count|sum)$/, ''))
    t.ok(asked.length > 5, file)
    for (const name of new Set(asked)) t.ok(known.has(name), `${file}: ${name}`)
  }
})

t.test('METRICS_PORT has them, and then no other', async (t) => {
  const metricsPort = await freePort()
  const { url } = await build(t, { metricsPort })
  t.equal((await fetch(`${url}/metrics`)).status, 404)
  const answer = await fetch(`http://127.0.0.1:${metricsPort}/metrics`)
  t.match(answer.headers.get('content-type'), /^text\/plain; version=/)
  t.match(await answer.text(), /^holdfast_ready 1$/m)
  t.equal((await fetch(`http://127.0.0.1:${metricsPort}/session`)).status, 404)
  t.equal(await read('holdfast_ready', {}, `http://127.0.0.1:${metricsPort}/metrics`), 1)
})
