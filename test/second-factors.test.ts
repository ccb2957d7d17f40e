import t, { type Test } from 'tap'
import { enrol, newPerson, nextStep, totp, withCookiesOf, type Device } from './device.js'
import { Browser, build, password, sessionState, start, storage } from './helper.js'

const running = await build(t)
const { url } = running
const { prisma } = running.app.holdfast
// Where nodes can share a store there are two.
const { port: _, ...options } = running.options
const other = storage === 'embedded' ? running : await start(t, options)

/** Gives the password in a browser; the second factor is then pending there. */
async function givePassword({ email }: Device, browser = new Browser(url)): Promise<Browser> {
  const { status } = await browser.post('/api/auth/sign-in/email', { email, password })
  if (status !== 200) throw new Error(`sign-in answered ${status}`)
  return browser
}

async function newEnrolled(): Promise<Device & { totpURI: string, backupCodes: string[] }> {
  const ada = await newPerson(url)
  return { ...ada, ...await enrol(ada) }
}

const verify = (browser: Browser, code: string, more: object = {}) => browser.post('/api/auth/two-factor/verify-totp', { code, ...more })
const minutes = (n: number) => new Date(Date.now() + n * 60_000)
const useBackup = (browser: Browser, code: string) => browser.post('/api/auth/two-factor/verify-backup-code', { code })

t.test("S15: an app's code completes one sign-in", async (t) => {
  const ada = await newEnrolled()
  const code = totp(ada.totpURI)
  const first = await givePassword(ada)
  t.equal((await verify(first, code)).status, 200)
  const second = await givePassword(ada)
  const again = await verify(second, code)
  t.equal(again.status, 401)
  t.match(await again.json(), { code: 'INVALID_CODE' })
  t.equal(await sessionState(second), '401 credential_missing')
  t.equal((await verify(second, totp(ada.totpURI, -1))).status, 401, 'nor does an earlier one')
  await nextStep(running, ada.id)
  t.equal((await verify(second, totp(ada.totpURI))).status, 200, 'the next one does')
})

t.test('S15: of one code that is sent many times at once, to all nodes, one counts', async (t) => {
  const ada = await newEnrolled()
  const browsers = [await givePassword(ada), await givePassword(ada), await givePassword(ada, new Browser(other.url)), await givePassword(ada, new Browser(other.url))]
  const code = totp(ada.totpURI)
  const statuses = await Promise.all(browsers.map(async (browser) => (await verify(browser, code)).status))
  t.strictSame(statuses.toSorted((a, b) => a - b), [200, 401, 401, 401])
})

t.test('S15: a code that has turned the factor on, or that a session has shown, completes no sign-in', async (t) => {
  const ada = await newPerson(url)
  const { totpURI } = await (await ada.browser.post('/api/auth/two-factor/enable', { password })).json() as { totpURI: string }
  const code = totp(totpURI)
  t.equal((await verify(ada.browser, code)).status, 200)
  t.equal((await verify(await givePassword(ada), code)).status, 401)
  await nextStep(running, ada.id)
  const next = totp(totpURI)
  t.equal((await verify(ada.browser, next)).status, 200)
  t.equal((await verify(await givePassword(ada), next)).status, 401)
})

t.test('S15: one step back at most, and none to come', async (t) => {
  const ada = await newEnrolled()
  await nextStep(running, ada.id)
  const browser = await givePassword(ada)
  for (const steps of [-3, 2]) t.equal((await verify(browser, totp(ada.totpURI, steps))).status, 401, `${steps} steps`)
  t.equal((await verify(browser, totp(ada.totpURI, -1))).status, 200)
})

t.test('S15: codes of a new secret count, whatever was used of the old one', async (t) => {
  const ada = await newEnrolled()
  t.equal((await verify(await givePassword(ada), totp(ada.totpURI))).status, 200)
  t.equal((await ada.browser.post('/api/auth/two-factor/disable', { password })).status, 200)
  const { totpURI } = await enrol(ada)
  t.equal((await verify(await givePassword(ada), totp(totpURI))).status, 200)
})

t.test('S15: of one backup code that is sent many times at once one counts', async (t) => {
  const ada = await newEnrolled()
  const browsers = [await givePassword(ada), await givePassword(ada), await givePassword(ada, new Browser(other.url))]
  const statuses = await Promise.all(browsers.map(async (browser) => (await useBackup(browser, ada.backupCodes[0] ?? '')).status))
  t.equal(statuses.filter((status) => status === 200).length, 1, statuses.join())
  t.equal((await useBackup(await givePassword(ada), ada.backupCodes[0] ?? '')).status, 401)
  t.equal((await useBackup(await givePassword(ada), ada.backupCodes[1] ?? '')).status, 200)
})

t.test('what is no code is refused as ever', async (t) => {
  const ada = await newEnrolled()
  const browser = await givePassword(ada)
  for (const code of [1, null, undefined, ['1']]) t.equal((await browser.post('/api/auth/two-factor/verify-totp', { code })).status, 400)
  t.equal((await verify(new Browser(url), '123456')).status, 401)
  t.equal((await verify((await newPerson(url)).browser, '123456')).status, 400, 'no factor')
})

/** A device that is trusted, and one where the password was given and the factor is pending. */
async function trustedAndPending(t: Test, ada: Device & { totpURI: string }): Promise<{ trusted: Browser, pending: Browser }> {
  await nextStep(running, ada.id)
  const trusted = await givePassword(ada)
  t.equal((await verify(trusted, totp(ada.totpURI), { trustDevice: true })).status, 200)
  t.equal((await trusted.post('/api/auth/sign-out')).status, 200)
  const again = withCookiesOf(await givePassword(ada, trusted))
  t.equal(await sessionState(again), 'valid', 'the device is trusted')
  return { trusted, pending: await givePassword(ada) }
}

/** Signs in with the password in a browser that keeps its trust, and no session. */
async function signInTrusting(browser: Browser, ada: Device): Promise<unknown> {
  browser.cookies.delete('holdfast.session_token')
  return (await browser.post('/api/auth/sign-in/email', { email: ada.email, password })).json()
}

const changes: Record<string, (ada: Device & { totpURI: string }) => Promise<unknown>> = {
  'new backup codes': ({ browser }) => browser.post('/api/auth/two-factor/generate-backup-codes', { password }),
  'another app': async (ada) => {
    await ada.browser.post('/api/auth/two-factor/disable', { password })
    return enrol(ada)
  },
  'turned off by an operator, and on again': async (ada) => {
    await running.app.holdfast.auth.users.update(ada.id, { twoFactorEnabled: false })
    t.equal(await prisma.twoFactor.count({ where: { userId: ada.id } }), 0, 'with its secret, in one transaction')
    return enrol(ada)
  }
}
for (const [name, change] of Object.entries(changes)) {
  t.test(`S7: a change of factors ends trust in devices and pending proofs: ${name}`, async (t) => {
    const ada = await newEnrolled()
    const { trusted, pending } = await trustedAndPending(t, ada)
    await change(ada)
    t.equal(await prisma.verification.count({ where: { value: ada.id } }), 0, 'nothing is left')
    t.match(await signInTrusting(trusted, ada), { twoFactorRedirect: true })
    t.equal(await sessionState(trusted), '401 credential_missing')
    const late = await verify(pending, totp(ada.totpURI))
    t.equal(late.status, 401)
    t.match(await late.json(), { code: 'INVALID_TWO_FACTOR_COOKIE' })
  })
}

t.test('S7: what was proven before factors are enrolled for the first time ends as well', async (t) => {
  const ada = await newPerson(url)
  await prisma.verification.create({ data: { id: `left-${ada.id}`, identifier: `left-${ada.id}`, value: ada.id, expiresAt: new Date(Date.now() + 60_000) } })
  const before = await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })
  await ada.browser.post('/api/auth/two-factor/enable', { password })
  t.equal(await prisma.verification.count({ where: { value: ada.id } }), 0)
  const after = await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })
  t.ok(after.credentialEpoch > before.credentialEpoch, 'and sign-ins under way')
})

t.test('S7: a user is never without a factor that counts and yet asked for one: both are switched in one transaction', async (t) => {
  const ada = await newPerson(url)
  await ada.browser.post('/api/auth/two-factor/enable', { password })
  t.match(await prisma.twoFactor.findFirstOrThrow({ where: { userId: ada.id } }), { verified: false })
  await enrol(ada)
  t.match(await prisma.twoFactor.findFirstOrThrow({ where: { userId: ada.id } }), { verified: true })
  t.match(await prisma.user.findUniqueOrThrow({ where: { id: ada.id } }), { twoFactorEnabled: true })
})

t.test('S7: proofs that pile up are bounded: the oldest of their kind go', async (t) => {
  const ada = await newEnrolled()
  const rows = Array.from({ length: 200 }, (_, n) => ({
    id: `${ada.id}-${n}`, identifier: `${ada.id}-${n}`, value: ada.id, createdAt: minutes(-300 + n), expiresAt: minutes(n % 2 ? 10 : 40_000)
  }))
  await prisma.verification.createMany({ data: rows })
  await givePassword(ada)
  const left = await prisma.verification.findMany({ where: { value: ada.id } })
  t.equal(left.filter(({ expiresAt }) => expiresAt > minutes(1_000)).length, 100, 'trust in devices is of another kind')
  t.equal(left.filter(({ expiresAt }) => expiresAt <= minutes(1_000)).length, 50)
})
