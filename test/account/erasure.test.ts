import { randomUUID } from 'node:crypto'
import t from 'tap'
import { hashName } from '../../src/account/name-hash.js'
import { accountKey } from '../../src/auth/device.js'
import { deriveKeys } from '../../src/secrets/keys.js'
import { connectRedis, isCluster } from '../../src/redis/redis.js'
import { runCommand } from '../../src/operator/commands.js'
import { enrol, newAdmin, newPerson, nextStep, totp, type Device } from '../support/device.js'
import {
  makeAdmin,
  password,
  sessionState,
  signIn,
  signUp,
  storage,
  Browser
} from '../support/server.js'
import { command } from '../support/command.js'
import { buildWithMail } from '../support/page-mail.js'
import { until } from '../support/poll.js'
import { runCli } from '../support/server-process.js'
import { readStore } from '../support/store-contents.js'

const running = await buildWithMail(t, { rateLimit: true, trustedProxies: ['127.0.0.1'] })
const { url } = running
const { prisma, erasures, auth } = running.app.holdfast
const run = (operation: string, args: string[]) =>
  runCommand(running.app.holdfast, { operation, args })

/**
 * A user with every kind of data that can be stored. Each value has a mark that can be found
 * anywhere.
 */
interface Marked extends Device {
  marks: string[]
}

let people = 0
async function newMarked(): Promise<Marked> {
  const n = ++people
  const [mark, address, other] = [
    `mark${randomUUID().slice(0, 8)}`,
    `203.0.${n}.7`,
    `198.51.${n}.7`
  ]
  const person = await newPerson(url)
  const email = `${mark}@example.com`
  await prisma.user.update({
    where: { id: person.id },
    data: { name: `${mark} Lovelace`, image: `https://example.com/${mark}.png` }
  })
  await auth.users.update(person.id, { email })
  // A stranger asks for mails to her address, and one is about the account that she had.
  await new Browser(url).post('/api/auth/request-password-reset', { email })
  const from = (address: string) => ({
    'x-forwarded-for': address,
    'user-agent': `${mark}/1`,
    'device-name': `${mark} phone`,
    'content-type': 'application/json'
  })
  const begin = async (secret: string, headers: Record<string, string>) =>
    fetch(`${url}/api/auth/sign-in/email`, {
      method: 'POST',
      body: JSON.stringify({ email, password: secret }),
      headers: { ...from(address), ...headers }
    })
  // Failed guesses, a session that is refreshed from another network, a second factor, a trusted
  // device, and one-time use of a browser.
  for (let tries = 0; tries < 3; tries++) await begin('wrong horse', {})
  const { tokens } = (await (await begin(password, { 'token-transport': 'body' })).json()) as {
    tokens: { refresh_token: string }
  }
  const refresh = await fetch(`${url}/oauth2/token`, {
    method: 'POST',
    headers: { 'x-forwarded-for': other },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token })
  })
  if (refresh.status !== 200) throw new Error(`the refresh answered ${refresh.status}`)
  const device = { ...person, email }
  const { totpURI } = await enrol(device)
  await nextStep(running, person.id)
  const trusting = new Browser(url)
  await trusting.post('/api/auth/sign-in/email', { email, password }, from(address))
  await trusting.post(
    '/api/auth/two-factor/verify-totp',
    { code: totp(totpURI), trustDevice: true },
    from(address)
  )
  await trusting.post('/api/auth/verify-password', { password: 'wrong horse' }, from(address))
  // Failed attempts are written after the answers.
  for (const kind of ['sign_in_failed', 'reauthentication_failed'])
    await until(
      kind,
      async () => (await prisma.accountEvent.count({ where: { userId: person.id, kind } })) > 0,
      10_000
    )
  return { ...device, browser: trusting, marks: [mark, `203.0.${n}.`, `198.51.${n}.`] }
}

/** The marks that are in the store, by table. */
async function marksInStore(marks: readonly string[]): Promise<string[]> {
  const contents = await readStore(prisma)
  return [...contents].flatMap(([table, rows]) =>
    rows.flatMap((row) =>
      marks.filter((mark) => JSON.stringify(row).includes(mark)).map((mark) => `${table}: ${mark}`)
    )
  )
}

/** Keys and values that this store has in Redis. */
async function redisContents(): Promise<string> {
  if (running.options.redisUrl === undefined) return ''
  const redis = connectRedis(running.options.redisUrl, {
    enableOfflineQueue: true,
    commandTimeout: 5_000
  })
  try {
    if (isCluster(redis)) throw new Error('the tests know no cluster')
    const keys = await redis.keys(`holdfast:${running.app.holdfast.storeId()}:*`)
    const values = await Promise.all(
      keys.map(async (key) =>
        (await redis.type(key)) === 'hash'
          ? JSON.stringify(await redis.hgetall(key))
          : (await redis.type(key)) === 'string'
            ? await redis.get(key)
            : ''
      )
    )
    return keys.map((key, n) => `${key} ${values[n]}`).join('\n')
  } finally {
    redis.disconnect()
  }
}

/** Moves the deletion back by half a minute: work that was under way has then been written. */
async function settle(userId: string): Promise<void> {
  await prisma.$executeRaw`UPDATE "erasure" SET "requestedAt" = "requestedAt" - interval '1 minute', "doneAt" = "doneAt" - interval '1 minute' WHERE "userId" = ${userId}`
  await erasures.resume()
}

const erase = (browser: Browser, userId: string) =>
  browser.post('/api/auth/admin/erase-user', { userId })

const countsOf = async (userId: string) => ({
  sessions: await prisma.session.count({ where: { userId } }),
  sessionEvents: await prisma.sessionEvent.count({ where: { userId } }),
  kinds: (await prisma.accountEvent.findMany({ where: { userId }, orderBy: { id: 'asc' } })).map(
    ({ kind }) => kind
  )
})

t.test('O17: --purge leaves nothing that names a person, in any table or in Redis', async (t) => {
  const ada = await newMarked()
  const bystander = await signUp(url)
  const hashes = deriveKeys(running.options.authSecret ?? '').all.map(({ eventNames }) =>
    hashName(eventNames, ada.email)
  )
  const everything = [...ada.marks, ...hashes, accountKey(ada.email)]
  const found = await marksInStore(everything)
  for (const table of ['user', 'session', 'session_event', 'account_event', 'mail', 'proof'])
    t.ok(
      found.some((each) => each.startsWith(`${table}:`)),
      `${table} names her before the erasure`
    )
  if (storage === 'postgres')
    t.match(await redisContents(), accountKey(ada.email), 'Redis has counts under her address')
  const before = await countsOf(ada.id)
  t.equal(await sessionState(ada.browser), 'valid')

  const purged = await command(running.options, ['user', 'delete', ada.email, '--purge'])
  t.strictSame(
    { status: purged.status, ...(JSON.parse(purged.stdout || '{}') as object) },
    { status: 0, id: ada.id, deleted: true, erased: true },
    purged.stderr
  )
  t.equal(await sessionState(ada.browser), '401 user_gone')
  t.strictSame(await marksInStore(ada.marks), [])
  t.strictSame(
    await marksInStore(hashes),
    hashes.map((hash) => `erasure: ${hash}`),
    "only the erasure's own row has the hashes, for the second search"
  )
  const inRedis = await redisContents()
  for (const mark of [...ada.marks.slice(0, 1), accountKey(ada.email)])
    t.notOk(inRedis.includes(mark), 'Redis has no mark of her')

  const after = await countsOf(ada.id)
  t.equal(after.sessions, before.sessions, 'her sessions keep their rows')
  t.ok(after.sessionEvents > before.sessionEvents)
  t.strictSame(after.kinds.slice(-2), ['user_deleted', 'user_erased'])
  await settle(ada.id)
  t.strictSame(await marksInStore(everything), [], 'the second search leaves nothing')
  t.match(await prisma.erasure.findUniqueOrThrow({ where: { userId: ada.id } }), {
    nameHashes: [],
    countKey: null,
    doneAt: Date,
    sweptAt: Date
  })

  t.equal(await sessionState(bystander.browser), 'valid')
  t.match(
    await prisma.session.findUnique({ where: { id: bystander.sessionId } }),
    { ipAddress: '127.0.0.1', userAgent: String },
    'other people keep their data'
  )
  t.match(await running.app.holdfast.prisma.user.findUnique({ where: { id: bystander.id } }), {
    email: bystander.email
  })
})

t.test('O17: what was under way at the erasure is taken at the second look', async (t) => {
  const ada = await signUp(url)
  await run('user delete', [ada.id, '--purge'])
  await prisma.accountEvent.create({
    data: {
      userId: ada.id,
      kind: 'sign_in_failed',
      actor: 'unknown',
      ipAddress: '203.0.113.200',
      userAgent: 'late/1',
      nameHash: 'late',
      sumKey: randomUUID()
    }
  })
  await prisma.sessionEvent.create({
    data: {
      sessionId: ada.sessionId,
      userId: ada.id,
      type: 'refresh_replayed',
      ipAddress: '203.0.113.200'
    }
  })
  await settle(ada.id)
  t.strictSame(await marksInStore(['203.0.113.200', 'late/1']), [])
})

t.test(
  'O17: an administrator who is erased leaves no address where they acted, and those they acted for keep theirs',
  async (t) => {
    const admin = await newAdmin(running)
    const ada = await signUp(url)
    const headers = { 'x-forwarded-for': '203.0.113.99', 'user-agent': 'adminmark/1' }
    const browser = new Browser(url)
    await browser.post('/api/auth/sign-in/email', { email: admin.email, password }, headers)
    t.equal(
      (await browser.post('/api/auth/admin/impersonate-user', { userId: ada.id }, headers)).status,
      200
    )
    const impersonation = await prisma.session.findFirstOrThrow({
      where: { userId: ada.id, impersonatedBy: admin.id }
    })
    t.match(impersonation, { ipAddress: '203.0.113.99', userAgent: 'adminmark/1' })

    t.match(await run('user delete', [admin.id, '--purge']), { erased: true })
    t.strictSame(await marksInStore(['203.0.113.99', 'adminmark/1']), [])
    t.match(
      await prisma.session.findUnique({ where: { id: impersonation.id } }),
      { userId: ada.id, impersonatedBy: admin.id, revokedReason: 'impersonation_ended' },
      'the row still says which administrator acted for which user'
    )
    t.match(await prisma.session.findUnique({ where: { id: ada.sessionId } }), {
      ipAddress: '127.0.0.1'
    })
  }
)

t.test(
  'O17: an erasure that was cut short goes on where it is said again, or by itself',
  async (t) => {
    const ada = await signUp(url)
    await prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt", "revokedAt", "ipAddress", "userAgent")
    SELECT ${ada.id} || '-' || lpad(n::text, 6, '0'), ${ada.id} || n, ${ada.id}, now(), now(), now(), '203.0.113.150', 'cut/1' FROM generate_series(1, 3000) n`
    const left = () => prisma.session.count({ where: { userId: ada.id, userAgent: 'cut/1' } })
    await auth.users
      .erase(ada.id, (done) => {
        if (done > 0) throw new Error('the process dies')
      })
      .catch(() => {})
    const cut = await left()
    t.ok(cut > 0 && cut < 3000, `${cut} are left`)
    t.equal(await sessionState(ada.browser), '401 user_gone', 'her account is gone already')
    t.equal(await erasures.finish(ada.id, { maxMs: -1 }), false)
    t.match(await run('user delete', [ada.id, '--purge']), {
      id: ada.id,
      deleted: true,
      erased: true
    })
    t.equal(await left(), 0)
    t.match(
      await run('user delete', [ada.id, '--purge']),
      { erased: true },
      'the command may be repeated'
    )
    await t.rejects(run('user delete', [randomUUID(), '--purge']), {
      code: 'not_found',
      message: /nothing is kept/
    })
    await t.rejects(run('user delete', [ada.email, '--purge']), { code: 'not_found' })
  }
)

t.test('O17: a user who deleted their account can be erased later', async (t) => {
  const ada = await newMarked()
  await nextStep(running, ada.id)
  t.equal((await ada.browser.post('/api/auth/delete-user', { password })).status, 200)
  t.ok(
    (await marksInStore(ada.marks)).some((each) => each.startsWith('session:')),
    'a deletion without --purge leaves addresses and devices'
  )
  t.strictSame(
    (await marksInStore(ada.marks)).filter((each) => /^(mail|proof):/.test(each)),
    [],
    'no mail and no proof is left of an address that is not known any more'
  )
  t.match(await run('user delete', [ada.id, '--purge']), { erased: true })
  t.strictSame(await marksInStore(ada.marks), [])
})

t.test('O17: administrators erase over HTTP, after a recent sign-in', async (t) => {
  const admin = await newAdmin(running)
  const ada = await newMarked()
  t.equal((await erase(new Browser(url), ada.id)).status, 401)
  t.match(await (await erase((await signUp(url)).browser, ada.id)).json(), {
    code: 'YOU_ARE_NOT_ALLOWED_TO_DELETE_USERS'
  })
  t.match(await (await erase(admin.browser, admin.id)).json(), {
    code: 'YOU_CANNOT_REMOVE_YOURSELF'
  })
  t.equal((await erase(admin.browser, randomUUID())).status, 404)
  t.equal((await admin.browser.post('/api/auth/admin/erase-user', { userId: 7 })).status, 400)
  await prisma.session.update({ where: { id: admin.sessionId }, data: { reauthAt: null } })
  t.match(await (await erase(admin.browser, ada.id)).json(), { cause: 'reauthentication_required' })
  t.equal(await sessionState(ada.browser), 'valid', 'nothing has been deleted so far')

  const fresh = await signIn(url, admin.email)
  const answer = await erase(fresh.browser, ada.id)
  t.equal(answer.status, 200)
  t.strictSame(await answer.json(), { success: true, erased: true })
  t.equal(await sessionState(ada.browser), '401 user_gone')
  t.strictSame(await marksInStore(ada.marks), [])
  t.strictSame(
    await (await erase(fresh.browser, ada.id)).json(),
    { success: true, erased: true },
    'an erased user can be erased again'
  )
  const erased = await prisma.accountEvent.findFirstOrThrow({
    where: { userId: ada.id, kind: 'user_erased' }
  })
  t.match(
    erased,
    { actor: 'administrator', actorId: admin.id, ipAddress: '127.0.0.1' },
    'the event still says who did it'
  )
})

t.test('O17: an administrator who loses the right during the call erases no user', async (t) => {
  const admin = await newAdmin(running)
  const ada = await signUp(url)
  await makeAdmin(running, ada)
  await auth.users.update(admin.id, { role: 'user' })
  t.equal((await admin.browser.post('/api/auth/admin/erase-user', { userId: ada.id })).status, 403)
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test(
  'O17: a killed command is finished by a server',
  { skip: storage === 'postgres' ? false : 'an embedded store has one process' },
  async (t) => {
    const ada = await signUp(url)
    await prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt", "revokedAt", "ipAddress", "userAgent")
    SELECT ${ada.id} || '-' || lpad(n::text, 6, '0'), ${ada.id} || n, ${ada.id}, now(), now(), now(), '203.0.113.151', 'killed/1' FROM generate_series(1, 20000) n`
    const { databaseUrl, redisUrl, authSecret } = running.options
    const purging = runCli(t, ['user', 'delete', ada.id, '--purge'], {
      databaseUrl,
      redisUrl,
      authSecret,
      baseUrl: 'http://localhost:3000'
    })
    const left = () => prisma.session.count({ where: { userId: ada.id, userAgent: 'killed/1' } })
    await until('some of it to be done', async () => (await left()) < 20_000, 60_000)
    await purging.kill('SIGKILL')
    t.ok((await left()) > 0, 'the process was killed in the middle')
    t.match(await prisma.erasure.findUnique({ where: { userId: ada.id } }), { doneAt: null })
    await settle(ada.id)
    t.equal(await left(), 0)
  }
)
