import t from 'tap'
import { enrol, newPerson, nextStep, totp } from '../support/device.js'
import { Browser, build, password, sessionState, signUp } from '../support/server.js'

const running = await build(t, {
  appName: 'Field Notes',
  trustedOrigins: ['https://app.example.com']
})
const { url } = running

interface Listed {
  id: string
  name: string | null
}

const listOf = async (browser: Browser) =>
  ((await (await browser.get('/sessions')).json()) as { sessions: Listed[] }).sessions
const nameIn = async (browser: Browser) =>
  ((await (await browser.get('/session')).json()) as { session: Listed }).session.name
const rename = (browser: Browser, id: string, body: unknown) =>
  browser.fetch(`/sessions/${id}`, {
    method: 'PATCH',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' }
  })

async function signUpAs(
  header: string
): Promise<{ browser: Browser; email: string; status: number }> {
  const browser = new Browser(url)
  const email = `${crypto.randomUUID()}@example.com`
  const { status } = await browser.post(
    '/api/auth/sign-up/email',
    { name: 'Ada', email, password },
    { 'device-name': header }
  )
  return { browser, email, status }
}

t.test('O16: a session has the name that the client gives to its device', async (t) => {
  const { browser, email } = await signUpAs('Ada%E2%80%99s%20laptop')
  t.equal(await nameIn(browser), 'Ada’s laptop')
  const phone = new Browser(url)
  await phone.post('/api/auth/sign-in/email', { email, password }, { 'device-name': 'Pixel 8' })
  t.strictSame(
    (await listOf(browser)).map(({ name }) => name),
    ['Pixel 8', 'Ada’s laptop']
  )
  t.strictSame(
    (await listOf(phone)).map(({ name }) => name),
    ['Pixel 8', 'Ada’s laptop']
  )

  const app = await fetch(`${url}/api/auth/sign-in/email`, {
    method: 'POST',
    body: JSON.stringify({ email, password }),
    headers: {
      'content-type': 'application/json',
      'token-transport': 'body',
      'device-name': '%E6%89%8B%E6%9C%BA'
    }
  })
  const { tokens } = (await app.json()) as { tokens: { access_token: string } }
  const checked = await fetch(`${url}/session`, {
    headers: { authorization: `Bearer ${tokens.access_token}` }
  })
  t.match(await checked.json(), { session: { name: '手机' } })
  t.notMatch(
    Buffer.from(tokens.access_token.split('.')[1] ?? '', 'base64url').toString(),
    /name/,
    'the access token does not contain the name'
  )
})

t.test(
  'O16: a name is kept in one line of 64 characters, without what moves a cursor',
  async (t) => {
    const kept: [sent: string, name: string | null][] = [
      ['  Ada%0D%0A%1B[2Js%09phone%E2%80%AE ', 'Ada [2Js phone'],
      [encodeURIComponent('📱'.repeat(100)), '📱'.repeat(64)],
      ['%20%0A', null],
      ['100%25 mine', '100% mine'],
      [Buffer.from('Zoës Gerät').toString('latin1'), 'Zoës Gerät']
    ]
    for (const [sent, name] of kept) {
      const { browser, status } = await signUpAs(sent)
      t.equal(status, 200)
      t.equal(await nameIn(browser), name)
    }
  }
)

t.test(
  'O16: a name that is not UTF-8, percent-encoded, is refused and begins nothing',
  async (t) => {
    for (const sent of ['100% mine', '%E2%80', '%C3%28', 'Zo\u00ebs phone', '%']) {
      const browser = new Browser(url)
      const email = `${crypto.randomUUID()}@example.com`
      const response = await browser.post(
        '/api/auth/sign-up/email',
        { name: 'Ada', email, password },
        { 'device-name': sent }
      )
      t.equal(response.status, 400, sent)
      t.match(await response.json(), { cause: 'invalid_input', detail: /percent-encoded/ })
      t.equal(await running.app.holdfast.prisma.user.count({ where: { email } }), 0)
    }
  }
)

t.test(
  'O16: where a second factor follows, the name counts that comes with the code',
  async (t) => {
    const ada = await newPerson(url)
    const { totpURI } = await enrol(ada)
    await nextStep(running, ada.id)
    const browser = new Browser(url)
    const pending = await browser.post(
      '/api/auth/sign-in/email',
      { email: ada.email, password },
      { 'device-name': 'first' }
    )
    t.match(await pending.json(), { twoFactorRedirect: true })
    t.equal(
      (
        await browser.post(
          '/api/auth/two-factor/verify-totp',
          { code: totp(totpURI) },
          { 'device-name': 'Tablet' }
        )
      ).status,
      200
    )
    t.equal(await nameIn(browser), 'Tablet')

    await nextStep(running, ada.id)
    const headers = { 'content-type': 'application/json', 'token-transport': 'body' }
    const asked = await fetch(`${url}/api/auth/sign-in/email`, {
      method: 'POST',
      body: JSON.stringify({ email: ada.email, password }),
      headers
    })
    const { challenge } = (await asked.json()) as { challenge: string }
    const answered = await fetch(`${url}/api/auth/two-factor/verify-totp`, {
      method: 'POST',
      body: JSON.stringify({ code: totp(totpURI) }),
      headers: { ...headers, 'two-factor-challenge': challenge, 'device-name': 'Phone' }
    })
    t.equal(answered.status, 200)
    t.equal((await listOf(browser))[0]?.name, 'Phone')
  }
)

t.test(
  'O16: a session that takes the place of another of the same user goes by its name',
  async (t) => {
    const { browser, email } = await signUpAs('Laptop')
    await browser.post('/api/auth/sign-in/email', { email, password })
    t.equal(await nameIn(browser), 'Laptop')
    await browser.post('/api/auth/change-password', {
      currentPassword: password,
      newPassword: 'wrong zebra capacitor clip',
      revokeOtherSessions: true
    })
    t.equal(await nameIn(browser), 'Laptop')
    await browser.post(
      '/api/auth/sign-in/email',
      { email, password: 'wrong zebra capacitor clip' },
      { 'device-name': 'Old laptop' }
    )
    t.equal(await nameIn(browser), 'Old laptop')

    const other = await signUp(url)
    await browser.post('/api/auth/sign-in/email', { email: other.email, password })
    t.equal(
      await nameIn(browser),
      null,
      "a sign-in never takes the name from another user's cookie"
    )
  }
)

t.test(
  'O16: the owner of a session changes its name, and every answer shows the new one',
  async (t) => {
    const { browser, email } = await signUpAs('Laptop')
    const phone = new Browser(url)
    await phone.post('/api/auth/sign-in/email', { email, password })
    const [phoneSession] = await listOf(phone)
    t.equal(await nameIn(phone), null)

    const renamed = await rename(browser, phoneSession?.id ?? '', { name: ' Ada’s\tphone ' })
    t.equal(renamed.status, 200)
    t.match(await renamed.json(), {
      session: { id: phoneSession?.id, name: 'Ada’s phone', current: false }
    })
    t.equal(await nameIn(phone), 'Ada’s phone', 'no cache still has a copy with the old name')
    t.equal(
      (await rename(browser, phoneSession?.id ?? '', { name: 'Ada’s phone' })).status,
      200,
      'the same name again changes nothing'
    )
    t.equal((await rename(phone, phoneSession?.id ?? '', { name: null })).status, 200)
    t.equal(await nameIn(phone), null)
  }
)

t.test(
  "O16: an invalid name is refused, and so is a name for another user's session",
  async (t) => {
    const ada = await signUp(url)
    for (const body of [
      {},
      { name: '' },
      { name: ' \n' },
      { name: 7 },
      { name: 'x'.repeat(65) },
      { name: 'x', version: 3 },
      null,
      'x'
    ]) {
      const response = await rename(ada.browser, ada.sessionId, body)
      t.equal(response.status, 400, JSON.stringify(body))
    }
    t.equal(
      (await rename(ada.browser, ada.sessionId, { name: '📱'.repeat(64) })).status,
      200,
      'the limit is 64 characters, whatever their length in bytes'
    )
    const stranger = await signUp(url)
    const refused = await rename(stranger.browser, ada.sessionId, { name: 'mine' })
    t.equal(refused.status, 404)
    t.equal((await rename(stranger.browser, crypto.randomUUID(), { name: 'mine' })).status, 404)
    t.equal(await nameIn(ada.browser), '📱'.repeat(64))

    const form = await ada.browser.fetch(`/sessions/${ada.sessionId}`, {
      method: 'PATCH',
      body: 'name=x',
      headers: { 'content-type': 'application/x-www-form-urlencoded' }
    })
    t.equal(form.status, 415)
    const forged = await ada.browser.fetch(`/sessions/${ada.sessionId}`, {
      method: 'PATCH',
      body: '{"name":"x"}',
      headers: { 'content-type': 'application/json', origin: 'https://evil.example' }
    })
    t.equal(forged.status, 403)

    await ada.browser.post('/api/auth/sign-out')
    const gone = new Browser(url)
    t.equal((await rename(gone, ada.sessionId, { name: 'x' })).status, 401)
  }
)

t.test(
  'O16: names of one session that change at once leave one of them, and the session goes on',
  async (t) => {
    const ada = await signUp(url)
    const names = Array.from({ length: 8 }, (_, n) => `name ${n}`)
    const answers = await Promise.all(
      names.map((name) => rename(ada.browser, ada.sessionId, { name }))
    )
    t.strictSame(
      answers.map(({ status }) => status),
      names.map(() => 200)
    )
    t.ok(names.includes((await nameIn(ada.browser)) ?? ''))
    t.equal(await sessionState(ada.browser), 'valid')
  }
)

t.test('O16: a trusted page may send the header and the method', async (t) => {
  const preflight = await fetch(`${url}/sessions/${crypto.randomUUID()}`, {
    method: 'OPTIONS',
    headers: {
      origin: 'https://app.example.com',
      'access-control-request-method': 'PATCH',
      'access-control-request-headers': 'content-type, device-name'
    }
  })
  t.equal(preflight.status, 204)
  t.match(preflight.headers.get('access-control-allow-methods'), /PATCH/)
  t.match(preflight.headers.get('access-control-allow-headers'), /device-name/)
})

t.test(
  'O16: authenticator apps show the account under APP_NAME, which is no password',
  async (t) => {
    const ada = await newPerson(url)
    const { totpURI } = await enrol(ada)
    t.equal(new URL(totpURI).searchParams.get('issuer'), 'Field Notes')
    t.match(totpURI, /^otpauth:\/\/totp\/Field%20Notes:/)
    const refused = await new Browser(url).post('/api/auth/sign-up/email', {
      name: 'Ada',
      email: `${crypto.randomUUID()}@example.com`,
      password: 'field notes'
    })
    t.match(await refused.json(), { code: 'PASSWORD_TOO_COMMON' })
  }
)
