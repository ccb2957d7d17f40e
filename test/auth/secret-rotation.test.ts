import { randomBytes } from 'node:crypto'
import t from 'tap'
import { deriveKeys } from '../../src/secrets/keys.js'
import { seal, unseal } from '../../src/secrets/seal.js'
import { optionsFromEnvironment, resolveConfig, type HoldfastOptions } from '../../src/config.js'
import { withCookiesOf } from '../support/device.js'
import {
  Browser,
  build,
  restart,
  sessionState,
  signUp,
  start,
  storage,
  type Running
} from '../support/server.js'

const newSecret = () => randomBytes(36).toString('base64url')

const secretOf = ({ options }: Running) => options.authSecret ?? ''
const checkValue = async ({ app }: Running) =>
  (await app.holdfast.prisma.keyCheck.findUniqueOrThrow({ where: { purpose: 'auth_secret' } }))
    .value

t.test(
  'sessions outlive a change of the secret: cookies, bearer tokens and access tokens',
  async (t) => {
    const before = await build(t)
    const ada = await signUp(before.url)
    const phone = await signUp(before.url)
    const session = await before.app.holdfast.prisma.session.findUniqueOrThrow({
      where: { id: ada.sessionId }
    })
    const { token } = await before.app.holdfast.accessTokens.issue({
      session,
      roles: [],
      generation: 0
    })
    const old = secretOf(before)
    const after = await restart(t, before, { authSecret: newSecret(), authSecretPrevious: [old] })

    t.equal(await sessionState(ada.browser), 'valid')
    t.match(
      await (await ada.browser.get('/api/auth/get-session')).json(),
      { user: { id: ada.id } },
      'better-auth gets a cookie that it can verify'
    )
    t.equal((await ada.browser.post('/api/auth/update-user', { name: 'Ada King' })).status, 200)
    t.equal(
      (await fetch(`${after.url}/session`, { headers: { authorization: `Bearer ${token}` } }))
        .status,
      200,
      'the signing keys have not changed'
    )
    const stranger = new Browser(after.url)
    for (const bearer of [phone.bearer, decodeURIComponent(phone.bearer)]) {
      t.equal((await stranger.get('/session', { authorization: `Bearer ${bearer}` })).status, 200)
      t.match(
        await (
          await stranger.get('/api/auth/get-session', { authorization: `Bearer ${bearer}` })
        ).json(),
        { user: { id: phone.id } }
      )
    }
    const copied = withCookiesOf(ada.browser)
    t.equal((await ada.browser.post('/api/auth/sign-out')).status, 200)
    t.equal(
      await sessionState(copied),
      '401 session_revoked',
      'a sign-out also ends sessions from before the change'
    )
    const grace = await signUp(after.url)
    t.equal(
      deriveKeys(secretOf(after)).check,
      await checkValue(after),
      'the store has changed to the new secret'
    )

    const later = await restart(t, after, { authSecret: secretOf(after) })
    t.equal(
      await sessionState(grace.browser),
      'valid',
      'sessions of the new secret need no other secret'
    )
    t.equal(
      await sessionState(phone.browser),
      '401 credential_malformed',
      'sessions of the old secret end with it'
    )
    t.equal((await later.app.holdfast.signingKeys.list()).length, 2)
  }
)

t.test(
  'a secret that was not used for this store is refused, alone or as the previous one',
  async (t) => {
    const before = await build(t)
    await before.app.close()
    const wrong: Pick<HoldfastOptions, 'authSecret' | 'authSecretPrevious'>[] = [
      { authSecret: newSecret() },
      { authSecret: newSecret(), authSecretPrevious: [newSecret()] }
    ]
    for (const secrets of wrong) {
      await t.rejects(start(t, { ...before.options, ...secrets }), {
        name: 'ConfigError',
        message: /^AUTH_SECRET: is not the secret .* the old one belongs into AUTH_SECRET_PREVIOUS$/
      })
    }
    const again = await start(t, before.options)
    t.equal(
      await checkValue(again),
      deriveKeys(secretOf(before)).check,
      'the store has not changed'
    )
  }
)

t.test(
  'nodes change one after the other: first all know both secrets, then each makes the new one current',
  { skip: storage === 'embedded' && 'an embedded store has one process' },
  async (t) => {
    const first = await build(t)
    const [old, fresh] = [secretOf(first), newSecret()]
    const both = { port: undefined }
    const one = await start(t, { ...first.options, ...both, authSecretPrevious: [fresh] })
    await first.app.close()
    const ada = await signUp(one.url)
    const two = await start(t, {
      ...first.options,
      ...both,
      authSecret: fresh,
      authSecretPrevious: [old]
    })
    const bob = await signUp(two.url)
    for (const { url } of [one, two]) {
      for (const { bearer } of [ada, bob])
        t.equal(
          (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${bearer}` } }))
            .status,
          200
        )
    }
    t.equal(await checkValue(two), deriveKeys(fresh).check)
    const restarted = await start(t, { ...first.options, ...both, authSecretPrevious: [fresh] })
    t.equal(
      (await fetch(`${restarted.url}/health/ready`)).status,
      200,
      "a node with the first step's settings may still start"
    )
  }
)

t.test('signing keys go over to the new secret', async (t) => {
  const before = await build(t)
  const after = await restart(t, before, {
    authSecret: newSecret(),
    authSecretPrevious: [secretOf(before)]
  })
  const rows = await after.app.holdfast.prisma.signingKey.findMany()
  t.equal(rows.length, 2)
  t.ok(rows.every(({ privateKey }) => privateKey.startsWith(`${deriveKeys(secretOf(after)).id}.`)))
  await restart(t, after, { authSecret: secretOf(after) })
})

t.test(
  'a node that lacks the pepper of a live session refuses to start, and says what is missing',
  async (t) => {
    const before = await build(t)
    const [ada, bob] = [await signUp(before.url), await signUp(before.url)]
    const { prisma } = before.app.holdfast
    const { id } = deriveKeys(newSecret()).peppers.current
    await prisma.session.update({ where: { id: ada.sessionId }, data: { rotationPepper: id } })
    await prisma.session.update({
      where: { id: bob.sessionId },
      data: { rotationPepper: deriveKeys(secretOf(before)).peppers.current.id }
    })
    await before.app.close()
    await t.rejects(start(t, before.options), {
      name: 'ConfigError',
      message: /^AUTH_SECRET_PREVIOUS: lacks a secret under which live sessions refresh/
    })
  }
)

t.test('a pepper of sessions that have ended is not missed', async (t) => {
  const before = await build(t)
  const ada = await signUp(before.url)
  await before.app.holdfast.prisma.session.update({
    where: { id: ada.sessionId },
    data: { rotationPepper: '0badc0de' }
  })
  const copied = withCookiesOf(ada.browser)
  await ada.browser.post('/api/auth/sign-out')
  const after = await restart(t, before, { authSecret: secretOf(before) })
  t.equal(await sessionState(copied), '401 session_revoked')
  t.ok(after.app.holdfast.ready())
})

t.test('each purpose has a key of its own, and each secret its own of each', async (t) => {
  const [one, other] = [newSecret(), newSecret()]
  const keys = deriveKeys(one, [other])
  const all = keys.all.flatMap(({ id, auth, check, seal, keyId, pepper }) => [
    id,
    auth,
    check,
    seal.toString('hex'),
    keyId.toString('hex'),
    pepper.id,
    pepper.mac.toString('hex'),
    pepper.rotation.toString('hex')
  ])
  t.equal(new Set(all).size, 16)
  t.strictSame(
    deriveKeys(one).peppers.current,
    keys.peppers.current,
    'all nodes derive the same peppers'
  )
  t.strictSame(
    keys.peppers.find(deriveKeys(other).peppers.current.id),
    deriveKeys(other).peppers.current
  )
  t.equal(keys.peppers.find('00000000'), null)
  const sealed = seal(deriveKeys(other), 'text', 'a purpose')
  t.equal(unseal(keys, sealed, 'a purpose'), 'text')
  t.equal(unseal(keys, sealed, 'another purpose'), null)
  t.equal(unseal(deriveKeys(one), sealed, 'a purpose'), null)
  t.equal(unseal(keys, `${sealed.slice(0, -2)}AA`, 'a purpose'), null)
  t.equal(unseal(keys, sealed.slice(0, 20), 'a purpose'), null)
})

t.test('the list of previous secrets is read, checked and never shown', async (t) => {
  const [current, one, other] = [newSecret(), newSecret(), newSecret()]
  const configOf = (previous: string) =>
    resolveConfig(optionsFromEnvironment({ AUTH_SECRET: current, AUTH_SECRET_PREVIOUS: previous }))
  t.strictSame(configOf(`${one}, ${other}`).authSecretPrevious, [one, other])
  t.strictSame(configOf('').authSecretPrevious, [])
  for (const wrong of ['hunter2', `${one},hunter2`, 'a'.repeat(40), `${one},${one}`, current]) {
    t.throws(() => configOf(wrong), {
      name: 'ConfigError',
      message: /^AUTH_SECRET_PREVIOUS: (?!.*hunter2)/
    })
  }
})
