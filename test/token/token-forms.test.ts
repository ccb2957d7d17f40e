import { createHmac } from 'node:crypto'
import t from 'tap'
import {
  authSecret,
  Browser,
  build,
  makeAdmin,
  password,
  sessionState,
  signIn,
  signUp,
  type Person
} from '../support/server.js'
import { findSessionToken, toWireForm, verifySignedToken } from '../../src/session/session-token.js'

const secret = 'a-secret-of-the-gateway-in-this-test'
const running = await build(t, { gatewayClients: [`edge:${secret}`] })
const { url, app } = running
const COOKIE = app.holdfast.auth.cookieName

/** A session whose signature has every character that base64url replaces. */
async function somebody(): Promise<Person & { forms: Record<string, string> }> {
  for (;;) {
    const person = await signUp(url)
    const old = app.holdfast.auth.toBetterAuth(person.bearer) ?? ''
    if (!/\+/.test(old) || !/\//.test(old)) continue
    return {
      ...person,
      forms: {
        'as it travels': person.bearer,
        'base64, as before': old,
        'percent-encoded, as before': encodeURIComponent(old),
        'with blanks, as a form decoder reads it': old.replaceAll('+', ' '),
        'without padding': old.replace(/=$/, '')
      }
    }
  }
}

/** The token as better-auth writes it. */
const inBase64 = ({ bearer }: Person) => app.holdfast.auth.toBetterAuth(bearer) ?? ''

const ada = await somebody()
const basic = { authorization: `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}` }
const form = { 'content-type': 'application/x-www-form-urlencoded' }

t.test(
  'P3: a session token leaves in characters that every form and address passes unchanged',
  async (t) => {
    const browser = new Browser(url)
    const response = await browser.post('/api/auth/sign-in/email', { email: ada.email, password })
    const bearer = response.headers.get('set-auth-token') ?? ''
    t.match(bearer, /^hst1_[A-Za-z0-9_-]{72}\.[A-Za-z0-9_-]{43}$/)
    t.equal(browser.cookies.get(COOKIE), bearer, 'the cookie has the same token')
    t.equal(new URLSearchParams(`token=${bearer}`).get('token'), bearer)
    t.equal(encodeURIComponent(bearer), bearer)
  }
)

t.test('P3: every form is good wherever a token is read', async (t) => {
  for (const [name, token] of Object.entries(ada.forms)) {
    const bearer = { authorization: `Bearer ${token}` }
    for (const path of ['/session', '/verify', '/verify', '/api/auth/get-session']) {
      const answer = await fetch(url + path, { headers: bearer })
      t.equal(answer.status, 200, `${name}: bearer ${path}`)
      if (path.endsWith('get-session'))
        t.match(await answer.json(), { session: { id: ada.sessionId } }, name)
    }
    const cookie = { cookie: `a=b; ${COOKIE}=${token}` }
    for (const path of ['/session', '/verify', '/api/auth/get-session']) {
      const answer = await fetch(url + path, { headers: cookie })
      t.equal(answer.status, 200, `${name}: cookie ${path}`)
      if (path.endsWith('get-session'))
        t.match(await answer.json(), { session: { id: ada.sessionId } }, name)
    }
    // As README's command sends it, where + means a space; properly encoded; and twice, so that
    // both ways of answering are tested.
    for (const body of [
      `token=${token}`,
      `token=${token}`,
      new URLSearchParams({ token }).toString()
    ]) {
      t.match(
        await (
          await fetch(`${url}/oauth2/introspect`, {
            method: 'POST',
            headers: { ...basic, ...form },
            body
          })
        ).json(),
        { active: true, sid: ada.sessionId },
        `${name}: introspect ${body.slice(90)}`
      )
    }
    const checked = await fetch(`${url}/sessions/check`, {
      method: 'POST',
      headers: { ...basic, 'content-type': 'application/json' },
      body: JSON.stringify({ tokens: [token] })
    })
    t.match(
      await checked.json(),
      { results: [{ active: true, sid: ada.sessionId }] },
      `${name}: batch`
    )
  }
})

t.test('P3: what one form proves, no other text does', async (t) => {
  const { bearer } = ada
  const last = bearer.at(-1) === 'A' ? 'E' : 'A'
  for (const wrong of [
    bearer.slice(0, -1) + last,
    bearer.slice(0, -1),
    `${bearer}A`,
    `${bearer}==`,
    `${bearer}.`,
    bearer.replace('.', '..'),
    bearer.toUpperCase()
  ]) {
    t.equal(
      (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${wrong}` } })).status,
      401,
      wrong.slice(70)
    )
  }
  const [token = ''] = bearer.split('.')
  t.equal(
    verifySignedToken(
      toWireForm(`${token}.${createHmac('sha256', authSecret).update(token).digest('base64')}`),
      ['another secret']
    ),
    null
  )
})

t.test('P3: a revocation that was answered 200 has ended the session that was meant', async (t) => {
  const mangle: Record<string, (person: Person & { forms: Record<string, string> }) => string> = {
    'with blanks': ({ forms }) => `token=${forms['base64, as before'] ?? ''}`,
    encoded: ({ forms }) =>
      new URLSearchParams({ token: forms['percent-encoded, as before'] ?? '' }).toString(),
    'encoded twice': ({ forms }) =>
      new URLSearchParams({
        token: encodeURIComponent(forms['percent-encoded, as before'] ?? '')
      }).toString(),
    'with the end of a line': ({ bearer }) =>
      new URLSearchParams({ token: `${bearer}\n` }).toString(),
    'without its signature': ({ bearer }) => `token=${bearer.split('.')[0] ?? ''}`,
    'with half a signature': ({ bearer }) => `token=${bearer.slice(0, -20)}`,
    'behind its scheme': ({ bearer }) =>
      new URLSearchParams({ token: `Bearer ${bearer}` }).toString(),
    'behind the name of its cookie': ({ bearer }) =>
      new URLSearchParams({ token: `${COOKIE}=${bearer}; Path=/` }).toString()
  }
  for (const [name, bodyOf] of Object.entries(mangle)) {
    const phone = await signIn(url, ada.email)
    const old = app.holdfast.auth.toBetterAuth(phone.bearer) ?? ''
    const body = bodyOf({
      ...phone,
      forms: { 'base64, as before': old, 'percent-encoded, as before': encodeURIComponent(old) }
    })
    t.equal(
      (await fetch(`${url}/oauth2/revoke`, { method: 'POST', headers: form, body })).status,
      200,
      name
    )
    t.equal(await sessionState(phone.browser), '401 session_revoked', name)
  }
  const phone = await signIn(url, ada.email)
  t.equal((await ada.browser.post('/api/auth/revoke-session', { token: phone.bearer })).status, 200)
  t.equal(
    await sessionState(phone.browser),
    '401 session_revoked',
    'better-auth accepts the signed token as well'
  )
  t.equal(
    findSessionToken(`hst1_${'A'.repeat(72)}`),
    null,
    'a text that is not a token names no session'
  )
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test('P3: a refresh or access token is given back whatever stands around it', async (t) => {
  const revoked = {
    'with the end of a line': (token: string) => `${token}\n`,
    'in quotes': (token: string) => `"${token}"`,
    'behind its scheme': (token: string) => `Bearer ${token}`,
    encoded: (token: string) => encodeURIComponent(`"${token}"`)
  }
  for (const [name, around] of Object.entries(revoked)) {
    for (const kind of ['refresh_token', 'access_token'] as const) {
      const { tokens } = (await (
        await new Browser(url).post(
          '/api/auth/sign-in/email',
          { email: ada.email, password },
          { 'token-transport': 'body' }
        )
      ).json()) as { tokens: Record<typeof kind, string> }
      t.equal(
        (
          await fetch(`${url}/oauth2/revoke`, {
            method: 'POST',
            headers: form,
            body: new URLSearchParams({ token: around(tokens[kind]) })
          })
        ).status,
        200
      )
      t.equal(
        (
          await fetch(`${url}/session`, {
            headers: { authorization: `Bearer ${tokens.access_token}` }
          })
        ).status,
        401,
        `${kind} ${name}`
      )
    }
  }
})

t.test(
  'P3: an administrator ends the session that a token names, in any of its forms',
  async (t) => {
    const admin = await signUp(url)
    await makeAdmin(running, admin)
    const forms: Record<string, (person: Person) => string> = {
      signed: ({ bearer }) => bearer,
      'in base64': inBase64,
      'percent-encoded': (person) => encodeURIComponent(inBase64(person)),
      unsigned: ({ bearer }) => bearer.split('.')[0] ?? '',
      'its handle': ({ sessionId }) => `hsh1_${sessionId}`
    }
    for (const [name, formOf] of Object.entries(forms)) {
      const phone = await signIn(url, ada.email)
      const answer = await admin.browser.post('/api/auth/admin/revoke-user-session', {
        sessionToken: formOf(phone)
      })
      t.match(await answer.json(), { success: true }, name)
      t.equal(await sessionState(phone.browser), '401 session_revoked', name)
    }
    const listed = await ada.browser.post('/api/auth/admin/revoke-user-session', {
      sessionToken: admin.bearer
    })
    t.equal(listed.status, 403, "a user cannot end another user's session")
    t.equal(await sessionState(admin.browser), 'valid')
    t.equal(await sessionState(ada.browser), 'valid')
  }
)

t.test("the body's `token` does not authenticate", async (t) => {
  const response = await new Browser(url).post('/api/auth/sign-in/email', {
    email: ada.email,
    password
  })
  const { token } = (await response.json()) as { token: string }
  t.match(token, /^hst1_[A-Za-z0-9_-]{72}$/)
  t.equal(
    (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${token}` } })).status,
    401
  )
})
