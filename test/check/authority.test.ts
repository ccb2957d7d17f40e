import t from 'tap'
import { withTransaction } from '../../src/database/transaction.js'
import { revokeSessions } from '../../src/session/revocation.js'
import { build, sessionState, signIn, signUp, storage } from '../support/server.js'
import { until } from '../support/poll.js'

const skip =
  storage !== 'postgres' &&
  'the embedded store has one connection: nothing is under way beside anything'

t.test('a session that is being revoked revokes no other', { skip }, async (t) => {
  const { app, url } = await build(t)
  const { prisma, reader } = app.holdfast
  const laptop = await signUp(url)
  const [phone, tablet] = [await signIn(url, laptop.email), await signIn(url, laptop.email)]
  const waiting = () =>
    until('the request to wait for the row', async () => {
      const [row] = await prisma.$queryRaw<
        { waits: boolean }[]
      >`SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted) AS "waits"`
      return row?.waits
    })
  const attempts = {
    'DELETE /sessions/:id': () => phone.browser.delete(`/sessions/${tablet.sessionId}`),
    'revoke-session': () =>
      phone.browser.post('/api/auth/revoke-session', { token: `hsh1_${tablet.sessionId}` }),
    // better-auth turns a refusal in the middle of it into a 500.
    'revoke-sessions': () => phone.browser.post('/api/auth/revoke-sessions')
  }
  t.equal((await reader.check({ kind: 'signed', value: phone.bearer })).active, true)
  const requests = await withTransaction(prisma, async (transaction) => {
    await revokeSessions(
      await transaction.forWrite(),
      [phone.sessionId],
      null,
      'revoked_by_operator'
    )
    const sent = Object.values(attempts).map((attempt) => attempt())
    await waiting()
    return { sent }
  })
  for (const response of await Promise.all(requests.sent)) t.equal(response.status, 401)
  t.equal(await sessionState(tablet.browser), 'valid')
  t.equal((await laptop.browser.delete(`/sessions/${tablet.sessionId}`)).status, 200)
})
