import { randomBytes } from 'node:crypto'
import t from 'tap'
import { deriveKeys } from '../../src/secrets/keys.js'
import { reencryptSecondFactors, secretVersion } from '../../src/auth/reencrypt-second-factors.js'
import { anotherDevice, enrol, newPerson, nextStep, totp } from '../support/device.js'
import { Browser, build, makeAdmin, password, restart, type Running } from '../support/server.js'
import { until } from '../support/poll.js'

const newSecret = () => randomBytes(36).toString('base64url')
const secretOf = ({ options }: Running) => options.authSecret ?? ''

t.test(
  'second factors are read under the previous secret, and go over to the new one',
  async (t) => {
    const before = await build(t)
    const ada = await newPerson(before.url)
    const { totpURI, backupCodes } = await enrol(ada)
    const rowOf = ({ app }: Running) =>
      app.holdfast.prisma.twoFactor.findFirstOrThrow({ where: { userId: ada.id } })
    const { secret } = await rowOf(before)
    t.match(secret, /^\$ba\$\d+\$[0-9a-f]+$/)

    const signInWithFactor = async (running: Running, path: string, code: string) => {
      // 409: the codes were re-encrypted at the same time. The user tries again.
      return until('no conflict', async () => {
        const browser = new Browser(running.url)
        await browser.post('/api/auth/sign-in/email', { email: ada.email, password })
        const { status } = await browser.post(`/api/auth/two-factor/${path}`, { code })
        return status === 409 ? null : status
      })
    }
    const after = await restart(t, before, {
      authSecret: newSecret(),
      authSecretPrevious: [secretOf(before)]
    })
    t.equal(await signInWithFactor(after, 'verify-totp', totp(totpURI)), 200)
    t.equal(await signInWithFactor(after, 'verify-backup-code', backupCodes[0] ?? ''), 200)
    await until(
      'the factors to be encrypted anew',
      async () => (await rowOf(after)).secret !== secret
    )
    const later = await restart(t, after, { authSecret: secretOf(after) })
    await nextStep(later, ada.id)
    t.equal(
      await signInWithFactor(later, 'verify-totp', totp(totpURI)),
      200,
      'the server no longer needs the old secret'
    )
    t.equal(await signInWithFactor(later, 'verify-backup-code', backupCodes[1] ?? ''), 200)
    t.equal(
      await signInWithFactor(later, 'verify-backup-code', backupCodes[0] ?? ''),
      401,
      'a used code stays used'
    )
  }
)

t.test(
  'a code that is used while its factors are re-encrypted stays used, and they are re-encrypted after all',
  async (t) => {
    const running = await build(t)
    const { prisma } = running.app.holdfast
    const ada = await newPerson(running.url)
    const { backupCodes } = await enrol(ada)
    const use = async ({ url }: Running, code = '') => {
      const browser = new Browser(url)
      await browser.post('/api/auth/sign-in/email', { email: ada.email, password })
      return (await browser.post('/api/auth/two-factor/verify-backup-code', { code })).status
    }
    const secret = newSecret()
    const keys = deriveKeys(secret, [secretOf(running)])
    await prisma.keyCheck.update({ where: { purpose: 'auth_secret' }, data: { value: keys.check } })
    const used: number[] = []
    const updateMany = async (update: Parameters<typeof prisma.twoFactor.updateMany>[0]) => {
      if (used.length === 0) used.push(await use(running, backupCodes[0]))
      return prisma.twoFactor.updateMany(update)
    }
    await reencryptSecondFactors(
      new Proxy(prisma, {
        get: (target, key) =>
          (key === 'twoFactor' ? { updateMany } : Reflect.get(target, key)) as unknown
      }),
      keys
    )
    t.strictSame(used, [200])
    const row = await prisma.twoFactor.findFirstOrThrow({ where: { userId: ada.id } })
    const anew = new RegExp(`^\\$ba\\$${secretVersion(keys)}\\$`)
    t.match(row, { secret: anew, backupCodes: anew })
    const later = await restart(t, running, {
      authSecret: secret,
      authSecretPrevious: [secretOf(running)]
    })
    t.equal(await use(later, backupCodes[0]), 401)
    t.equal(await use(later, backupCodes[1]), 200)
  }
)

t.test('what better-auth has begun under the previous secret can be finished', async (t) => {
  const before = await build(t)
  const [admin, ada] = [await newPerson(before.url), await newPerson(before.url)]
  const { totpURI } = await enrol(ada)
  await makeAdmin(before, admin)
  const pending = new Browser(before.url)
  await pending.post('/api/auth/sign-in/email', { email: ada.email, password })
  t.equal(
    (await admin.browser.post('/api/auth/admin/impersonate-user', { userId: ada.id })).status,
    200
  )
  await restart(t, before, { authSecret: newSecret(), authSecretPrevious: [secretOf(before)] })
  t.equal(
    (await pending.post('/api/auth/two-factor/verify-totp', { code: totp(totpURI) })).status,
    200,
    'a pending second factor can be completed'
  )
  t.equal(
    (await admin.browser.post('/api/auth/admin/stop-impersonating')).status,
    200,
    'an impersonation can be ended'
  )
  t.match(await (await admin.browser.get('/session')).json(), { user: { id: admin.id } })
  t.equal((await anotherDevice(admin)).id, admin.id)
})
