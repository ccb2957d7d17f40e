import { createHmac } from 'node:crypto'
import t from 'tap'
import { authSecret, Browser, build, password, sessionState, signIn, signUp, type Person } from './helper.js'
import { findSessionToken, toWireForm, verifySignedToken } from '../src/session/session-token.js'

const secret = 'a-secret-of-the-gateway-in-this-test'
const running = await build(t, { gatewayClients: [`edge:${secret}`] })
const { url, app } = running
const COOKIE = app.holdfast.auth.cookieName

/** A session whose signature has every character that base64url does without. */
async function somebody(): Promise<Person & { forms: Record<string, string> }> {
  for (;;) {
    const person = await signUp(url)
    const old = app.holdfast.auth.toBetterAuth(person.bearer) ?? ''
    if (!/\+/.test(old) || !/\//.test(old)) continue
    return { ...person, forms: {
      'as it travels': person.bearer, 'base64, as before': old, 'percent-encoded, as before': encodeURIComponent(old),
      'with blanks, as a form decoder reads it': old.replaceAll('+', ' '), 'without padding': old.replace(/=$/, '')
    } }
  }
}

const ada = await somebody()
const basic = { authorization: `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}` }
const form = { 'content-type': 'application/x-www-form-urlencoded' }

t.test('P3: a session token leaves in characters that every form and address passes unchanged', async (t) => {
  const browser = new Browser(url)
  const response = await browser.post('/api/auth/sign-in/email', { email: ada.email, password })
  const bearer = response.headers.get('set-auth-token') ?? ''
  t.match(bearer, /^hst1_[A-Za-z0-9_-]{72}\.[A-Za-z0-9_-]{43}$/)
  t.equal(browser.cookies.get(COOKIE), bearer, 'the same in the cookie')
  t.equal(new URLSearchParams(`token=${bearer}`).get('token'), bearer)
  t.equal(encodeURIComponent(bearer), bearer)
})

t.test('P3: every form is good wherever a token is read', async (t) => {
  for (const [name, token] of Object.entries(ada.forms)) {
    const bearer = { authorization: `Bearer ${token}` }
    for (const path of ['/session', '/verify', '/verify', '/api/auth/get-session']) {
      const answer = await fetch(url + path, { headers: bearer })
      t.equal(answer.status, 200, `${name}: bearer ${path}`)
      if (path.endsWith('get-session')) t.match(await answer.json(), { session: { id: ada.sessionId } }, name)
    }
    const cookie = { cookie: `a=b; ${COOKIE}=${token}` }
    for (const path of ['/session', '/verify', '/api/auth/get-session']) {
      const answer = await fetch(url + path, { headers: cookie })
      t.equal(answer.status, 200, `${name}: cookie ${path}`)
      if (path.endsWith('get-session')) t.match(await answer.json(), { session: { id: ada.sessionId } }, name)
    }
    // As README's command sends it, where + is a blank; properly encoded; and twice, so that both ways of answering are seen.
    for (const body of [`token=${token}`, `token=${token}`, new URLSearchParams({ token }).toString()]) {
      t.match(await (await fetch(`${url}/oauth2/introspect`, { method: 'POST', headers: { ...basic, ...form }, body })).json(), { active: true, sid: ada.sessionId }, `${name}: introspect ${body.slice(90)}`)
    }
    const checked = await fetch(`${url}/sessions/check`, { method: 'POST', headers: { ...basic, 'content-type': 'application/json' }, body: JSON.stringify({ tokens: [token] }) })
    t.match(await checked.json(), { results: [{ active: true, sid: ada.sessionId }] }, `${name}: batch`)
  }
})

t.test('P3: what one form proves, no other text does', async (t) => {
  const { bearer } = ada
  const last = bearer.at(-1) === 'A' ? 'E' : 'A'
  for (const wrong of [bearer.slice(0, -1) + last, bearer.slice(0, -1), `${bearer}A`, `${bearer}==`, `${bearer}.`, bearer.replace('.', '..'), bearer.toUpperCase()]) {
    t.equal((await fetch(`${url}/session`, { headers: { authorization: `Bearer ${wrong}` } })).status, 401, wrong.slice(70))
  }
  const [token = ''] = bearer.split('.')
  t.equal(verifySignedToken(toWireForm(`${token}.${createHmac('sha256', authSecret).update(token).digest('base64')}`), ['another secret']), null)
})

t.test('P3: a revocation that was answered 200 has ended the session that was meant', async (t) => {
  const mangle: Record<string, (person: Person & { forms: Record<string, string> }) => string> = {
    'with blanks': ({ forms }) => `token=${forms['base64, as before'] ?? ''}`,
    encoded: ({ forms }) => new URLSearchParams({ token: forms['percent-encoded, as before'] ?? '' }).toString(),
    'encoded twice': ({ forms }) => new URLSearchParams({ token: encodeURIComponent(forms['percent-encoded, as before'] ?? '') }).toString(),
    'with the end of a line': ({ bearer }) => new URLSearchParams({ token: `${bearer}\n` }).toString(),
    'without its signature': ({ bearer }) => `token=${bearer.split('.')[0] ?? ''}`,
    'with half a signature': ({ bearer }) => `token=${bearer.slice(0, -20)}`
  }
  for (const [name, bodyOf] of Object.entries(mangle)) {
    const phone = await signIn(url, ada.email)
    const old = app.holdfast.auth.toBetterAuth(phone.bearer) ?? ''
    const body = bodyOf({ ...phone, forms: { 'base64, as before': old, 'percent-encoded, as before': encodeURIComponent(old) } })
    t.equal((await fetch(`${url}/oauth2/revoke`, { method: 'POST', headers: form, body })).status, 200, name)
    t.equal(await sessionState(phone.browser), '401 session_revoked', name)
  }
  const phone = await signIn(url, ada.email)
  t.equal((await ada.browser.post('/api/auth/revoke-session', { token: phone.bearer })).status, 200)
  t.equal(await sessionState(phone.browser), '401 session_revoked', 'signed, at better-auth as well')
  t.equal(findSessionToken(`hst1_${'A'.repeat(72)}`), null, 'what was never a token names no session')
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test("the body's `token` authenticates nobody", async (t) => {
  const response = await new Browser(url).post('/api/auth/sign-in/email', { email: ada.email, password })
  const { token } = await response.json() as { token: string }
  t.match(token, /^hst1_[A-Za-z0-9_-]{72}$/)
  t.equal((await fetch(`${url}/session`, { headers: { authorization: `Bearer ${token}` } })).status, 401)
})
