import t from 'tap'
import { deriveKeys } from '../../src/secrets/keys.js'
import { build, restart } from '../support/server.js'
import { elapse, makeFamily, outcomeOf, refresh } from '../support/refresh-fixtures.js'

/*
 * AUTH_SECRET changes while apps hold refresh tokens of the old secret. Tokens and rows name the
 * secret that made them.
 */
const [before, after] = [
  'the secret of yesterday: 1f0e9d8c7b6a5948',
  'the secret of tomorrow: 0a1b2c3d4e5f6071'
].map((secret) => `${secret} ${crypto.randomUUID()}`) as [string, string]

t.test(
  'refresh tokens outlive a change of the secret, and so does the answer that was lost',
  async (t) => {
    const old = await build(t, { authSecret: before })
    const quiet = await makeFamily(old)
    const unlucky = await makeFamily(old)
    const lost = await refresh(old.url, unlucky.refreshToken, { key: 'an attempt' })
    t.equal(lost.status, 200)

    const { prisma } = (await restart(t, old, { authSecret: after, authSecretPrevious: [before] }))
      .app.holdfast
    const { url } = old
    await elapse(prisma, unlucky.sessionId, 3_600)
    const again = await refresh(url, unlucky.refreshToken, { key: 'an attempt' })
    t.equal(
      again.body.refresh_token,
      lost.body.refresh_token,
      'the successor is the same, made with the secret of that time'
    )
    t.equal(
      (await refresh(url, again.body.refresh_token)).status,
      200,
      'the successor can be exchanged'
    )

    const first = await refresh(url, quiet.refreshToken)
    t.equal(first.status, 200)
    const { rotationPepper } = await prisma.session.findUniqueOrThrow({
      where: { id: quiet.sessionId }
    })
    t.equal(
      rotationPepper,
      deriveKeys(after).peppers.current.id,
      'a new successor is made with the new secret'
    )
    t.equal(
      (await refresh(url, quiet.refreshToken)).body.refresh_token,
      first.body.refresh_token,
      'a replay after the change gets the same successor'
    )
    await elapse(prisma, quiet.sessionId, 60)
    t.equal(
      outcomeOf(await refresh(url, quiet.refreshToken)),
      '400 invalid_grant refresh_reused',
      'a theft is detected after the change'
    )
  }
)

t.test(
  'a token whose secret this node was not given does not count as a guess: 503, and nothing ends',
  async (t) => {
    const running = await build(t, { authSecret: after })
    const family = await makeFamily({
      ...running,
      options: { ...running.options, authSecret: before }
    })
    // Its row was made with the other secret as well; another node knows it.
    t.equal(
      outcomeOf(await refresh(running.url, family.refreshToken)),
      '503 temporarily_unavailable store_unavailable'
    )
    t.equal(
      (
        await fetch(`${running.url}/oauth2/revoke`, {
          method: 'POST',
          body: new URLSearchParams({ token: family.refreshToken })
        })
      ).status,
      503
    )
    t.equal(
      (
        await running.app.holdfast.prisma.session.findUniqueOrThrow({
          where: { id: family.sessionId }
        })
      ).revokedAt,
      null
    )
  }
)
