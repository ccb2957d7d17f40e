import { randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import t from 'tap'
import { systemClock } from '../../src/clock.js'
import { deriveKeys } from '../../src/secrets/keys.js'
import { LONGEST_ACCESS_TOKEN_SECONDS } from '../../src/limits.js'
import { resolveConfig } from '../../src/config.js'
import type { Database, PrismaClient } from '../../src/database/database.js'
import { openDatabase } from '../../src/holdfast/open-store.js'
import { purgeEnded } from '../../src/session/retention.js'
import { AccessTokens } from '../../src/token/access-token.js'
import { SigningKeys } from '../../src/token/signing-keys.js'
import {
  authSecret,
  build,
  freshStore,
  signUp,
  start,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { until } from '../support/poll.js'
import { runCli } from '../support/server-process.js'

const parties = { issuer: 'https://auth.example.com', audience: 'https://api.example.com' }
const secret = `${authSecret} for keys`

const database = await openDatabase(
  resolveConfig({ baseUrl: 'http://localhost:3000', ...(await freshStore(t)) }),
  { onWarning: () => {} }
)
t.teardown(() => database.close())

/** A store without keys. */
async function emptyStore(): Promise<Database> {
  await database.prisma.signingKey.deleteMany()
  return database
}

/**
 * A node's signing keys, with a clock that the test may move. Its reads are counted, and can be
 * made to fail or to arrive late.
 */
function ringOn(
  prisma: PrismaClient,
  { keys = deriveKeys(secret), now = () => performance.now() } = {}
) {
  const reads = { count: 0, fail: false, held: Promise.resolve() as Promise<unknown> }
  const counted = new Proxy(prisma, {
    get(target, name, receiver) {
      if (name !== '$queryRaw') return Reflect.get(target, name, receiver) as unknown
      return async (...args: Parameters<PrismaClient['$queryRaw']>) => {
        reads.count++
        const { held } = reads
        if (reads.fail) throw new Error('the network is down')
        const rows = await target.$queryRaw(...args)
        await held
        return rows
      }
    }
  })
  return Object.assign(new SigningKeys({ prisma: counted, keys, parties, now }), {
    reads
  })
}

async function issue({ app }: Running, { sessionId }: Person): Promise<string> {
  const { prisma, accessTokens } = app.holdfast
  const session = await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })
  return (await accessTokens.issue({ session, roles: [], generation: 0 })).token
}

const kidOf = (token: string) => decodeProtectedHeader(token).kid
const check = async ({ url }: Running, token: string) =>
  (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${token}` } })).status

t.test('keys are made once, however many nodes open the store at once', async (t) => {
  const { prisma } = await emptyStore()
  const rings = Array.from({ length: 8 }, () => ringOn(prisma))
  await Promise.all(rings.map((ring) => ring.open()))
  const rows = await prisma.signingKey.findMany()
  t.equal(rows.length, 2)
  t.equal(
    rows.filter(({ activatedAt }) => activatedAt !== null).length,
    1,
    'one current key, and one next'
  )
  t.equal(
    new Set(rings.map((ring) => JSON.stringify(ring.published().keys))).size,
    1,
    'all nodes have the same'
  )
  const signers = await Promise.all(rings.map((ring) => ring.signer()))
  t.equal(new Set(signers.map(({ kid }) => kid)).size, 1)
})

t.test('private parts are encrypted, and bound to their key', async (t) => {
  const { prisma } = await emptyStore()
  await ringOn(prisma).open()
  const rows = await prisma.signingKey.findMany({ orderBy: { createdAt: 'asc' } })
  for (const row of rows) {
    t.notMatch(row.privateKey, /PRIVATE KEY/)
    t.notMatch(
      Buffer.from(row.privateKey.split('.')[1] ?? '', 'base64url').toString('latin1'),
      /PRIVATE KEY/
    )
    t.strictSame(Object.keys(row.publicKey as object).toSorted(), [
      'alg',
      'crv',
      'kid',
      'kty',
      'use',
      'x',
      'y'
    ])
  }
  await t.rejects(ringOn(prisma, { keys: deriveKeys(`${secret} but another`) }).open(), {
    name: 'ConfigError',
    message: /^AUTH_SECRET_PREVIOUS: a signing key/
  })
  const [one, other] = rows
  await prisma.signingKey.update({
    where: { id: one?.id ?? '' },
    data: { privateKey: other?.privateKey ?? '' }
  })
  await t.rejects(
    ringOn(prisma).open(),
    { name: 'ConfigError' },
    'a private part copied to another row does not open'
  )
})

t.test(
  'the next key is published long before it signs: too early a rotation is refused',
  async (t) => {
    const { prisma } = await emptyStore()
    const ring = ringOn(prisma)
    await ring.open()
    const [current, next] = ring.published().keys.map(({ kid }) => kid)
    const waitSeconds = (await ring.rotate({ force: false })) ?? 0
    t.ok(
      waitSeconds > 300 && waitSeconds <= 310,
      `${waitSeconds} s: others may keep the key set for 300 s`
    )
    t.equal((await ring.signer()).kid, current)
    await age(prisma, 311)
    t.equal(await ring.rotate({ force: false }), null)
    t.equal((await ring.signer()).kid, next, 'the key that was next signs')
    const after = ring.published().keys.map(({ kid }) => kid)
    t.equal(after.length, 3)
    t.equal(after[2], current, 'the retired key is still published')
    t.notOk([current, next].includes(after[1]), 'and there is a new next one')
    t.ok(await ring.rotate({ force: false }), 'which is too young in its turn')
    t.equal(await ring.rotate({ force: true }), null, 'unless it is forced')
    t.equal(ring.published().keys.length, 4)
  }
)

t.test(
  'a retired key is kept for every token that any node can have signed with it, and then goes',
  async (t) => {
    const { prisma } = await emptyStore()
    const ring = ringOn(prisma)
    await ring.open()
    const old = await ring.signer()
    await ring.rotate({ force: true })
    const row = await prisma.signingKey.findUniqueOrThrow({ where: { id: old.kid } })
    const keptSeconds = (Number(row.expiresAt) - Number(row.retiredAt)) / 1000
    t.ok(
      keptSeconds >= LONGEST_ACCESS_TOKEN_SECONDS + 600,
      'a node may sign for ten minutes more without reading of the rotation'
    )
    t.equal(row.privateKey, '', 'its private part is destroyed: it never signs again')
    t.ok(
      await ringOn(prisma)
        .open()
        .then(() => true),
      'a node that starts now can do without it'
    )

    await prisma.$executeRaw`UPDATE "signing_key" SET "expiresAt" = clock_timestamp() - interval '1 second' WHERE "id" = ${old.kid}`
    await ring.read()
    t.notOk(ring.published().keys.some(({ kid }) => kid === old.kid))
    t.equal(await ring.find(old.kid), null)
    await purgeEnded(prisma, 3_600, { now: systemClock.monotonic })
    t.equal(await prisma.signingKey.count(), 2, 'retention removes the expired key')
  }
)

t.test('two rotations at once: one is done, the other finds the next key too young', async (t) => {
  const { prisma } = await emptyStore()
  const rings = [ringOn(prisma), ringOn(prisma)]
  for (const ring of rings) await ring.open()
  await age(prisma, 311)
  const outcomes = await Promise.all(rings.map((ring) => ring.rotate({ force: false })))
  t.equal(
    outcomes.filter((waitSeconds) => waitSeconds === null).length,
    1,
    JSON.stringify(outcomes)
  )
  const forced = await Promise.all(rings.map((ring) => ring.rotate({ force: true })))
  t.strictSame(forced, [null, null], 'forced, both are done, one after the other')
  const states = ((await rings[0]?.list()) ?? []).map(({ state }) => state)
  t.strictSame(states, ['current', 'next', 'retired', 'retired', 'retired'])
})

t.test(
  'nodes learn of a rotation without a restart, and accept what the others sign until then',
  { skip: storage === 'embedded' && 'an embedded store has one process' },
  async (t) => {
    const one = await build(t)
    const two = await start(t, { ...one.options, port: undefined, baseUrl: one.url })
    const ada = await signUp(one.url)
    const before = await issue(two, ada)
    await one.app.holdfast.signingKeys.rotate({ force: true })
    const [byNew, byOld] = [await issue(one, ada), await issue(two, ada)]
    t.not(kidOf(byNew), kidOf(byOld), 'the other node has not read of it yet')
    t.equal(kidOf(byOld), kidOf(before))
    for (const node of [one, two])
      for (const token of [byNew, byOld]) t.equal(await check(node, token), 200)
    await one.app.holdfast.signingKeys.rotate({ force: true })
    const byNewest = await issue(one, ada)
    t.equal(await check(two, byNewest), 200, 'a key that a node already knows as the next one')
    await until(
      'the other node to sign with the new key',
      async () => kidOf(await issue(two, ada)) === kidOf(byNewest),
      15_000
    )
    const jwks = createRemoteJWKSet(new URL(`${two.url}/.well-known/jwks.json`))
    for (const token of [before, byNew, byOld, byNewest])
      t.ok(await jwtVerify(token, jwks, { issuer: one.url, audience: one.url }))
  }
)

t.test(
  'an unknown key is looked for once a second, and no token is refused before that',
  async (t) => {
    const { prisma } = await emptyStore()
    const [node, other] = [ringOn(prisma), ringOn(prisma)]
    await node.open()
    await other.open()
    const tokens = new AccessTokens({ keys: node, parties, ttlSeconds: 300, now: () => Date.now() })
    const elsewhere = new AccessTokens({
      keys: other,
      parties,
      ttlSeconds: 300,
      now: () => Date.now()
    })
    const session = {
      id: 's',
      userId: 'u',
      clientId: 'c',
      amr: [],
      impersonatedBy: null,
      authTime: new Date(),
      expiresAt: new Date(Date.now() + 1e6),
      absoluteExpiresAt: new Date(Date.now() + 1e6)
    }
    const forced = async () => {
      await other.rotate({ force: true })
      await other.rotate({ force: true })
      return (await elsewhere.issue({ session, roles: [], generation: 0 })).token
    }
    node.reads.count = 0
    const first = await forced()
    t.match(await tokens.verify(first), { claims: { sid: 's' } })
    t.equal(node.reads.count, 1)
    const [second, begun] = [await forced(), performance.now()]
    const answers = await Promise.all(Array.from({ length: 100 }, () => tokens.verify(second)))
    t.ok(
      answers.every(({ claims }) => claims?.sid === 's'),
      'a hundred at once, within the second of the first: all accepted'
    )
    t.equal(node.reads.count, 2, 'by one read')
    t.ok(performance.now() - begun < 2_000)
    for (const kid of [
      'invented',
      '',
      randomBytes(18).toString('base64url'),
      `${(await node.signer()).kid}x`
    ])
      t.equal(await node.find(kid), null, kid)
    t.equal(node.reads.count, 2, 'a name that this server cannot have made is not looked for')
  }
)

t.test(
  'while the store is away: what is known goes on, what is unknown is 503, and never 401',
  async (t) => {
    const { prisma } = await emptyStore()
    let clock = performance.now()
    const now = () => clock
    const [node, other] = [ringOn(prisma, { now }), ringOn(prisma)]
    await node.open()
    await other.open()
    const known = (await node.signer()).kid
    await other.rotate({ force: true })
    await other.rotate({ force: true })
    const unknown = (await other.signer()).kid
    node.reads.fail = true
    t.equal((await node.signer()).kid, known, 'it goes on signing')
    t.equal((await node.find(known))?.kid, known, 'and verifying')
    await t.rejects(node.find(unknown), 'nobody knows')
    t.equal(node.published().maxAgeSeconds, 300)
    clock += 60_000
    t.equal(node.published().maxAgeSeconds, 0, 'a key set that may be old is not to be kept')
    t.equal((await node.signer()).kid, known)
    clock += 541_000
    await t.rejects(node.signer(), 'after ten minutes its key may have been retired')
    t.equal((await node.find(known))?.kid, known, 'what it signed still counts')
    node.reads.fail = false
    clock += 1_000
    t.equal((await node.signer()).kid, unknown, 'and it comes back by itself')
  }
)

t.test('an older read that ends later changes nothing', async (t) => {
  const { prisma } = await emptyStore()
  const [node, other] = [ringOn(prisma), ringOn(prisma)]
  await node.open()
  await other.open()
  const network = new EventEmitter()
  node.reads.held = once(network, 'delivered')
  const late = node.read()
  node.reads.held = Promise.resolve()
  await other.rotate({ force: true })
  await node.read()
  network.emit('delivered')
  await late
  t.equal((await node.signer()).kid, (await other.signer()).kid)
})

t.test('the command line lists and rotates, and says when it is too early', async (t) => {
  const running = await build(t)
  const { options } = running
  const settings =
    storage === 'embedded'
      ? { dataDir: options.dataDir, authSecret: options.authSecret }
      : {
          databaseUrl: options.databaseUrl,
          redisUrl: options.redisUrl,
          authSecret: options.authSecret,
          baseUrl: running.url
        }
  const cli = async (...words: string[]) => {
    const run = runCli(t, words, settings)
    return { status: await run.exited, stdout: run.stdout, stderr: run.stderr }
  }
  const listed = await cli('keys', 'list')
  t.match(JSON.parse(listed.stdout), [
    { algorithm: 'ES256', state: 'current' },
    { algorithm: 'ES256', state: 'next' }
  ])
  t.notMatch(listed.stdout, /private|"d"/i, 'never a private part')
  t.match(await cli('keys', 'rotate'), {
    status: 1,
    stdout: '',
    stderr: /the next key has not been published long enough: .* [23]\d\d s more/
  })
  const ada = await signUp(running.url)
  const before = await issue(running, ada)
  const rotated = await cli('keys', 'rotate', '--force')
  t.match(JSON.parse(rotated.stdout), [
    { state: 'current' },
    { state: 'next' },
    { state: 'retired', id: kidOf(before) }
  ])
  await until(
    'the server to sign with the new key',
    async () => kidOf(await issue(running, ada)) !== kidOf(before),
    15_000
  )
  t.equal(await check(running, before), 200)
  t.match(await cli('keys', 'rotate', 'now'), {
    status: /[12]/,
    stderr: /usage: holdfast keys rotate/
  })
})

async function age(prisma: PrismaClient, seconds: number): Promise<void> {
  await prisma.$executeRaw`UPDATE "signing_key" SET "createdAt" = "createdAt" - ${seconds}::int * interval '1 second'`
}
