import t from 'tap'
import { build, signUp } from '../support/server.js'

const person = { name: 'Ada', password: 'correct horse battery staple' }

/** The session cookie of a sign-up at a server with this public address, attribute by attribute. */
async function cookieAt(
  t: Parameters<typeof build>[0],
  settings: { baseUrl: string; cookieDomain?: string }
): Promise<string[]> {
  const { url } = await build(t, settings)
  const answer = await fetch(`${url}/api/auth/sign-up/email`, {
    method: 'POST',
    body: JSON.stringify({ ...person, email: 'ada@example.com' }),
    headers: { 'content-type': 'application/json' }
  })
  t.equal(answer.status, 200)
  const cookie = answer.headers.getSetCookie().find((line) => line.includes('session_token=')) ?? ''
  return cookie
    .split('; ')
    .map((part) => part.replace(/(session_token)=.*/, '$1'))
    .toSorted()
}

t.test('on https the session cookie is bound to the host', async (t) => {
  t.strictSame(await cookieAt(t, { baseUrl: 'https://auth.example.com' }), [
    'HttpOnly',
    'Max-Age=7776000',
    'Path=/',
    'SameSite=Lax',
    'Secure',
    '__Host-holdfast.session_token'
  ])
})

t.test('with COOKIE_DOMAIN it is shared with that domain', async (t) => {
  t.strictSame(
    await cookieAt(t, { baseUrl: 'https://auth.example.com', cookieDomain: 'example.com' }),
    [
      'Domain=example.com',
      'HttpOnly',
      'Max-Age=7776000',
      'Path=/',
      'SameSite=Lax',
      'Secure',
      '__Secure-holdfast.session_token'
    ]
  )
})

t.test('on plain http it has neither', async (t) => {
  t.strictSame(await cookieAt(t, { baseUrl: 'http://localhost:3000' }), [
    'HttpOnly',
    'Max-Age=7776000',
    'Path=/',
    'SameSite=Lax',
    'holdfast.session_token'
  ])
})

t.test('a quoted cookie is the same cookie on both planes', async (t) => {
  const { url } = await build(t)
  const ada = await signUp(url)
  const cookie = [...ada.browser.cookies].map(([name, value]) => `${name}="${value}"`).join('; ')
  t.equal((await fetch(`${url}/session`, { headers: { cookie } })).status, 200)
  t.match(await (await fetch(`${url}/api/auth/get-session`, { headers: { cookie } })).json(), {
    user: { id: ada.id }
  })
})
