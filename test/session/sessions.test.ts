import t from 'tap'
import { Browser, build, sessionState, signIn, signUp } from '../support/server.js'

const running = await build(t)
const { url } = running

t.test('a person signs up, is known, signs out, and is known no more', async (t) => {
  const ada = await signUp(url)
  const response = await ada.browser.get('/session')
  const body = (await response.json()) as Record<string, Record<string, unknown>>
  t.equal(response.headers.get('cache-control'), 'no-store')
  t.match(body, {
    isValid: true,
    session: { id: ada.sessionId, userId: ada.id, amr: ['pwd'] },
    user: { email: ada.email, roles: ['user'] }
  })
  t.notOk(JSON.stringify(body).includes('hst1_'), 'the answer contains no token')

  t.equal((await ada.browser.post('/api/auth/sign-out')).status, 200)
  t.notOk(ada.browser.cookies.has(running.app.holdfast.auth.cookieName))
  const late = new Browser(url)
  t.equal(await sessionState(late), '401 credential_missing')
  t.equal((await late.get('/session', { authorization: `Bearer ${ada.bearer}` })).status, 401)
})

t.test('one session among several can be ended, and only by its owner', async (t) => {
  const laptop = await signUp(url)
  const phone = await signIn(url, laptop.email)
  const stranger = await signUp(url)

  const { sessions } = (await (await laptop.browser.get('/sessions')).json()) as {
    sessions: { id: string; current: boolean }[]
  }
  t.strictSame(
    sessions.map(({ id, current }) => ({ id, current })),
    [
      { id: phone.sessionId, current: false },
      { id: laptop.sessionId, current: true }
    ]
  )

  const refused = await stranger.browser.delete(`/sessions/${phone.sessionId}`)
  t.equal(refused.status, 404)
  t.match(await refused.json(), { cause: 'not_found' })
  t.equal(await sessionState(phone.browser), 'valid')

  const ended = await laptop.browser.delete(`/sessions/${phone.sessionId}`)
  t.strictSame(await ended.json(), { revoked: 1 })
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(laptop.browser), 'valid')
  t.strictSame(
    await (await laptop.browser.delete(`/sessions/${phone.sessionId}`)).json(),
    { revoked: 0 },
    'a second revocation changes nothing'
  )

  const { events } = (await (
    await laptop.browser.get(`/sessions/${phone.sessionId}/events`)
  ).json()) as { events: { type: string; cause: string }[] }
  t.strictSame(
    events.map(({ type, cause }) => `${type} ${cause}`),
    ['created pwd', 'revoked revoked_by_user']
  )
  t.equal((await stranger.browser.get(`/sessions/${phone.sessionId}/events`)).status, 404)
})

t.test('a content type without a body is no error', async (t) => {
  const ada = await signUp(url)
  const phone = await signIn(url, ada.email)
  const answer = await ada.browser.fetch(`/sessions/${phone.sessionId}`, {
    method: 'DELETE',
    headers: { 'content-type': 'application/json' }
  })
  t.strictSame(await answer.json(), { revoked: 1 })
})
