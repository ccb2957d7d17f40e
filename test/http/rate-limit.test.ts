import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { limits } from '../../src/limits.js'
import {
  LocalBudgetStore,
  SharedBudgetStore,
  type BudgetStore
} from '../../plugins/limits/budgets.js'
import { enrol, newPerson } from '../support/device.js'
import { makeFamily, refresh } from '../support/refresh-fixtures.js'
import {
  Browser,
  build,
  freshStore,
  password,
  redisUrl,
  sessionState,
  signIn,
  signUp,
  start,
  storage
} from '../support/server.js'
import { startRedis } from '../support/redis.js'
import { until } from '../support/poll.js'

const gatewaySecret = 'a-secret-of-the-gateway-in-this-test'
const running = await build(t, {
  rateLimit: true,
  trustedProxies: ['127.0.0.1'],
  gatewayClients: [`edge:${gatewaySecret}`]
})
const { url } = running
let addresses = 0

/** A browser with its own address. */
class Visitor extends Browser {
  address = `2001:db8:0:${(++addresses).toString(16)}::1`

  override fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return super.fetch(path, {
      ...init,
      headers: { ...(init.headers as Record<string, string>), 'x-forwarded-for': this.address }
    })
  }
}

const guess = (browser: Browser, email: string, secret = 'a wrong guess, surely') =>
  browser.post('/api/auth/sign-in/email', { email, password: secret })

/** Guesses until the answer is 429. Returns how many guesses were verified. */
async function guessUntilLimited(
  browser: Browser,
  email: string
): Promise<{ guesses: number; refusal: Response }> {
  for (let guesses = 0; ; guesses++) {
    const answer = await guess(browser, email)
    if (answer.status === 429) return { guesses, refusal: answer }
    if (answer.status !== 401) throw new Error(`a wrong guess was answered ${answer.status}`)
  }
}

t.test(
  'an address has its share of guesses at an account, and cannot use up that of others',
  async (t) => {
    const { browser, email } = await signUp(url)
    const thief = new Visitor(url)
    const { guesses, refusal } = await guessUntilLimited(thief, email)
    t.equal(guesses, limits.accountFromAddress.max)
    t.match(await refusal.json(), { status: 429, cause: 'rate_limited' })
    t.equal(refusal.headers.get('ratelimit-limit'), String(limits.accountFromAddress.max))
    t.equal(refusal.headers.get('ratelimit-remaining'), '0')
    t.ok(Number(refusal.headers.get('retry-after')) > 0)
    t.equal(
      (await guess(thief, email, password)).status,
      429,
      'the right password is refused as well'
    )
    t.equal(
      (await guess(new Visitor(url), email, password)).status,
      200,
      'the owner can sign in from another address'
    )
    t.equal(await sessionState(browser), 'valid', 'existing sessions stay valid')
    t.equal(
      (await guess(thief, (await signUp(url)).email, password)).status,
      200,
      'another account has its own budget'
    )
  }
)

t.test('a /64 of IPv6 is one address', async (t) => {
  const { email } = await signUp(url)
  const thief = new Visitor(url)
  let count = 0
  const network = thief.address.replace(/1$/, '')
  for (; count < limits.accountFromAddress.max; count++) {
    thief.address = `${network}${count + 1}`
    await guess(thief, email)
  }
  thief.address = `${network}ffff:ffff`
  t.equal((await guess(thief, email)).status, 429)
})

t.test(
  'a flood from many addresses does not shut out a device that signed in before',
  async (t) => {
    const owner = new Visitor(url)
    const email = `${randomUUID()}@example.com`
    t.equal(
      (await owner.post('/api/auth/sign-up/email', { name: 'Ada', email, password })).status,
      200
    )
    const device = owner.cookies.get('holdfast.device') ?? ''
    t.match(device, /^d1\./)
    for (let n = 0; n < limits.account.max; n++) await guess(new Visitor(url), email)
    t.equal((await guess(new Visitor(url), email, password)).status, 429, 'a stranger is refused')
    const back = new Visitor(url)
    back.cookies.set('holdfast.device', device)
    t.equal((await guess(back, email, password)).status, 200, 'the known device is not refused')
    t.equal(await sessionState(owner), 'valid')
    const other = new Visitor(url)
    other.cookies.set(
      'holdfast.device',
      device.replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A'))
    )
    t.equal(
      (await guess(other, email, password)).status,
      429,
      'an invented device cookie is worth nothing'
    )
    const robbed = new Visitor(url)
    robbed.cookies.set('holdfast.device', device)
    t.equal(
      (await guessUntilLimited(robbed, email)).guesses,
      limits.accountFromDevice.max,
      'a stolen device cookie has its own budget'
    )
  }
)

t.test('a program that keeps cookies signs in again without an Origin', async (t) => {
  const { email } = await signUp(url)
  const sign = (cookie: string) =>
    fetch(`${url}/api/auth/sign-in/email`, {
      method: 'POST',
      body: JSON.stringify({ email, password }),
      headers: { 'content-type': 'application/json', ...(cookie ? { cookie } : {}) }
    })
  const device =
    (await sign('')).headers
      .getSetCookie()
      .find((cookie) => cookie.startsWith('holdfast.device=')) ?? ''
  t.match(device, /^holdfast\.device=d1\..*; HttpOnly/)
  t.match(device, /; SameSite=Lax/)
  t.equal((await sign(device.split(';', 1)[0] ?? '')).status, 200)
})

t.test('only wrong guesses are spent', async (t) => {
  const { email } = await signUp(url)
  const browser = new Visitor(url)
  for (let n = 0; n < limits.accountFromAddress.max + 2; n++) {
    browser.cookies.clear()
    t.equal((await guess(browser, email, password)).status, 200)
  }
  browser.cookies.clear()
  t.equal((await guessUntilLimited(browser, email)).guesses, limits.accountFromAddress.max)
})

t.test('guesses that are sent at once cannot share one of the budget', async (t) => {
  const { email } = await signUp(url)
  const thief = new Visitor(url)
  const answers = await Promise.all(Array.from({ length: 30 }, () => guess(thief, email)))
  // Where Redis is slow this process counts as well, and then there are two counters. If guesses
  // were counted after the work there would be thirty.
  const guesses = answers.filter((answer) => answer.status === 401).length
  t.ok(
    guesses >= limits.accountFromAddress.max && guesses <= 2 * limits.accountFromAddress.max,
    `${guesses} guesses`
  )
})

t.test('an unknown account is limited as a known one is, in every form of body', async (t) => {
  const email = `${randomUUID()}@example.com`
  const thief = new Visitor(url)
  const forms = [
    ['application/json', JSON.stringify({ email, password: 'a wrong guess' })],
    [
      'application/json; charset=utf-8',
      `\uFEFF${JSON.stringify({ email: email.toUpperCase(), password: 'a wrong guess' })}`
    ],
    [
      'application/x-www-form-urlencoded',
      new URLSearchParams([
        ['email', 'x@example.com'],
        ['email', email],
        ['password', 'a wrong guess']
      ]).toString()
    ]
  ] as const
  const statuses: number[] = []
  for (let n = 0; n < limits.accountFromAddress.max + 1; n++) {
    const [type, body] = forms[n % forms.length] ?? forms[0]
    statuses.push(
      (
        await thief.fetch('/api/auth/sign-in/email', {
          method: 'POST',
          body,
          headers: { 'content-type': type }
        })
      ).status
    )
  }
  t.strictSame(statuses, [...Array.from({ length: limits.accountFromAddress.max }, () => 401), 429])
})

t.test('whether an address has an account can be asked a few times by sign-up', async (t) => {
  const { email } = await signUp(url)
  const spy = new Visitor(url)
  let answer: Response
  let count = 0
  do answer = await spy.post('/api/auth/sign-up/email', { name: 'Eve', email, password })
  while (answer.status === 422 && ++count)
  t.equal(answer.status, 429)
  t.equal(count, limits.accountFromAddress.max)
})

t.test('a session has a budget for a password that is asked for again', async (t) => {
  const ada = await signUp(url)
  for (let n = 0; n < limits.passwordBySession.max; n++) {
    t.equal(
      (await ada.browser.post('/api/auth/verify-password', { password: 'wrong' })).status,
      400
    )
  }
  const refused = await ada.browser.post('/api/auth/change-password', {
    currentPassword: password,
    newPassword: 'another horse battery'
  })
  t.equal(refused.status, 429)
  t.ok(Number(refused.headers.get('retry-after')) > 0)
  t.equal(await sessionState(ada.browser), 'valid')
  t.equal(
    (await (await signIn(url, ada.email)).browser.post('/api/auth/verify-password', { password }))
      .status,
    200,
    'another session has its own budget'
  )
})

t.test('a second factor is locked after some wrong codes, across challenges', async (t) => {
  const ada = await newPerson(url)
  await enrol(ada)
  const wrongCode = async () => {
    const thief = new Visitor(url)
    t.equal((await guess(thief, ada.email, password)).status, 200)
    return [1, 2, 3, 4].map(
      () => () => thief.post('/api/auth/two-factor/verify-totp', { code: '000000' })
    )
  }
  const statuses: number[] = []
  let last: Response | null = null
  for (let challenge = 0; challenge < 3; challenge++) {
    for (const attempt of await wrongCode()) {
      last = await attempt()
      statuses.push(last.status)
    }
  }
  t.equal(statuses.filter((status) => status === 401).length, 10)
  t.equal(last?.status, 429)
  t.ok(Number(last?.headers.get('retry-after')) > 0)
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test(
  'requests by one address are limited on routes that are guessed at, and on those that are not there',
  async (t) => {
    const busy = new Visitor(url)
    const first = await guess(busy, 'nobody@example.com')
    t.equal(first.headers.get('ratelimit-limit'), String(limits.signInByAddress.max))
    t.equal(first.headers.get('ratelimit-remaining'), String(limits.signInByAddress.max - 1))
    t.ok(first.headers.has('ratelimit-reset'))
    const statuses = await Promise.all(
      Array.from(
        { length: limits.notFoundByAddress.max + 1 },
        async () => (await busy.get('/wp-admin')).status
      )
    )
    t.equal(statuses.filter((status) => status === 404).length, limits.notFoundByAddress.max)
    t.equal(statuses.filter((status) => status === 429).length, 1)
    t.equal(
      (await new Visitor(url).get('/wp-admin')).status,
      404,
      'another address has its own budget'
    )
  }
)

const basic = (secret: string) => ({
  authorization: `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`
})
const introspect = (browser: Browser, headers: Record<string, string>) =>
  browser.fetch('/oauth2/introspect', {
    method: 'POST',
    headers,
    body: new URLSearchParams({ token: 'x' })
  })
const checkMany = (browser: Browser, headers: Record<string, string>) =>
  browser.post('/sessions/check', { tokens: [] }, headers)

t.test(
  'wrong gateway secrets are limited by address, and a gateway that shows its secret never is',
  async (t) => {
    const [thief, edge] = [new Visitor(url), new Visitor(url)]
    edge.address = thief.address
    for (let n = 0; n < limits.gatewayByAddress.max + 5; n++)
      t.equal((await checkMany(thief, {})).status, 401, 'a request without a secret is not a guess')
    const guesses = await Promise.all(
      Array.from({ length: limits.gatewayByAddress.max }, (_, n) =>
        (n % 2 ? introspect : checkMany)(thief, basic(`wrong ${n}`))
      )
    )
    t.strictSame(new Set(guesses.map(({ status }) => status)), new Set([401]))

    const refused = await introspect(thief, basic('wrong'))
    t.match(
      { status: refused.status, body: await refused.json() },
      { status: 429, body: { error: 'temporarily_unavailable', cause: 'rate_limited' } }
    )
    t.ok(Number(refused.headers.get('retry-after')) > 0)
    t.equal(refused.headers.get('ratelimit-limit'), String(limits.gatewayByAddress.max))
    const refusedToo = await checkMany(thief, basic('wrong'))
    t.match(
      { status: refusedToo.status, body: await refusedToo.json() },
      { status: 429, body: { status: 429, cause: 'rate_limited' } }
    )
    t.match(refusedToo.headers.get('content-type'), /^application\/problem\+json/)
    t.equal(
      (await checkMany(new Visitor(url), basic('wrong'))).status,
      401,
      'another address has its own budget'
    )

    const asked = await Promise.all(
      Array.from({ length: 2 * limits.gatewayByAddress.max }, (_, n) =>
        (n % 2 ? introspect : checkMany)(edge, basic(gatewaySecret))
      )
    )
    t.strictSame(
      new Set(asked.map(({ status }) => status)),
      new Set([200]),
      'the right secret passes from the address of the thief'
    )
  }
)

t.test('refreshes are limited by session, and forged tokens spend nothing', async (t) => {
  const [looping, other] = [await makeFamily(running), await makeFamily(running)]
  const forged =
    looping.refreshToken.slice(0, -4) + (looping.refreshToken.endsWith('AAAA') ? 'BBBB' : 'AAAA')
  for (let n = 0; n < limits.refreshBySession.max; n++)
    t.match(await refresh(url, forged), { status: 400, body: { cause: 'refresh_malformed' } })
  let { refreshToken } = looping
  for (let n = 0; n < limits.refreshBySession.max; n++) {
    const { status, body } = await refresh(url, refreshToken)
    t.equal(status, 200, `refresh ${n + 1}`)
    refreshToken = body.refresh_token
  }
  const refused = await fetch(`${url}/oauth2/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken })
  })
  t.match(
    { status: refused.status, body: await refused.json() },
    { status: 429, body: { error: 'temporarily_unavailable', cause: 'rate_limited' } }
  )
  for (const name of ['retry-after', 'ratelimit-reset'])
    t.ok(Number(refused.headers.get(name)) > 0, name)
  t.equal(refused.headers.get('ratelimit-limit'), String(limits.refreshBySession.max))
  t.equal(refused.headers.get('ratelimit-remaining'), '0')
  t.equal(
    (await refresh(url, other.refreshToken)).status,
    200,
    'another session has its own budget'
  )
  const { revokedAt } = await running.app.holdfast.prisma.session.findUniqueOrThrow({
    where: { id: looping.sessionId }
  })
  t.equal(revokedAt, null, 'the session continues')
})

const onEmbedded = storage === 'embedded'
t.test(
  'nodes share their counts, and count alone while Redis is away',
  { skip: onEmbedded && 'there is no Redis' },
  async (t) => {
    const redis = await startRedis()
    if (!redis) return t.fail('redis-server is not on the PATH')
    t.teardown(() => redis.stop())
    const options = {
      ...(await freshStore(t)),
      redisUrl: redis.url,
      rateLimit: true,
      trustedProxies: ['127.0.0.1']
    }
    const [one, two] = [await start(t, options), await start(t, options)]
    const email = `${randomUUID()}@example.com`
    const [atOne, atTwo] = [new Visitor(one.url), new Visitor(two.url)]
    atTwo.address = atOne.address
    for (let n = 0; n < limits.accountFromAddress.max / 2; n++) {
      t.equal((await guess(atOne, email)).status, 401)
      t.equal((await guess(atTwo, email)).status, 401)
    }
    t.equal((await guess(atOne, email)).status, 429)
    t.equal((await guess(atTwo, email)).status, 429)
    await redis.stop()
    t.equal(
      (await guessUntilLimited(atOne, email)).guesses,
      limits.accountFromAddress.max,
      'without Redis a node counts alone, from zero'
    )
    await redis.start()
    await until('Redis to count again', async () => (await guess(atOne, email)).status === 401)
    return t.end()
  }
)

// Both stores must meet the same contract.
for (const kind of onEmbedded ? ['local'] : ['local', 'shared']) {
  t.test(`a ${kind} budget counts, forgets when its window ends, and takes back`, async (t) => {
    let now = 0
    const store: BudgetStore = kind === 'local' ? new LocalBudgetStore(() => now) : sharedStore(t)
    const wait = async (ms: number) => {
      now += ms
    }
    const key = randomUUID()
    t.equal((await store.take(key, 60_000)).current, 1)
    const second = await store.take(key, 60_000)
    t.equal(second.current, 2)
    t.ok(second.remainingMs > 0 && second.remainingMs <= 60_000)
    await store.giveBack(key)
    t.equal((await store.take(key, 60_000)).current, 2)
    await store.giveBack(`${key} unheard of`)
    t.equal(
      (await store.take(`${key} unheard of`, 60_000)).current,
      1,
      'nothing is given back to a window that has not begun'
    )
    await wait(60_000)
    if (kind === 'local') t.equal((await store.take(key, 60_000)).current, 1)
    else
      t.equal(
        await until(
          'the window to end',
          async () => (await store.take(`${key} short`, 1)).current === 1
        ),
        true
      )
  })
}

function sharedStore(t: Test): SharedBudgetStore {
  const redis = new Redis(redisUrl)
  t.teardown(() => redis.disconnect())
  const storeId = `test-${randomUUID()}`
  return new SharedBudgetStore(redis, () => storeId, new LocalBudgetStore())
}
