import { Agent, request } from 'node:http'
import { decodeProtectedHeader } from 'jose'
import t from 'tap'
import { hashToken } from '../../src/session/session-token.js'
import { KEYS_POLL_MS } from '../../src/token/signing-keys.js'
import { accessTokenOf } from '../support/refresh-fixtures.js'
import { build, signUp } from '../support/server.js'
import { counting, GATEWAY_READS } from '../support/count.js'
import { SeededRandom } from '../support/random.js'

/*
 * Ten thousand invented credentials, on every route that takes one. Each is refused with 401 or
 * 400, and none reaches the store.
 */
const ROUNDS = 10_000
const secret = 'a-secret-of-the-gateway-in-this-test'
const running = await build(t, { gatewayClients: [`edge:${secret}`], logLevel: 'warn' })
const { url } = running
const ada = await signUp(url)
const cookieName = running.app.holdfast.auth.cookieName
const random = new SeededRandom(20_261_124)
const agent = new Agent({ keepAlive: true, maxSockets: 16 })
const signed = decodeURIComponent(ada.bearer)
const jwt = await accessTokenOf(running, ada.sessionId)
const [header = '', payload = '', signature = ''] = jwt.split('.')

const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T
const bytes = (length: number, range: number, from: number) =>
  Array.from({ length }, () => String.fromCharCode(from + random.below(range))).join('')

/** A token in the right form. At least one character differs from a valid one. */
function badToken(): string {
  const at = random.below(signed.length)
  // Two alphabets write one signature (base64, base64url): the other's character is not a change.
  const other = pick(
    'ABCxyz019_-+/=.%'
      .split('')
      .filter((character) => character.replace('+', '-').replace('/', '_') !== signed[at])
  )
  return pick([
    () => signed.slice(0, at),
    () => signed.slice(0, at) + other + signed.slice(at + 1),
    () => signed.slice(0, at) + signed.slice(at + 1),
    () => `${signed}${other === '=' ? '==' : other}`,
    () => `${signed}.${signed}`,
    () => `hst1_${bytes(72, 26, 97)}.${bytes(43, 26, 65)}=`,
    () => `hst1_${bytes(random.below(200), 94, 33)}`,
    () =>
      encodeURIComponent(
        encodeURIComponent(encodeURIComponent(running.app.holdfast.auth.toBetterAuth(signed) ?? ''))
      ),
    () => `${signed}%zz`,
    () => `hst1_%c0%ae${bytes(20, 26, 97)}`,
    () => `${signed.slice(0, 77)}.${Buffer.from(bytes(32, 256, 0), 'latin1').toString('base64')}`,
    () => signed.replace('hst1_', pick(['hst2_', 'HST1_', 'hst1', 'hrt1_', 'h1_'])),
    () => bytes(1 + random.below(60), 94, 33),
    () => bytes(40, 126, 129),
    () => `hst1_${'A'.repeat(random.below(7_000))}`,
    () => badJwt(),
    () => badJwt(),
    () => badJwt(),
    () => `eyJhbGciOiJub25lIn0.${Buffer.from(bytes(30, 90, 33)).toString('base64url')}.`
  ])()
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/**
 * An access token in this server's form, with a fault: a part, a character, the header, the key id.
 */
function badJwt(): string {
  const at = random.below(jwt.length)
  const { kid } = decodeProtectedHeader(jwt) as { kid: string }
  return pick([
    () => jwt.slice(0, at),
    // The last character of a signature has unused bits, so it is left unchanged.
    () => {
      const near = Math.min(at, jwt.length - 2)
      return jwt.slice(0, near) + (jwt[near] === 'A' ? 'B' : 'A') + jwt.slice(near + 1)
    },
    () => `${jwt}.${signature}`,
    () => `${header}.${payload}.`,
    () => `${header}..${signature}`,
    () => `${header}.${encode({ sub: ada.id, sid: ada.sessionId, exp: 9e9 })}.${signature}`,
    () =>
      `${encode({ alg: pick(['none', 'HS256', 'RS256', 'ES256']), typ: 'at+jwt', kid: pick([kid, `${kid}A`, kid.toLowerCase(), bytes(22, 26, 97), '', '../../key', 7, null]) })}.${payload}.${pick(['', signature.slice(1), bytes(86, 26, 97)])}`,
    () =>
      `${encode({ alg: 'ES256', typ: 'at+jwt', kid, jku: 'http://127.0.0.1:1/jwks', jwk: {}, crit: ['x'], x: bytes(random.below(3_000), 26, 97) })}.${payload}.${signature}`,
    () => `${header}.${bytes(random.below(5_000), 94, 33)}.${signature}`,
    () =>
      `${Buffer.from(bytes(random.below(60), 256, 0), 'latin1').toString('base64url')}.${payload}.${signature}`,
    () => `ey${jwt}`
  ])()
}

/** Meaningless headers, sometimes more than Node keeps. */
function noise(): string[] {
  return Array.from({ length: pick([0, 5, 50, 50, 1_100]) }, (_one, n) => [`n${n}`, '']).flat()
}

function badHeaders(): string[] {
  const token = badToken()
  const cookieValue = token.replaceAll(/[;,\s"]/g, '')
  return pick([
    () => ['authorization', `Bearer ${token}`],
    () => ['authorization', `bearer  ${token} `],
    () => ['authorization', `Bearer ${token}`, 'authorization', `Bearer ${badToken()}`],
    () => ['authorization', `Bearer ${signed}`, ...noise(), 'authorization', `Bearer ${signed}`],
    () => ['authorization', `Basic ${Buffer.from(token).toString('base64')}`],
    () => ['authorization', token],
    () => ['cookie', `${cookieName}=${cookieValue}`],
    () => ['cookie', `${cookieName}="${cookieValue}"; a=b`],
    () => ['cookie', `${cookieName}=${cookieValue}; ${cookieName}=${signed}`],
    () => [
      'cookie',
      `${cookieName}=${encodeURIComponent(signed)}`,
      'cookie',
      `${cookieName} =${cookieValue}`
    ],
    () => ['cookie', `${cookieName}=${cookieValue}`, 'authorization', `Bearer ${token}`],
    () => ['cookie', `=${cookieValue}; ${cookieName}; ;;`, 'authorization', 'Digest x']
  ])()
}

function send(path: string, headers: string[], method = 'GET', body = ''): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(path, url),
      {
        agent,
        method,
        headers: [
          'host',
          new URL(url).host,
          ...(body ? ['content-length', String(Buffer.byteLength(body))] : []),
          ...headers
        ]
      },
      (response) => {
        response.resume().on('end', () => resolve(response.statusCode ?? 0))
      }
    )
    outgoing.on('error', reject).end(body)
  })
}

/** Runs `work` for each round, sixteen at a time. */
async function rounds(count: number, work: () => Promise<void>): Promise<void> {
  let left = count
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (left-- > 0) await work()
    })
  )
}

t.teardown(() => agent.destroy())

t.test('ten thousand bad credentials: 401 or 400, and no query', async (t) => {
  const statuses = new Map<number, number>()
  const unexpected: string[] = []
  // Reads of the keys run on a schedule of their own, which no credential may change.
  const { signingKeys } = running.app.holdfast
  const read = signingKeys.read.bind(signingKeys)
  const keyReads = t.capture(signingKeys, 'read', () => read())
  const begun = performance.now()
  const counts = await counting(
    () =>
      rounds(ROUNDS, async () => {
        const headers = badHeaders()
        const path = pick([
          '/verify',
          '/verify',
          '/verify/for/user/x',
          '/session',
          '/verify?role=user&credential=bearer'
        ])
        const status = await send(
          path,
          headers,
          path === '/session' ? 'GET' : pick(['GET', 'HEAD', 'OPTIONS', 'PROPFIND'])
        )
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        // 431: more headers than are kept. A second credential may be among the others.
        if (status !== 401 && status !== 400 && !(status === 431 && headers.length > 2_000))
          unexpected.push(`${status} ${path} ${headers.join(' ').slice(0, 300)}`)
      }),
    GATEWAY_READS
  )
  t.strictSame(unexpected, [])
  t.strictSame(counts, { queries: 0, commands: 0 })
  t.ok(
    keyReads().length <= 1 + (performance.now() - begun) / KEYS_POLL_MS,
    `${keyReads().length} reads of the keys`
  )
  t.ok(
    (statuses.get(401) ?? 0) > 1000 && (statuses.get(400) ?? 0) > 500,
    JSON.stringify([...statuses])
  )
})

t.test('bad tokens in the questions of gateways are inactive, and cost no query', async (t) => {
  const authorization = `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`
  const form = ['authorization', authorization, 'content-type', 'application/x-www-form-urlencoded']
  const { gateways } = running.app.holdfast
  await gateways.authenticate('edge', hashToken(secret))
  const counts = await counting(async () => {
    await rounds(1_000, async () => {
      const token = badToken()
      const status = await send(
        '/oauth2/introspect',
        form,
        'POST',
        new URLSearchParams({ token }).toString()
      )
      // At most as long as a token can be, and not empty.
      if (status !== (token !== '' && token.length <= 8192 ? 200 : 400))
        t.fail(`${status} ${token.slice(0, 200)}`)
    })
    for (let i = 0; i < 5; i++) {
      const tokens = Array.from({ length: 1_000 }, badToken).map((token) => token.slice(0, 1_500))
      const response = await fetch(`${url}/sessions/check`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify({ tokens })
      })
      const { results } = (await response.json()) as {
        results: { active: boolean; cause: string }[]
      }
      t.equal(results.length, 1_000)
      t.ok(results.every(({ active, cause }) => !active && cause === 'credential_malformed'))
    }
  })
  // The gateways are read again in the background, independently of requests.
  t.ok(counts.queries <= 20 && counts.commands === 0, JSON.stringify(counts))
})

t.test('a thousand bad gateways: refused, at a few queries', async (t) => {
  const counts = await counting(() =>
    rounds(1_000, async () => {
      const pair = pick([
        () => `edge:${bytes(40, 90, 33)}`,
        () => `${bytes(20, 90, 33)}:${secret}`,
        () => bytes(30, 255, 0),
        () => `edge:${secret}:`,
        () => `edge:${secret.slice(1)}`,
        () => ':',
        () => `edge\0:${secret}`
      ])()
      const authorization = pick([
        `Basic ${Buffer.from(pair).toString('base64')}`,
        `Basic ${pair.replaceAll(/[^!-~]/g, '')}`,
        `Bearer ${signed}`
      ])
      const status = await send(
        '/sessions/check',
        ['authorization', authorization, 'content-type', 'application/json'],
        'POST',
        '{"tokens":["x"]}'
      )
      if (status !== 401) t.fail(`${status} ${authorization}`)
    })
  )
  t.ok(counts.queries < 200, `${counts.queries} queries`)
  t.equal(
    (await fetch(`${url}/verify`, { headers: { authorization: `Bearer ${ada.bearer}` } })).status,
    200,
    'the server still answers'
  )
})

t.test(
  'S1: three hundred content types: one of two is read, all else is 415 before anything is looked up',
  async (t) => {
    const essences = [
      'application/json',
      'APPLICATION/JSON',
      'application/x-www-form-urlencoded',
      'text/plain',
      'application/jsonp',
      'application/json5',
      'multipart/form-data',
      '*/*',
      'json',
      ''
    ]
    const parameters = [
      '',
      '; charset=utf-8',
      ';charset="UTF-8"',
      '; x="application/x-www-form-urlencoded"',
      '; x=application/json',
      '; charset=utf-16',
      '; charset=latin1',
      ' ;',
      ';;',
      ', text/plain'
    ]
    const json = JSON.stringify({ email: 'nobody@example.com', password: 'a guess that is wrong' })
    const form = 'email=nobody%40example.com&password=a+guess+that+is+wrong'
    const seen = new Map<number, number>()
    for (let round = 0; round < 300; round++) {
      const essence = pick(essences)
      const parameter = pick(parameters)
      const body = pick([json, form, `\ufeff${json}`, `${json}x`, '[]', 'null'])
      const isRead =
        /^application\/(json|x-www-form-urlencoded)$/i.test(essence) &&
        !/utf-16|latin1|,/.test(parameter)
      const isForm = /form/i.test(essence)
      const counts = await counting(async () => {
        const status = await send(
          '/api/auth/sign-in/email',
          ['content-type', essence + parameter],
          'POST',
          body
        )
        seen.set(status, (seen.get(status) ?? 0) + 1)
        const isGuess = isForm ? body === form : body.replace('\ufeff', '') === json
        const expected = !isRead ? [415] : isGuess ? [401] : [400]
        if (!expected.includes(status))
          t.fail(`${status} for ${essence}${parameter} with ${body.slice(0, 40)}`)
      })
      if (!isRead && counts.queries > 0)
        t.fail(`${counts.queries} queries for ${essence}${parameter}`)
    }
    t.ok(
      [401, 400, 415].every((status) => (seen.get(status) ?? 0) > 10),
      JSON.stringify([...seen])
    )
  }
)
