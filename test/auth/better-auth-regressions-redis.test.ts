import t from 'tap'
import {
  build,
  password,
  sessionState,
  signIn,
  signUp,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { counting } from '../support/count.js'
import { until } from '../support/poll.js'
import { startRedis, type PrivateRedis } from '../support/redis.js'
import type { Test } from 'tap'

// What better-auth does wrong with its sessions in Redis, row by row. Rows F, H, I and J are in
// stock-failures.test.ts, with Redis as well.
const skip = storage === 'embedded' ? 'the embedded store has no shared cache' : false

async function buildWithRedis(
  t: Test
): Promise<{ running: Running; redis: PrivateRedis; ada: Person }> {
  const redis = await startRedis()
  if (!redis) throw new Error('redis-server is not on the PATH')
  t.teardown(() => redis.stop())
  const running = await build(t, { redisUrl: redis.url, rateLimit: true })
  const ada = await signUp(running.url)
  await isCached(ada)
  return { running, redis, ada }
}

const isCached = (person: Person) =>
  until(
    'the session to be cached',
    async () => (await counting(() => sessionState(person.browser))).queries === 0
  )

t.test(
  'A: without Redis sessions are read, listed, changed, begun and ended all the same',
  { skip },
  async (t) => {
    const { running, redis, ada } = await buildWithRedis(t)
    const phone = await signIn(running.url, ada.email)
    await redis.stop()
    t.match(
      await (await ada.browser.get('/api/auth/get-session')).json(),
      { user: { id: ada.id } },
      'A1'
    )
    t.equal(
      ((await (await ada.browser.get('/api/auth/list-sessions')).json()) as unknown[]).length,
      2,
      'A2'
    )
    const tablet = await signIn(running.url, ada.email)
    t.equal(
      await sessionState(tablet.browser),
      'valid',
      'A4 and A5: the rate limit refuses nothing'
    )
    const out = await phone.browser.post('/api/auth/sign-out')
    t.equal(out.status, 200, 'A3')
    t.match(
      out.headers.get('session-revocation'),
      /^pending; effective-by=/,
      'the answer says that the revocation is pending'
    )
    t.equal(
      (
        await ada.browser.post('/api/auth/change-password', {
          currentPassword: password,
          newPassword: `${password}!`
        })
      ).status,
      200,
      'A2'
    )

    await redis.start()
    await until(
      'the outbox to be empty',
      async () =>
        (await running.app.holdfast.prisma.outbox.count({ where: { doneAt: null } })) === 0
    )
    t.equal(await sessionState(ada.browser), 'valid')
    const late = await running.app.holdfast.prisma.session.findMany({
      where: { id: { in: [phone.sessionId, tablet.sessionId] }, revokedAt: null }
    })
    t.strictSame(late, [], 'sessions that ended during the outage stay ended')
  }
)

t.test('B: a flush signs no user out, and the cache is filled again', { skip }, async (t) => {
  const { redis, ada } = await buildWithRedis(t)
  await redis.flush()
  t.equal(await sessionState(ada.browser), 'valid')
  t.match(await (await ada.browser.get('/api/auth/get-session')).json(), { user: { id: ada.id } })
  await isCached(ada)
})

t.test(
  'C: what was revoked while Redis did not answer is not valid when it does',
  { skip },
  async (t) => {
    const { running, redis, ada } = await buildWithRedis(t)
    const phone = await signIn(running.url, ada.email)
    await isCached(phone)
    await redis.stop()
    t.equal((await ada.browser.post('/api/auth/revoke-sessions')).status, 200)
    await redis.start()
    for (const { bearer } of [ada, phone]) {
      t.equal(
        (await fetch(`${running.url}/session`, { headers: { authorization: `Bearer ${bearer}` } }))
          .status,
        401
      )
    }
  }
)

t.test(
  'D: neither a read nor a change of the user brings back what a racing sign-out ended',
  { skip },
  async (t) => {
    const { running, ada } = await buildWithRedis(t)
    for (let round = 0; round < 8; round++) {
      const phone = await signIn(running.url, ada.email)
      await isCached(phone)
      const authorization = `Bearer ${phone.bearer}`
      const ask = () => fetch(`${running.url}/session`, { headers: { authorization } })
      const racing = Promise.all([
        ask(),
        ada.browser.post('/api/auth/update-user', { name: `Ada ${round}` }),
        ask(),
        ask()
      ])
      const out = await fetch(`${running.url}/api/auth/sign-out`, {
        method: 'POST',
        headers: { authorization }
      })
      t.equal(out.status, 200)
      t.equal((await ask()).status, 401, 'the session has ended after the answer')
      await racing
      t.equal((await ask()).status, 401, 'the session is still ended after the race')
    }
  }
)

t.test(
  'E: of sessions that begin at once none is missing from the list, and none survives',
  { skip },
  async (t) => {
    const { running, ada } = await buildWithRedis(t)
    const others = await Promise.all(
      Array.from({ length: 6 }, () => signIn(running.url, ada.email))
    )
    t.equal(
      ((await (await ada.browser.get('/sessions')).json()) as { sessions: unknown[] }).sessions
        .length,
      7
    )
    t.equal((await ada.browser.post('/api/auth/revoke-other-sessions')).status, 200)
    for (const other of others) t.equal(await sessionState(other.browser), '401 session_revoked')
    t.equal(await sessionState(ada.browser), 'valid')
  }
)

t.test('G: a revoked session writes nothing', { skip }, async (t) => {
  const { running, ada } = await buildWithRedis(t)
  const phone = await signIn(running.url, ada.email)
  await isCached(phone)
  t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
  t.equal((await phone.browser.post('/api/auth/update-user', { name: 'Mallory' })).status, 401)
  t.match(await (await ada.browser.get('/session')).json(), { user: { name: 'Ada Lovelace' } })
})
