import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import t, { type Test } from 'tap'
import { errorCodes } from '../../src/errors.js'
import type { ApiDocument, ApiResponse, Link, Operation } from '../../plugins/openapi/document.js'
import { totp } from '../support/device.js'
import { Browser, build, password, proveAddress } from '../support/server.js'

const running = await build(t, { rateLimit: true, oneTimeTokens: true })
const { url } = running
const document = (await (await fetch(`${url}/openapi.json`)).json()) as ApiDocument & {
  paths: NonNullable<ApiDocument['paths']>
}
const ajv = formats.default(new Ajv2020({ strict: false }))

const operations = Object.entries(document.paths).flatMap(([path, byMethod]) =>
  Object.entries(byMethod).map(([method, operation]) => ({ path, method, operation }))
)

function find(operationId: string): { path: string; method: string; operation: Operation } {
  const found = operations.find(({ operation }) => operation.operationId === operationId)
  if (!found) throw new Error(`no operation ${operationId}`)
  return found
}

const schemes = (operationId: string) =>
  (find(operationId).operation.security ?? []).flatMap((scheme) => Object.keys(scheme))

interface Resolved {
  name: string
  in: string
  required?: boolean
  example?: string
  examples?: Record<string, { value: string }>
}

function parametersOf({ parameters = [] }: Operation): Resolved[] {
  return parameters.map((parameter) => {
    if (!('$ref' in parameter)) return parameter as unknown as Resolved
    return document.components?.parameters?.[parameter.$ref.split('/').at(-1) ?? ''] as Resolved
  })
}

interface Answer {
  status: number
  described: ApiResponse
  headers: Headers
  body: Record<string, unknown>
}

interface Asking {
  /** Fields beside or instead of those of the example. */
  body?: Record<string, unknown>
  headers?: Record<string, string>
  accessToken?: string
  path?: Record<string, string>
}

/** Sends an operation's example, and checks the answer against the schema of its status. */
async function ask(
  t: Test,
  operationId: string,
  { body = {}, headers = {}, accessToken, path: inPath = {} }: Asking = {}
): Promise<Answer> {
  const { path, method, operation } = find(operationId)
  const [type = '', media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? []
  const sent = new Headers(headers)
  if (media) sent.set('content-type', type)
  for (const { name, in: place, example, examples } of parametersOf(operation)) {
    const value = examples?.['app']?.value ?? example
    if (place === 'header' && value !== undefined && !sent.has(name)) sent.set(name, value)
  }
  if (accessToken !== undefined) {
    t.ok(
      operation.security?.some((scheme) => 'bearer' in scheme),
      `${operationId} takes a bearer token`
    )
    sent.set('authorization', `Bearer ${accessToken}`)
  }
  const whole = { ...(media?.example as object), ...body } as Record<string, string>
  const form = type === 'application/x-www-form-urlencoded'
  const response = await fetch(
    url + path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => inPath[name] ?? ''),
    {
      method: method.toUpperCase(),
      headers: sent,
      ...(media ? { body: form ? new URLSearchParams(whole) : JSON.stringify(whole) } : {})
    }
  )
  const text = await response.text()
  const described = operation.responses[response.status]
  if (!described) throw new Error(`${operationId} ${response.status} is not described: ${text}`)
  const answerType = response.headers.get('content-type')?.split(';')[0] ?? ''
  const schema = described.content?.[answerType]?.schema
  const parsed = (text ? JSON.parse(text) : {}) as Record<string, unknown>
  if (text) {
    const validate = ajv.compile({ ...schema, components: document.components })
    t.ok(
      schema && validate(parsed),
      `${operationId} ${response.status}: ${ajv.errorsText(validate.errors)} in ${text}`
    )
  }
  for (const name of [
    'set-auth-token',
    'set-device-token',
    'set-cookie',
    'session-revocation',
    'retry-after',
    'www-authenticate'
  ]) {
    if (response.headers.has(name))
      t.ok(
        Object.keys(described.headers ?? {}).some((each) => each.toLowerCase() === name),
        `${operationId} ${response.status} describes ${name}`
      )
  }
  return { status: response.status, described, headers: response.headers, body: parsed }
}

/** The value that a link of an answer puts into the next request. */
function follow({ described, body }: Answer, name: string): { to: string } & Asking {
  const link = described.links?.[name] as Link
  const value = (expression: string): string => {
    if (!expression.startsWith('$response.body#/')) return expression
    return String(
      expression
        .slice('$response.body#/'.length)
        .split('/')
        .reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], body)
    )
  }
  const headers = Object.fromEntries(
    Object.entries(link.parameters ?? {}).map(([key, expression]) => [
      key.replace('header.', ''),
      value(expression)
    ])
  )
  const fields = Object.fromEntries(
    Object.entries(link.requestBody ?? {}).map(([key, expression]) => [
      key,
      value(String(expression))
    ])
  )
  return { to: link.operationId, headers, body: fields }
}

const tokensOf = ({ body }: Answer) =>
  body['tokens'] as { access_token: string; refresh_token: string }

t.test('O14: the examples of the mobile flow are answered as it is described', async (t) => {
  const signedUp = await ask(t, 'signUpWithEmailAndPassword')
  t.equal(signedUp.status, 200)
  t.notOk(signedUp.headers.has('set-cookie'))
  t.type(signedUp.body['device_token'], 'string')
  const again = follow(signedUp, 'signInAgain')
  const signedIn = await ask(t, again.to, again)
  t.equal(signedIn.status, 200)
  const { access_token: accessToken } = tokensOf(signedIn)

  t.equal((await ask(t, 'checkSession', { accessToken })).status, 200)
  const listed = await ask(t, 'listSessions', { accessToken })
  t.equal((listed.body['sessions'] as unknown[]).length, 2)
  const other = (listed.body['sessions'] as { id: string; current: boolean }[]).find(
    ({ current }) => !current
  )
  t.equal(
    (await ask(t, 'listSessionEvents', { accessToken, path: { id: other?.id ?? '' } })).status,
    200
  )
  t.equal((await ask(t, 'endSession', { accessToken, path: { id: other?.id ?? '' } })).status, 200)
  t.equal((await ask(t, 'endSession', { accessToken, path: { id: 'no-uuid' } })).status, 400)

  const { to, ...first } = follow(signedIn, 'refresh')
  const refreshed = await ask(t, to, first)
  t.equal(refreshed.status, 200)
  t.strictSame(
    (await ask(t, to, first)).body['refresh_token'],
    refreshed.body['refresh_token'],
    'a request with the same key gets the same token'
  )
  t.equal(
    (await ask(t, 'refreshTokens', { body: { refresh_token: 'hrt1_x' } })).body['cause'],
    'refresh_malformed'
  )
  t.equal(
    (await ask(t, 'refreshTokens', { body: { refresh_token: 'hrt1_x', grant_type: 'password' } }))
      .body['error'],
    'unsupported_grant_type'
  )

  const out = follow(refreshed, 'revoke')
  t.equal((await ask(t, out.to, out)).status, 200)
  t.equal((await ask(t, 'checkSession', { accessToken })).body['cause'], 'session_revoked')
  const over = follow(refreshed, 'refresh')
  t.match((await ask(t, over.to, over)).body, { error: 'invalid_grant', cause: 'session_revoked' })
})

t.test('O14: a second factor goes by the challenge, as the links say', async (t) => {
  const account = { email: 'grace@example.com', name: 'Grace Hopper' }
  const signedUp = await ask(t, 'signUpWithEmailAndPassword', { body: account })
  const { access_token: accessToken } = tokensOf(signedUp)
  await proveAddress({ email: account.email, browser: new Browser(url) })
  const enabled = await ask(t, 'enableTwoFactor', { accessToken })
  t.equal(enabled.status, 200)
  const totpURI = String(enabled.body['totpURI'])
  const set = await ask(t, 'verifyTotp', { accessToken, body: { code: totp(totpURI, -1) } })
  t.equal(set.status, 200)

  const pending = await ask(t, 'signInEmail', { body: { email: account.email } })
  t.match(pending.body, { twoFactorRedirect: true, twoFactorMethods: ['totp'] })
  const { to, headers = {} } = follow(pending, 'verifyTotp')
  t.match(await ask(t, to, { headers, body: { code: '000000' } }), {
    status: 401,
    body: { code: 'INVALID_CODE' }
  })
  t.equal(
    (await ask(t, to, { headers: { 'Two-Factor-Challenge': 'x' } })).body['cause'],
    'invalid_input'
  )
  const verified = await ask(t, to, { headers, body: { code: totp(totpURI) } })
  t.equal(verified.status, 200)
  t.equal(
    (await ask(t, 'checkSession', { accessToken: tokensOf(verified).access_token })).status,
    200
  )

  const second = follow(
    await ask(t, 'signInEmail', { body: { email: account.email } }),
    'verifyBackupCode'
  )
  const [code = ''] = enabled.body['backupCodes'] as string[]
  t.ok(tokensOf(await ask(t, second.to, { headers: second.headers ?? {}, body: { code } })))
  const asCookie = await ask(t, 'signInEmail', {
    headers: { 'Token-Transport': 'cookie' },
    body: { email: account.email }
  })
  t.ok(asCookie.headers.has('set-cookie'))
})

t.test(
  'O14: refusals of better-auth and of this server are described with their causes',
  async (t) => {
    t.match(await ask(t, 'signInEmail', { body: { password: 'not her password' } }), {
      status: 401,
      body: { code: 'INVALID_EMAIL_OR_PASSWORD' }
    })
    t.equal((await ask(t, 'signUpWithEmailAndPassword')).status, 422)
    t.match(await ask(t, 'signInEmail', { headers: { 'Token-Transport': 'pigeon' } }), {
      status: 400,
      body: { cause: 'invalid_input', code: 'INVALID_INPUT' }
    })
    t.match(
      await ask(t, 'signInEmail', {
        headers: { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }
      }),
      { status: 415 }
    )
    t.match(await ask(t, 'signInEmail', { body: { name: 'x'.repeat(200_000) } }), { status: 413 })
    t.match(await ask(t, 'checkSession'), { status: 401, body: { cause: 'credential_missing' } })
    const schemas = document.components?.schemas as Record<
      string,
      { properties?: { cause?: { enum: string[] }; error?: { enum: string[] } } }
    >
    const causesOf = (name: string) => schemas[name]?.properties?.cause?.enum ?? []
    // The operations that have each code: all of them, better-auth's routes with a password, and
    // the revocation.
    const unavailable = (cause: string) =>
      ['Problem503', 'AuthProblem503', 'OAuthError503'].filter((name) =>
        causesOf(name).includes(cause)
      )
    t.strictSame(unavailable('store_unavailable'), [
      'Problem503',
      'AuthProblem503',
      'OAuthError503'
    ])
    t.strictSame(unavailable('overloaded'), ['AuthProblem503'])
    t.strictSame(unavailable('revocation_pending'), ['OAuthError503'])
    for (const cause of ['session_revoked', 'refresh_reused', 'client_mismatch', 'invalid_input'])
      t.ok(causesOf('OAuthError400').includes(cause), cause)
    t.strictSame(schemas['OAuthError400']?.properties?.error?.enum.toSorted(), [
      'invalid_client',
      'invalid_grant',
      'invalid_request',
      'unsupported_grant_type'
    ])
    const named = new Set(Object.keys(schemas).flatMap(causesOf))
    // Codes of refusals before there is a route, or on routes that are not operations.
    const elsewhere = ['request_timeout', 'uri_too_long', 'headers_too_large', 'internal']
    t.strictSame(
      errorCodes.filter((cause) => !named.has(cause) && !elsewhere.includes(cause)),
      []
    )
    t.end()
  }
)

t.test(
  'O14: every operation has an id of its own, a summary, a tag that is explained, and who may ask',
  (t) => {
    const ids = operations.map(({ operation }) => operation.operationId ?? '')
    t.strictSame(
      ids.filter((id, at) => !/^[a-z][A-Za-z0-9]+$/.test(id) || ids.indexOf(id) !== at),
      []
    )
    const tags = new Set(document.tags?.map(({ name }) => name))
    for (const { path, method, operation } of operations) {
      t.ok(operation.summary, `${method} ${path} has a summary`)
      t.ok(
        operation.tags?.every((tag) => tags.has(tag)) && operation.tags.length > 0,
        `${method} ${path} has a tag: ${operation.tags}`
      )
    }
    t.strictSame(schemes('signInEmail'), [])
    t.strictSame(schemes('refreshTokens'), [])
    t.strictSame(schemes('checkSession'), ['cookie', 'bearer'])
    t.strictSame(schemes('generateOneTimeToken'), ['cookie', 'sessionToken'])
    t.strictSame(schemes('introspectToken'), ['gateway'])
    t.notOk(document.paths['/api/auth/sign-in/social'], 'endpoints that are off are not described')
    t.notOk(document.paths['/api/auth/get-session']?.['post'])
    t.end()
  }
)

t.test('O13: the example body of every operation can be sent from a page', async (t) => {
  const page = new Browser(url)
  const email = 'page@example.com'
  t.equal(
    (
      await page.post('/api/auth/sign-up/email', {
        ...(find('signUpWithEmailAndPassword').operation.requestBody?.content['application/json']
          ?.example as object),
        email
      })
    ).status,
    200
  )
  t.equal((await page.post('/api/auth/sign-in/email', { email, password })).status, 200)
  for (const { path, method, operation } of operations) {
    for (const [type, { example, schema }] of Object.entries(
      operation.requestBody?.content ?? {}
    )) {
      t.notMatch(
        JSON.stringify(example),
        /URL|redirect/i,
        `${path}: the example has no address to return to`
      )
      const validate = ajv.compile({ ...schema, components: document.components })
      t.ok(validate(example), `${path}: ${ajv.errorsText(validate.errors)}`)
      if (type !== 'application/json' || /delete|sign-out|revoke|remove|change-password/.test(path))
        continue
      const response = await page.fetch(path, {
        method: method.toUpperCase(),
        headers: { 'content-type': type },
        body: JSON.stringify(example)
      })
      const text = await response.text()
      t.notMatch(
        text,
        /CALLBACK_URL|VALIDATION_ERROR|credential_ambiguous/,
        `${path} ${response.status} ${text}`
      )
    }
  }
})
