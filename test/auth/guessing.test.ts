import { randomUUID } from 'node:crypto'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { limits, type Limit } from '../../src/limits.js'
import { LocalBudgetStore, Budgets } from '../../plugins/limits/budgets.js'
import { accountKey } from '../../src/auth/device.js'
import { AppError } from '../../src/errors.js'
import {
  Browser,
  build,
  password,
  proveAddress,
  signIn,
  signUp,
  type Person
} from '../support/server.js'
import { until } from '../support/poll.js'

const running = await build(t, { rateLimit: true, trustedProxies: ['127.0.0.1'] })
const { url } = running

/** A client that keeps no cookies, at an address. */
class Program {
  readonly address: string

  constructor(address: string) {
    this.address = address
  }

  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return fetch(`${url}/api/auth/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      ...init,
      headers: {
        'content-type': 'application/json',
        'x-forwarded-for': this.address,
        ...(init.headers as Record<string, string>)
      }
    })
  }

  signIn(email: string, secret = password, init: RequestInit = {}): Promise<Response> {
    return this.post('sign-in/email', { email, password: secret }, init)
  }
}

const noReply = { headers: () => noReply } as unknown as FastifyReply

/** Spends a budget of the server as this many wrong guesses would, without their hashes. */
async function spend(limit: Limit, of: string, times = limit.max): Promise<void> {
  for (let n = 0; n < times; n++) await running.app.budgets?.take(noReply, limit, of)
}

const newEmail = () => `${randomUUID()}@example.com`

t.test(
  'S6: a flood of guesses from six addresses is shed, and a sign-in from a seventh is answered soon',
  async (t) => {
    const { email } = await signUp(url)
    const emails = Array.from({ length: 360 }, newEmail)
    const flood = emails.map(async (guessed, n) => {
      const response = await new Program(`203.0.113.${(n % 6) + 1}`).signIn(
        guessed,
        'a wrong guess, surely'
      )
      return {
        guessed,
        n,
        status: response.status,
        retryAfter: response.headers.get('retry-after'),
        body: (await response.json()) as { cause?: string }
      }
    })
    await Promise.race(flood)
    const since = performance.now()
    const honest = await new Program('203.0.113.7').signIn(email)
    const ms = performance.now() - since
    t.equal(honest.status, 200)
    t.ok(ms < 10_000, `answered after ${Math.round(ms)} ms`)
    const answers = await Promise.all(flood)
    const shed = answers.filter(({ status }) => status === 503)
    t.comment(
      `${shed.length} of ${answers.length} were shed, the honest sign-in took ${Math.round(ms)} ms, all took ${Math.round(performance.now() - since)} ms`
    )
    t.strictSame(new Set(answers.map(({ status }) => status)), new Set([401, 503]))
    t.ok(shed.length > 0)
    for (const { retryAfter, body } of shed)
      t.match({ retryAfter, body }, { retryAfter: '2', body: { status: 503, cause: 'overloaded' } })

    const first = shed[0]
    const again = new Program(`203.0.113.${((first?.n ?? 0) % 6) + 1}`)
    const statuses: number[] = []
    for (let n = 0; n < limits.accountFromAddress.max; n++)
      statuses.push((await again.signIn(first?.guessed ?? '', 'a wrong guess')).status)
    t.strictSame(new Set(statuses), new Set([401]), 'shed requests use up no guess')
  }
)

t.test('S6: nothing is computed for clients that went away', async (t) => {
  const { email } = await signUp(url)
  const leaving = new AbortController()
  const gone = Array.from({ length: 20 }, () =>
    new Program('203.0.113.20')
      .signIn(newEmail(), 'a wrong guess', { signal: leaving.signal })
      .catch(() => null)
  )
  await new Program('203.0.113.21').signIn(newEmail(), 'a wrong guess')
  leaving.abort()
  await Promise.all(gone)
  const honest = new Program('203.0.113.20')
  // The server notices it a little later.
  await until('their places to be free', async () => (await honest.signIn(email)).status === 200)
  t.strictSame(
    running.log.filter((line) => line.includes('"level":50') && line.includes('overloaded')),
    [],
    'the log has no error'
  )
})

t.test('S6: a password that cannot be checked changes nothing, and ends no session', async (t) => {
  const ada = await signUp(url)
  const browser = new Browser(url)
  for (const [name, value] of ada.browser.cookies) browser.cookies.set(name, value)
  const answers = await Promise.all(
    Array.from({ length: 60 }, () =>
      ada.browser.post('/api/auth/sign-in/email', { email: newEmail(), password })
    )
  )
  t.strictSame(
    answers.flatMap((answer) => answer.headers.getSetCookie()),
    [],
    'no cookie is set or removed'
  )
  t.equal((await browser.get('/session')).status, 200)
})

t.test(
  'S12: sign-ups for an address from many networks do not touch the sign-in of its owner',
  async (t) => {
    const { email } = await signUp(url)
    const probe = (n: number) =>
      new Program(`198.51.${n % 10}.1`).post('sign-up/email', { name: 'Eve', email, password })
    await spend(limits.probe, accountKey(email), limits.probe.max - 2)
    t.strictSame([(await probe(0)).status, (await probe(1)).status], [422, 422])
    t.equal((await probe(0)).status, 429, 'the budget of probes is used up')
    t.equal(
      (await new Program('198.51.0.1').signIn(email)).status,
      200,
      'a sign-in from the address of a prober succeeds'
    )
    t.equal(
      (
        await new Program('198.51.100.1').post('sign-up/email', {
          name: 'Ada',
          email: newEmail(),
          password
        })
      ).status,
      200
    )
  }
)

/**
 * Counters of this process, on a clock that the test moves. They return 0, or the seconds to wait.
 */
function newBudgets() {
  let now = 0
  const budgets = new Budgets(new LocalBudgetStore(() => now))
  const take = async (limit: Limit) => {
    const headers: Record<string, unknown> = {}
    const reply = {
      headers: (more: object) => Object.assign(headers, more)
    } as unknown as FastifyReply
    try {
      return { taking: await budgets.take(reply, limit, 'somebody'), waitSeconds: 0 }
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      return { taking: null, waitSeconds: Number(headers['retry-after']) }
    }
  }
  return {
    budgets,
    take,
    wait: (ms: number) => {
      now += ms
    }
  }
}

t.test('S12: a spent budget of an account delays, and does not lock out', async (t) => {
  const { budgets, take, wait } = newBudgets()
  const { account } = limits
  for (let n = 0; n < account.max; n++) t.equal((await take(account)).waitSeconds, 0)
  t.equal((await take(account)).waitSeconds, 15)
  wait(10_000)
  t.equal(
    (await take(account)).waitSeconds,
    5,
    'a request that comes too early does not prolong the wait'
  )
  wait(5_000)
  const { taking } = await take(account)
  t.ok(taking?.late)
  t.equal((await take(account)).waitSeconds, 15, 'one attempt is allowed at a time')
  if (taking) await budgets.giveBack(taking)
  t.equal(
    (await take(account)).waitSeconds,
    15,
    'a right password does not shorten the wait of others'
  )

  let guesses = account.max + 1
  for (let second = 16; second < 3_600; second++) {
    wait(1_000)
    for (let n = 0; n < 5; n++) if ((await take(account)).waitSeconds === 0) guesses++
  }
  t.ok(guesses <= 340, `${guesses} guesses in an hour`)
  wait(1_000)
  t.equal((await take(account)).waitSeconds, 0, 'a new window begins')
})

t.test(
  'S12: a flood of made-up accounts does not make a process forget what was guessed, nor keep it longer',
  async (t) => {
    let now = 0
    const store = new LocalBudgetStore(() => now)
    const WINDOW = 3_600_000
    for (let n = 0; n < 100; n++) await store.take('a victim', WINDOW)
    for (let n = 0; n < 50_000; n++) await store.take(`made up ${n}`, WINDOW)
    t.equal((await store.take('a victim', WINDOW)).current, 101)
    for (let n = 0; n < 1_000; n++)
      if ((await store.take(`somebody else ${n}`, WINDOW)).current !== 1)
        t.fail('other users must have their whole budget')
    now = WINDOW
    for (let n = 0; n < 1_000; n++) await store.take(`made up later ${n}`, WINDOW)
    t.equal((await store.take('a victim', WINDOW)).current, 1)
    t.equal((await store.take('made up 0', WINDOW)).current, 1)
  }
)

const spendAddress = (email: string, address: string) =>
  spend(limits.accountFromAddress, `${accountKey(email)}:${address}`)

t.test(
  'S12: the owner with the right password gets in on a new device after a flood',
  async (t) => {
    const { email } = await signUp(url)
    await spend(limits.account, accountKey(email))
    const owner = new Program('198.19.0.1')
    const delayed = await owner.signIn(email)
    t.equal(delayed.status, 429)
    const seconds = Number(delayed.headers.get('retry-after'))
    t.ok(seconds >= 1 && seconds <= 15, `${seconds} s`)
    // As if they had passed.
    await running.app.budgets?.giveBack({
      limit: limits.account,
      of: accountKey(email),
      late: true
    })
    await running.app.budgets?.giveBack({
      limit: limits.account,
      of: accountKey(email),
      late: true
    })
    t.equal((await owner.signIn(email)).status, 200)
  }
)

/** Signs in as an app does, with its device token if it has one. */
async function signInApp(email: string, address: string, deviceToken?: string, secret = password) {
  const response = await new Program(address).signIn(email, secret, {
    headers: {
      'token-transport': 'body',
      ...(deviceToken === undefined ? {} : { 'device-token': deviceToken })
    }
  })
  const body = (await response.json()) as {
    device_token?: string
    tokens?: { access_token: string }
  }
  return {
    status: response.status,
    deviceToken: body.device_token ?? '',
    accessToken: body.tokens?.access_token ?? '',
    cookies: response.headers.getSetCookie()
  }
}

t.test('S12: an app without cookies is known by its device token', async (t) => {
  const { email } = await signUp(url)
  const first = await signInApp(email, '192.0.2.1')
  t.match(first, { status: 200, deviceToken: /^d1\./, cookies: [] })
  await spendAddress(email, '192.0.2.1')
  t.equal((await signInApp(email, '192.0.2.1')).status, 429, 'a stranger must wait')
  const again = await signInApp(email, '192.0.2.1', first.deviceToken)
  t.equal(again.status, 200, 'the app does not have to wait')
  t.equal(
    again.deviceToken.split('.')[1],
    first.deviceToken.split('.')[1],
    'the token still names the same device'
  )
  t.equal((await signInApp((await signUp(url)).email, '192.0.2.9', first.deviceToken)).status, 200)
  t.equal(
    (
      await signInApp(
        email,
        '192.0.2.1',
        first.deviceToken.replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A'))
      )
    ).status,
    429,
    'an invented device token is worth nothing'
  )
  t.equal((await signInApp(email, '192.0.2.1', 'no token')).status, 429)
})

t.test(
  'S12: a program that reads its session token from a header reads its device token there',
  async (t) => {
    const { email } = await signUp(url)
    const response = await new Program('192.0.2.20').signIn(email)
    t.ok(response.headers.get('set-auth-token'))
    const deviceToken = response.headers.get('set-device-token') ?? ''
    await spendAddress(email, '192.0.2.20')
    t.equal(
      (
        await new Program('192.0.2.20').signIn(email, password, {
          headers: { 'device-token': deviceToken }
        })
      ).status,
      200
    )
  }
)

t.test(
  'S24: a new password ends what devices have proven, and the one that set it is known',
  async (t) => {
    const ada = await signUp(url)
    const [phone, laptop] = [
      await signInApp(ada.email, '192.0.2.30'),
      await signInApp(ada.email, '192.0.2.31')
    ]
    const newPassword = 'a different horse, a stronger battery'
    const changed = await fetch(`${url}/api/auth/change-password`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${phone.accessToken}` },
      body: JSON.stringify({ currentPassword: password, newPassword })
    })
    const { device_token: renewed = '' } = (await changed.json()) as { device_token?: string }
    t.equal(changed.status, 200)
    await spendAddress(ada.email, '192.0.2.32')
    const from = async (deviceToken: string) =>
      (await signInApp(ada.email, '192.0.2.32', deviceToken, newPassword)).status
    t.equal(await from(laptop.deviceToken), 429)
    t.equal(await from(phone.deviceToken), 429)
    t.equal(await from(renewed), 200)
  }
)

t.test(
  'S24: an attacker with many proofs of an account can still make only few guesses',
  async (t) => {
    const { email } = await signUp(url)
    const { holdfast } = running.app
    const { id, credentialEpoch } = await holdfast.prisma.user.findUniqueOrThrow({
      where: { email }
    })
    const guess = async () =>
      (
        await signInApp(
          email,
          '192.0.2.40',
          holdfast.devices.remember(undefined, { userId: id, credentialEpoch }),
          'a wrong guess'
        )
      ).status
    await spend(limits.accountFromDevices, accountKey(email), limits.accountFromDevices.max - 2)
    t.strictSame(
      [await guess(), await guess(), await guess(), await guess()],
      [401, 401, 429, 429],
      'devices share the budget of their account'
    )
    t.equal((await signInApp(email, '192.0.2.41')).status, 200, 'a stranger has another budget')
  }
)

const verifyPassword = ({ browser }: Person, secret: string) =>
  browser.post('/api/auth/verify-password', { password: secret })

t.test('S13: wrong passwords are counted by user, in all sessions together', async (t) => {
  const ada = await signUp(url)
  const sessions = [
    ada,
    await signIn(url, ada.email),
    await signIn(url, ada.email),
    await signIn(url, ada.email)
  ]
  const statuses: number[] = []
  for (const session of sessions)
    for (let n = 0; n < limits.passwordBySession.max; n++)
      statuses.push((await verifyPassword(session, 'wrong')).status)
  t.equal(statuses.filter((status) => status === 400).length, limits.passwordByUser.max)
  t.strictSame(new Set(statuses.slice(limits.passwordByUser.max)), new Set([429]))
  const last = sessions[3] ?? ada
  for (const [path, body] of [
    ['change-password', { currentPassword: 'wrong', newPassword: password }],
    ['delete-user', { password: 'wrong' }],
    ['two-factor/enable', { password: 'wrong' }]
  ] as const) {
    t.equal((await last.browser.post(`/api/auth/${path}`, body)).status, 429, path)
  }
  t.equal(
    (await verifyPassword(await signUp(url), password)).status,
    200,
    'another user has their own budget'
  )
})

t.test(
  'S13: right passwords spend nothing, and wrong codes in a session are counted as wrong passwords are',
  async (t) => {
    const ada = await signUp(url)
    for (let n = 0; n < limits.passwordBySession.max + 1; n++)
      t.equal((await verifyPassword(ada, password)).status, 200)
    await proveAddress(ada)
    await ada.browser.post('/api/auth/two-factor/enable', { password })
    for (let n = 0; n < limits.passwordBySession.max; n++)
      t.equal(
        (await ada.browser.post('/api/auth/two-factor/verify-totp', { code: '00000x' })).status,
        401
      )
    t.equal(
      (await ada.browser.post('/api/auth/two-factor/verify-totp', { code: '00000x' })).status,
      429
    )
  }
)
