import { randomUUID } from 'node:crypto'
import { request } from 'node:http'
import { gzipSync } from 'node:zlib'
import { assert, asyncProperty, constantFrom } from 'fast-check'
import t from 'tap'
import { accountKey } from '../../src/auth/device.js'
import { limits, type Limit } from '../../src/limits.js'
import { build, password, sessionState, signUp } from '../support/server.js'

/*
 * A body is parsed once: limits, checks and better-auth see the same value, however it was sent.
 */
const running = await build(t, {
  rateLimit: true,
  oneTimeTokens: true,
  trustedProxies: ['127.0.0.1']
})
const { url } = running
/** How much of accounts' budgets has been spent. */
const spentFrom = new Map<string, number>()
watchBudgets()
let networks = 0

/** A new address for each request, so that only the account's budgets count. */
const newAddress = () => `2001:db8:1:${(++networks).toString(16)}::1`

function watchBudgets(): void {
  const { budgets } = running.app
  if (!budgets) throw new Error('RATE_LIMIT is off')
  const [take, giveBack] = [budgets.take.bind(budgets), budgets.giveBack.bind(budgets)]
  budgets.take = async (reply, limit, of) => {
    count(limit, of, 1)
    return take(reply, limit, of)
  }
  budgets.giveBack = async (taking) => {
    count(taking.limit, taking.of, -1)
    await giveBack(taking)
  }
}

function count({ name }: Limit, of: string, change: number): void {
  if (name === limits.account.name) spentFrom.set(of, (spentFrom.get(of) ?? 0) + change)
}

interface Sent {
  path?: string
  method?: string
  /** As sent on the wire, where a name may occur twice. */
  headers?: string[]
  body?: string | Buffer
  address?: string
}

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: { code?: string; message?: string; cause?: string; user?: { email: string } } | null
}

/** Sends a raw request: `fetch` would correct paths and join headers. */
function send({
  path = '/api/auth/sign-in/email',
  method = 'POST',
  headers = [],
  body = '',
  address = newAddress()
}: Sent): Promise<Answer> {
  const { hostname, port, host } = new URL(url)
  const length = body.length > 0 ? ['content-length', String(Buffer.byteLength(body))] : []
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        hostname,
        port,
        path,
        method,
        headers: ['host', host, 'x-forwarded-for', address, ...length, ...headers]
      },
      (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: parse(text)
          })
        )
      }
    )
    outgoing.on('error', reject).end(body)
  })
}

function parse(text: string): Answer['body'] {
  try {
    return JSON.parse(text) as Answer['body']
  } catch {
    return null
  }
}

const json = (value: unknown) => ({
  headers: ['content-type', 'application/json'],
  body: JSON.stringify(value)
})
const form = (fields: string[][]) => ({
  headers: ['content-type', 'application/x-www-form-urlencoded'],
  body: new URLSearchParams(fields).toString()
})

t.test('S1: a type in a parameter does not take a guess past its budget', async (t) => {
  const { email } = await signUp(url)
  const types = [
    'application/json; x="application/x-www-form-urlencoded"',
    'APPLICATION/JSON ;charset="UTF-8"',
    'application/json;charset=utf-8;application/x-www-form-urlencoded'
  ]
  const address = newAddress()
  const statuses: number[] = []
  for (let n = 0; n <= limits.accountFromAddress.max; n++) {
    const { status } = await send({
      address,
      headers: ['content-type', types[n % types.length] ?? ''],
      body: JSON.stringify({ email, password: `a wrong guess ${n}` })
    })
    statuses.push(status)
  }
  t.strictSame(statuses, [...Array.from({ length: limits.accountFromAddress.max }, () => 401), 429])
})

t.test('S1: what cannot be counted is refused before a password is computed', async (t) => {
  const emails: unknown[] = [
    undefined,
    null,
    7,
    true,
    {},
    ['a@example.com'],
    { toString: 'a@example.com' }
  ]
  for (const path of [
    '/api/auth/sign-in/email',
    '/api/auth/sign-up/email',
    '/api/auth/request-password-reset',
    '/api/auth/send-verification-email'
  ]) {
    for (const email of emails) {
      t.match(
        await send({ path, ...json({ email, password, name: 'Eve' }) }),
        { status: 400, body: { code: 'INVALID_INPUT', cause: 'invalid_input' } },
        `${path} ${JSON.stringify(email)}`
      )
    }
    t.match(
      await send({ path }),
      { status: 400, body: { code: 'INVALID_INPUT' } },
      `${path} without a body`
    )
    t.match(
      await send({ path, ...form([['e-mail', 'a@example.com']]) }),
      { status: /^(400|415)$/ },
      `${path} with a form`
    )
  }
})

t.test('a body is JSON or a form, in UTF-8 and uncompressed; all else is 415', async (t) => {
  const { email } = await signUp(url)
  const body = JSON.stringify({ email, password })
  const refused: [what: string, headers: string[], body: string | Buffer][] = [
    ['no type', [], body],
    ['text', ['content-type', 'text/plain'], body],
    ['another JSON', ['content-type', 'application/ld+json'], body],
    ['a type that only begins so', ['content-type', 'application/json-seq'], body],
    ['parts', ['content-type', 'multipart/form-data; boundary=application/json'], body],
    ['a type in a list', ['content-type', 'text/plain, application/json'], body],
    [
      'two types',
      ['content-type', 'application/json', 'content-type', 'application/x-www-form-urlencoded'],
      body
    ],
    [
      'UTF-16',
      ['content-type', 'application/json; charset=utf-16le'],
      Buffer.from(body, 'utf16le')
    ],
    [
      'UTF-16 after UTF-8',
      ['content-type', 'application/json; charset=utf-8; charset="utf-16"'],
      body
    ],
    ['UTF-7', ['content-type', 'application/json;charset=utf-7'], body],
    ['gzip', ['content-type', 'application/json', 'content-encoding', 'gzip'], gzipSync(body)],
    [
      'a list of encodings',
      ['content-type', 'application/json', 'content-encoding', 'identity, gzip'],
      gzipSync(body)
    ],
    ['no type at all', ['content-type', '///'], body]
  ]
  for (const [what, headers, bytes] of refused) {
    t.match(
      await send({ headers, body: bytes }),
      {
        status: 415,
        body: { code: 'UNSUPPORTED_MEDIA_TYPE', message: String, cause: 'unsupported_media_type' }
      },
      what
    )
  }
  t.match(
    await send({
      headers: ['content-type', 'application/json', 'content-encoding', 'Identity'],
      body
    }),
    { status: 200, body: { user: { email } } }
  )
})

t.test('a form is taken where better-auth takes one, and nowhere else', async (t) => {
  const { email, bearer } = await signUp(url)
  t.match(
    await send(
      form([
        ['email', email],
        ['password', password]
      ])
    ),
    { status: 200 }
  )
  for (const path of [
    '/api/auth/one-time-token/verify',
    '/api/auth/change-password',
    '/api/auth/update-user'
  ]) {
    const { headers, body } = form([
      ['token', 'x'],
      ['name', 'Eve']
    ])
    t.match(
      await send({ path, headers: [...headers, 'authorization', `Bearer ${bearer}`], body }),
      { status: 415, body: { code: 'UNSUPPORTED_MEDIA_TYPE' } },
      path
    )
  }
})

t.test('what is not UTF-8, not an object, too deep or about prototypes is 400', async (t) => {
  const { email } = await signUp(url)
  const bodies: Record<string, string | Buffer> = {
    'a byte that is none': Buffer.concat([
      Buffer.from(`{"email":"${email}","password":"`),
      Buffer.from([0xff]),
      Buffer.from('"}')
    ]),
    'half a character': Buffer.concat([
      Buffer.from(`{"email":"${email}","password":"`),
      Buffer.from([0xe2, 0x82]),
      Buffer.from('"}')
    ]),
    'a surrogate in UTF-8': Buffer.concat([
      Buffer.from(`{"email":"${email}","password":"`),
      Buffer.from([0xed, 0xa0, 0x80]),
      Buffer.from('"}')
    ]),
    'a list': '[]',
    'a text': JSON.stringify(email),
    null: 'null',
    'two values': `{}{"email":"${email}"}`,
    'a comment': `{"email":"${email}"/**/}`,
    'a prototype': `{"email":"${email}","password":"x","__proto__":{"email":"a@example.com"}}`,
    'an escaped prototype': `{"email":"${email}","password":"x","\\u005f_proto__":{"email":"a@example.com"}}`,
    'a constructor inside': `{"email":"${email}","password":"x","a":{"constructor":{}}}`,
    'deep lists': `{"email":"${email}","password":${'['.repeat(20_000)}${']'.repeat(20_000)}}`
  }
  for (const [what, body] of Object.entries(bodies)) {
    t.match(
      await send({ headers: ['content-type', 'application/json'], body }),
      { status: 400, body: { code: 'INVALID_INPUT', cause: 'invalid_input' } },
      what
    )
  }
  const badForm = {
    headers: ['content-type', 'application/x-www-form-urlencoded'],
    body: `email=${encodeURIComponent(email)}&password=%ff`
  }
  t.match(
    await send(badForm),
    { status: 400, body: { code: 'INVALID_INPUT' } },
    'a form with an invalid byte is refused'
  )
})

t.test('the value that is counted is the one that signs in: the last of two', async (t) => {
  const [ada, bob] = [await signUp(url), await signUp(url)]
  const twice = `{"email":"${bob.email}","email":"${ada.email.toUpperCase()}","password":"${password}"}`
  t.match(await send({ headers: ['content-type', 'application/json'], body: twice }), {
    status: 200,
    body: { user: { email: ada.email } }
  })
  t.match(await send({ headers: ['content-type', 'application/json'], body: `\uFEFF${twice}` }), {
    status: 200,
    body: { user: { email: ada.email } }
  })
  t.match(
    await send(
      form([
        ['email', bob.email],
        ['email', ada.email],
        ['password', password]
      ])
    ),
    { status: 200, body: { user: { email: ada.email } } }
  )
})

t.test('P12: a request without a body is taken, whatever type it names', async (t) => {
  for (const type of [
    'application/x-www-form-urlencoded',
    'application/json',
    'text/plain',
    'nonsense',
    '///'
  ]) {
    const { browser } = await signUp(url)
    const answer = await browser.fetch('/sessions?except=current', {
      method: 'DELETE',
      headers: { 'content-type': type }
    })
    t.equal(answer.status, 200, `DELETE with ${type}`)
    t.equal(
      (
        await browser.fetch('/api/auth/sign-out', {
          method: 'POST',
          headers: { 'content-type': type }
        })
      ).status,
      200,
      `POST with ${type}`
    )
    t.equal(await sessionState(browser), '401 credential_missing')
  }
  // The body was announced, but is empty.
  for (const type of [
    [],
    ['content-type', 'application/x-www-form-urlencoded'],
    ['content-type', 'application/json'],
    ['content-type', 'text/plain']
  ]) {
    const { bearer } = await signUp(url)
    const headers = ['authorization', `Bearer ${bearer}`, 'transfer-encoding', 'chunked', ...type]
    t.match(
      await send({ path: '/sessions?except=current', method: 'DELETE', headers, body: '' }),
      { status: 200, body: { revoked: 0 } },
      `DELETE with ${type.join(' ')}`
    )
  }
})

/*
 * Where a wrong guess gets a 401, one was spent from the account's budget at that address. Where it
 * does not, no hash was computed. This must hold for every form of request.
 */
t.test('S1: no spelling of a request guesses without spending from the budget', async (t) => {
  const type = constantFrom(
    'application/json',
    'application/x-www-form-urlencoded',
    'Application/JSON',
    'application/json; charset=utf-8',
    'application/json;charset=utf-16',
    'application/json; x="application/x-www-form-urlencoded"',
    'application/x-www-form-urlencoded; x="application/json"',
    'text/plain',
    'multipart/form-data',
    'application/json+x',
    ' application/json',
    ''
  )
  const path = constantFrom(
    '/api/auth/sign-in/email',
    '/api/auth/sign-in/email',
    '/api/auth/sign-in/email',
    '/api/auth/sign-in/email?a=b',
    '/api/auth/sign-in/email/',
    '/api/auth//sign-in/email',
    '//api/auth/sign-in/email',
    '/api/auth/sign-in/%65mail',
    '/api/auth/sign%2Din/email',
    '/api/auth/sign-in%2Femail',
    '/api/auth/Sign-In/Email',
    '/api/auth/./sign-in/email',
    '/api/auth/x/../sign-in/email',
    '/api/auth/sign-in/email;a=b',
    '/API/auth/sign-in/email',
    'http://other.example/api/auth/sign-in/email',
    '/api/auth/sign-in\\email',
    '/api/auth/sign-in/email#a'
  )
  const encoding = constantFrom<string[]>(
    [],
    [],
    [],
    ['content-encoding', 'identity'],
    ['content-encoding', 'gzip']
  )
  const extra = constantFrom(
    'none',
    'none',
    'BOM',
    'NUL',
    'twice',
    'form twice',
    'list',
    'space',
    'upper'
  )
  let guesses = 0
  await assert(
    asyncProperty(type, path, encoding, extra, async (sentType, sentPath, encodingHeaders, how) => {
      const account = `${randomUUID()}@example.com`
      const { status } = await send({
        path: sentPath,
        headers: ['content-type', sentType, ...encodingHeaders],
        body: oddBody(account, how, sentType)
      })
      const spent = spentFrom.get(accountKey(account)) ?? 0
      if (status === 401) guesses++
      if (status === 401 && spent !== 1) throw new Error(`a guess that cost ${spent}`)
      if (status !== 401 && (spent !== 0 || ![400, 404, 415].includes(status)))
        throw new Error(`${status} that cost ${spent}`)
    }),
    { numRuns: 150 }
  )
  t.ok(guesses > 5, `${guesses} of the requests were guesses`)
})

/** A body of the type, with a wrong password for the account. `how` names what is odd about it. */
function oddBody(account: string, how: string, what: string): string {
  if (what.toLowerCase().trim().startsWith('application/x-www'))
    return how === 'form twice'
      ? `email=x%40example.com&email=${account}&password=wrong-guess`
      : `email=${encodeURIComponent(account)}&password=wrong-guess`
  const spelled =
    { NUL: `${account}\\u0000`, space: ` ${account}`, upper: account.toUpperCase() }[how] ?? account
  const email = how === 'list' ? `["${spelled}"]` : `"${spelled}"`
  return `${how === 'BOM' ? '\uFEFF' : ''}{${how === 'twice' ? '"email":"x@example.com",' : ''}"email":${email},"password":"wrong-guess"}`
}
