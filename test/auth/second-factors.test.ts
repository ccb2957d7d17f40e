import t, { type Test } from 'tap'
import { readMigrations } from '../../src/database/migrate.js'
import { enrol, newPerson, nextStep, totp, withCookiesOf, type Device } from '../support/device.js'
import {
  Browser,
  build,
  password,
  proveAddress,
  sessionState,
  signIn,
  start,
  storage
} from '../support/server.js'
import { inTurnAtUser } from '../support/locks.js'

const running = await build(t)
const { url } = running
const { prisma } = running.app.holdfast
// Two nodes where the store can be shared.
const { port: _, ...options } = running.options
const other = storage === 'embedded' ? running : await start(t, options)

/** Enters the password in a browser. The second factor is then pending there. */
async function givePassword({ email }: Device, browser = new Browser(url)): Promise<Browser> {
  const { status } = await browser.post('/api/auth/sign-in/email', { email, password })
  if (status !== 200) throw new Error(`sign-in answered ${status}`)
  return browser
}

async function newEnrolled(): Promise<Device & { totpURI: string; backupCodes: string[] }> {
  const ada = await newPerson(url)
  return { ...ada, ...(await enrol(ada)) }
}

const verify = (browser: Browser, code: string, more: object = {}) =>
  browser.post('/api/auth/two-factor/verify-totp', { code, ...more })
const minutes = (n: number) => new Date(Date.now() + n * 60_000)
const useBackup = (browser: Browser, code: string) =>
  browser.post('/api/auth/two-factor/verify-backup-code', { code })

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
  t.equal(
    (await verify(second, totp(ada.totpURI, -1))).status,
    401,
    'an earlier code is refused as well'
  )
  await nextStep(running, ada.id)
  t.equal((await verify(second, totp(ada.totpURI))).status, 200, 'the next code is accepted')
})

t.test('S15: of one code that is sent many times at once, to all nodes, one counts', async (t) => {
  const ada = await newEnrolled()
  const browsers = [
    await givePassword(ada),
    await givePassword(ada),
    await givePassword(ada, new Browser(other.url)),
    await givePassword(ada, new Browser(other.url))
  ]
  const code = totp(ada.totpURI)
  const statuses = await Promise.all(
    browsers.map(async (browser) => (await verify(browser, code)).status)
  )
  t.strictSame(
    statuses.toSorted((a, b) => a - b),
    [200, 401, 401, 401]
  )
})

t.test(
  'S15: a code that has turned the factor on, or that a session has shown, completes no sign-in',
  async (t) => {
    const ada = await newPerson(url)
    await proveAddress(ada)
    const { totpURI } = (await (
      await ada.browser.post('/api/auth/two-factor/enable', { password })
    ).json()) as { totpURI: string }
    const code = totp(totpURI)
    t.equal((await verify(ada.browser, code)).status, 200)
    t.equal((await verify(await givePassword(ada), code)).status, 401)
    await nextStep(running, ada.id)
    const next = totp(totpURI)
    t.equal((await verify(ada.browser, next)).status, 200)
    t.equal((await verify(await givePassword(ada), next)).status, 401)
  }
)

t.test('S15: one step back at most, and none to come', async (t) => {
  const ada = await newEnrolled()
  await nextStep(running, ada.id)
  const browser = await givePassword(ada)
  for (const steps of [-3, 2])
    t.equal((await verify(browser, totp(ada.totpURI, steps))).status, 401, `${steps} steps`)
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
  const browsers = [
    await givePassword(ada),
    await givePassword(ada),
    await givePassword(ada, new Browser(other.url))
  ]
  const statuses = await Promise.all(
    browsers.map(async (browser) => (await useBackup(browser, ada.backupCodes[0] ?? '')).status)
  )
  t.equal(statuses.filter((status) => status === 200).length, 1, statuses.join())
  t.equal((await useBackup(await givePassword(ada), ada.backupCodes[0] ?? '')).status, 401)
  t.equal((await useBackup(await givePassword(ada), ada.backupCodes[1] ?? '')).status, 200)
})

t.test(
  'S15: wrong codes that are sent at once are counted before they are looked at: ten are, and then the factor is locked',
  async (t) => {
    for (const kind of ['totp', 'backup-code']) {
      const ada = await newEnrolled()
      const browsers: Browser[] = []
      for (let n = 0; n < 16; n++)
        browsers.push(await givePassword(ada, new Browser(n % 2 ? url : other.url)))
      const answers = await Promise.all(
        browsers.map((browser) =>
          browser.post(`/api/auth/two-factor/verify-${kind}`, { code: '00000x' })
        )
      )
      t.strictSame(
        answers.map(({ status }) => status).toSorted((a, b) => a - b),
        [...Array<number>(10).fill(401), ...Array<number>(6).fill(429)],
        kind
      )
      const locked = answers.find(({ status }) => status === 429)
      t.match(await locked?.json(), { code: 'ACCOUNT_TEMPORARILY_LOCKED' })
      t.equal(locked?.headers.get('retry-after'), '900')
      t.equal(
        (await verify(await givePassword(ada), totp(ada.totpURI))).status,
        429,
        'the right code is refused while the account is locked'
      )
      // As if a quarter of an hour had passed.
      await prisma.twoFactor.updateMany({
        where: { userId: ada.id },
        data: { lockedUntil: minutes(-1) }
      })
      t.equal((await verify(await givePassword(ada), totp(ada.totpURI))).status, 200)
      t.match(await prisma.twoFactor.findFirst({ where: { userId: ada.id } }), {
        failedVerificationCount: 0,
        lockedUntil: null
      })
    }
  }
)

t.test('S15: what is no guess is not counted, and a right code sets the count back', async (t) => {
  const ada = await newEnrolled()
  const browser = await givePassword(ada)
  const count = async () =>
    (await prisma.twoFactor.findFirstOrThrow({ where: { userId: ada.id } })).failedVerificationCount
  for (const body of [{}, { code: 1 }, { code: null }])
    t.equal((await browser.post('/api/auth/two-factor/verify-totp', body)).status, 400)
  t.equal((await verify(new Browser(url), '000000')).status, 401, 'there is no challenge')
  t.equal(await count(), 0)
  for (let n = 0; n < 3; n++) t.equal((await verify(browser, '00000x')).status, 401)
  t.equal((await useBackup(browser, 'no-code')).status, 401)
  t.equal(await count(), 4)
  t.equal((await useBackup(browser, ada.backupCodes[0] ?? '')).status, 200)
  t.equal(await count(), 0)
})

t.test('what is no code is refused as ever', async (t) => {
  const ada = await newEnrolled()
  const browser = await givePassword(ada)
  for (const code of [1, null, undefined, ['1']])
    t.equal((await browser.post('/api/auth/two-factor/verify-totp', { code })).status, 400)
  t.equal((await verify(new Browser(url), '123456')).status, 401)
  t.equal(
    (await verify((await newPerson(url)).browser, '123456')).status,
    400,
    'the user has no factor'
  )
})

/** A trusted device, and one where the password was entered and the factor is pending. */
async function trustedAndPending(
  t: Test,
  ada: Device & { totpURI: string }
): Promise<{ trusted: Browser; pending: Browser }> {
  await nextStep(running, ada.id)
  const trusted = await givePassword(ada)
  t.equal((await verify(trusted, totp(ada.totpURI), { trustDevice: true })).status, 200)
  t.equal((await trusted.post('/api/auth/sign-out')).status, 200)
  const again = withCookiesOf(await givePassword(ada, trusted))
  t.equal(await sessionState(again), 'valid', 'the device is trusted')
  return { trusted, pending: await givePassword(ada) }
}

/** Signs in with the password in a browser that has a trusted-device cookie, and no session. */
async function signInTrusting(browser: Browser, ada: Device): Promise<unknown> {
  browser.cookies.delete('holdfast.session_token')
  return (await browser.post('/api/auth/sign-in/email', { email: ada.email, password })).json()
}

const changes: Record<string, (ada: Device & { totpURI: string }) => Promise<unknown>> = {
  'new backup codes': ({ browser }) =>
    browser.post('/api/auth/two-factor/generate-backup-codes', { password }),
  'another app': async (ada) => {
    await ada.browser.post('/api/auth/two-factor/disable', { password })
    return enrol(ada)
  },
  'turned off by an operator, and on again': async (ada) => {
    await running.app.holdfast.auth.users.update(ada.id, { twoFactorEnabled: false })
    t.equal(
      await prisma.twoFactor.count({ where: { userId: ada.id } }),
      0,
      'the secret is deleted in the same transaction'
    )
    return enrol(ada)
  }
}
for (const [name, change] of Object.entries(changes)) {
  t.test(`S7: a change of factors ends trust in devices and pending proofs: ${name}`, async (t) => {
    const ada = await newEnrolled()
    const { trusted, pending } = await trustedAndPending(t, ada)
    await change(ada)
    t.equal(
      await prisma.verification.count({ where: { value: ada.id } }),
      0,
      'no challenge is left'
    )
    t.match(await signInTrusting(trusted, ada), { twoFactorRedirect: true })
    t.equal(await sessionState(trusted), '401 credential_missing')
    const late = await verify(pending, totp(ada.totpURI))
    t.equal(late.status, 401)
    t.match(await late.json(), { code: 'INVALID_TWO_FACTOR_COOKIE' })
  })
}

t.test(
  'S7: what was proven before factors are enrolled for the first time ends as well',
  async (t) => {
    const ada = await newPerson(url)
    await proveAddress(ada)
    await prisma.verification.create({
      data: {
        id: `left-${ada.id}`,
        identifier: `left-${ada.id}`,
        value: ada.id,
        expiresAt: new Date(Date.now() + 60_000)
      }
    })
    const before = await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })
    await ada.browser.post('/api/auth/two-factor/enable', { password })
    t.equal(await prisma.verification.count({ where: { value: ada.id } }), 0)
    const after = await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })
    t.ok(
      after.credentialEpoch > before.credentialEpoch,
      'the epoch has grown, so a sign-in in progress fails'
    )
  }
)

t.test(
  'S7: a user is never without a factor that counts and yet asked for one: both are switched in one transaction',
  async (t) => {
    const ada = await newPerson(url)
    await proveAddress(ada)
    await ada.browser.post('/api/auth/two-factor/enable', { password })
    t.match(await prisma.twoFactor.findFirstOrThrow({ where: { userId: ada.id } }), {
      verified: false
    })
    await enrol(ada)
    t.match(await prisma.twoFactor.findFirstOrThrow({ where: { userId: ada.id } }), {
      verified: true
    })
    t.match(await prisma.user.findUniqueOrThrow({ where: { id: ada.id } }), {
      twoFactorEnabled: true
    })
  }
)

t.test('S7: proofs that pile up are bounded: the oldest of their kind go', async (t) => {
  const ada = await newEnrolled()
  const rows = Array.from({ length: 200 }, (_, n) => ({
    id: `${ada.id}-${n}`,
    identifier: `${ada.id}-${n}`,
    value: ada.id,
    createdAt: minutes(-300 + n),
    expiresAt: minutes(n % 2 ? 10 : 40_000)
  }))
  await prisma.verification.createMany({ data: rows })
  await givePassword(ada)
  const left = await prisma.verification.findMany({ where: { value: ada.id } })
  t.equal(
    left.filter(({ expiresAt }) => expiresAt > minutes(1_000)).length,
    100,
    'trusted devices do not count as challenges'
  )
  t.equal(left.filter(({ expiresAt }) => expiresAt <= minutes(1_000)).length, 50)
})

const enable = (browser: Browser) => browser.post('/api/auth/two-factor/enable', { password })
const uriIn = async (response: Response) => ((await response.json()) as { totpURI: string }).totpURI

t.test('S7: of enrolments that are begun at once one is left', async (t) => {
  for (let round = 0; round < 3; round++) {
    const ada = await newPerson(url)
    await proveAddress(ada)
    const uris = await Promise.all(
      (await Promise.all(Array.from({ length: 4 }, () => enable(ada.browser)))).map(uriIn)
    )
    t.equal(await prisma.twoFactor.count({ where: { userId: ada.id } }), 1)
    const statuses: number[] = []
    for (const uri of uris) statuses.push((await verify(ada.browser, totp(uri))).status)
    t.equal(statuses.filter((status) => status === 200).length, 1, statuses.join())
  }
})

const onPostgres = { skip: storage === 'embedded' && 'one connection' }

t.test(
  'S7: an enrolment that another client begins while one is finished replaces nothing',
  onPostgres,
  async (t) => {
    const laptop = await newPerson(url)
    await proveAddress(laptop)
    const phone = await signIn(other.url, laptop.email)
    const uri = await uriIn(await enable(laptop.browser))
    const [finished, begun] = await inTurnAtUser(
      prisma,
      laptop.id,
      () => verify(laptop.browser, totp(uri)),
      () => enable(phone.browser)
    )
    t.equal(finished?.status, 200)
    t.equal(begun?.status, 400)
    t.match(await begun?.json(), { code: 'TOTP_ALREADY_ENABLED' })
    t.match(await prisma.twoFactor.findMany({ where: { userId: laptop.id } }), [{ verified: true }])
    await nextStep(running, laptop.id)
    t.equal(
      (await verify(await givePassword(laptop), totp(uri))).status,
      200,
      'the code of the new secret is accepted'
    )
  }
)

t.test('S7: a code turns on the factor that it is of, and no other', onPostgres, async (t) => {
  const laptop = await newPerson(url)
  await proveAddress(laptop)
  const phone = await signIn(other.url, laptop.email)
  const uri = await uriIn(await enable(laptop.browser))
  const [begun, finished] = await inTurnAtUser(
    prisma,
    laptop.id,
    () => enable(phone.browser),
    () => verify(laptop.browser, totp(uri))
  )
  t.equal(begun?.status, 200)
  t.equal(finished?.status, 401)
  t.match(await finished?.json(), { code: 'INVALID_CODE' })
  t.match(await prisma.user.findUniqueOrThrow({ where: { id: laptop.id } }), {
    twoFactorEnabled: false
  })
  t.match(await prisma.twoFactor.findMany({ where: { userId: laptop.id } }), [{ verified: false }])
})

t.test(
  'S7: of the factors that an older version left to one user the one stays whose codes were used last',
  async (t) => {
    const ada = await newEnrolled()
    const { id, ...row } = await prisma.twoFactor.findFirstOrThrow({ where: { userId: ada.id } })
    const script =
      (await readMigrations()).find(({ name }) => name.endsWith('_one_second_factor'))?.script ?? ''
    await prisma.$transaction(async (transaction) => {
      await transaction.$executeRaw`DROP INDEX "two_factor_userId_key"`
      await transaction.$executeRaw`CREATE INDEX "two_factor_userId_idx" ON "two_factor"("userId")`
      await transaction.twoFactor.createMany({
        data: [
          { ...row, id: `${ada.id}-1`, verified: false },
          { ...row, id: `${ada.id}-2`, lastUsedStep: null },
          { ...row, id: `${ada.id}-3`, lastUsedStep: 1 }
        ]
      })
      for (const statement of script.replaceAll(/^--.*$/gm, '').split(';'))
        if (statement.trim() !== '') await transaction.$executeRawUnsafe(statement)
    })
    t.match(await prisma.twoFactor.findMany({ where: { userId: ada.id } }), [{ id }])
    await t.rejects(
      prisma.twoFactor.create({ data: { ...row, id: `${ada.id}-4` } }),
      'the index refuses a second factor for one user'
    )
  }
)
