import {
  headerRef,
  parameterRef,
  schemaRef,
  type ApiResponse,
  type Components,
  type Link,
  type Located,
  type Operation,
  type Schema
} from './document.js'
import { asksForMail, mailRefusals, takesProof } from './mail.js'

/**
 * Calls of better-auth that can begin a session, and their description for an app without cookies.
 */
const begins = new Set([
  '/sign-up/email',
  '/sign-in/email',
  '/sign-in/email-otp',
  '/magic-link/verify',
  '/two-factor/verify-totp',
  '/two-factor/verify-otp',
  '/two-factor/verify-backup-code',
  '/two-factor/disable',
  '/one-time-token/verify',
  '/change-password'
])
/** Those of them after which a second factor may be pending. */
const mayWantFactor = new Set(['/sign-in/email', '/sign-in/email-otp', '/magic-link/verify'])
/** Calls that verify a password. They answer with a `device_token` as well. */
const provesPassword = new Set(['/two-factor/enable', '/two-factor/generate-backup-codes'])
/** Calls that continue a sign-in whose second factor is pending. */
const meetsChallenge = new Set([
  '/two-factor/verify-totp',
  '/two-factor/verify-otp',
  '/two-factor/verify-backup-code',
  '/two-factor/send-otp'
])
/** Calls that end sessions. The last copy of a session may end a little later than the answer. */
const ends = new Set([
  '/sign-out',
  '/revoke-session',
  '/revoke-sessions',
  '/revoke-other-sessions',
  '/change-password',
  '/reset-password',
  '/email-otp/reset-password',
  '/verify-email',
  '/email-otp/verify-email',
  '/sign-in/email-otp',
  '/magic-link/verify',
  '/not-me',
  '/delete-user',
  '/two-factor/enable',
  '/two-factor/disable',
  '/two-factor/verify-totp',
  '/admin/ban-user',
  '/admin/remove-user',
  '/admin/erase-user',
  '/admin/set-user-password',
  '/admin/revoke-user-session',
  '/admin/revoke-user-sessions'
])
/** Calls that recognise a device. */
const knowsDevice = new Set([...begins, ...provesPassword])

/** The codes of better-auth and of ours that a client gets, by path and status. */
const refusedWith: Record<string, Record<string, string>> = {
  ...mailRefusals,
  '/sign-up/email': {
    400: 'A field is wrong: `INVALID_EMAIL`, `PASSWORD_TOO_SHORT`, `PASSWORD_TOO_LONG`, `VALIDATION_ERROR`.',
    422: 'There is an account with this address: `USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL`.'
  },
  '/sign-in/email': {
    401: 'The address or the password is wrong (`INVALID_EMAIL_OR_PASSWORD`), or the account changed meanwhile (`CREDENTIAL_CHANGED`).',
    403: 'The user is banned (`BANNED_USER`), the address is not proven where that is required (`EMAIL_NOT_VERIFIED`), or the origin is not trusted.',
    429: 'Too many guesses (`rate_limited`), or as many sessions as are allowed (`TOO_MANY_SESSIONS`): `Retry-After` says when to come back.',
    503: '`store_unavailable`, or `overloaded`: nothing was checked, and no guess was spent. Send it again after `Retry-After`.'
  },
  '/two-factor/enable': {
    403: 'The address is not proven, and mail is on (`EMAIL_NOT_VERIFIED`), or the sign-in of this session is not recent.'
  },
  '/two-factor/verify-totp': {
    401: 'The code is wrong or was used before (`INVALID_CODE`), or the challenge is over (`INVALID_TWO_FACTOR_COOKIE`): then sign in again.',
    429: 'Too many wrong codes: `Retry-After` says when to come back.'
  },
  '/two-factor/verify-backup-code': {
    401: 'The code is wrong or was used before (`INVALID_BACKUP_CODE`), or the challenge is over (`INVALID_TWO_FACTOR_COOKIE`): then sign in again.'
  }
}

const refresh = (token: string): Link => ({
  operationId: 'refreshTokens',
  description: 'Before the access token expires.',
  requestBody: { grant_type: 'refresh_token', refresh_token: token }
})
const revoke = (token: string): Link => ({
  operationId: 'revokeToken',
  description: 'To sign out.',
  requestBody: { token }
})
const withChallenge = (operationId: string): Link => ({
  operationId,
  description: 'Where a second factor is pending.',
  parameters: { 'header.Two-Factor-Challenge': '$response.body#/challenge' }
})

/** Describes what better-auth's answers carry for an app: tokens, a challenge, a device token. */
export function describeSignIn({ path, operation }: Located): void {
  const { parameters = [], responses } = operation
  const answer = responses['200']
  if (begins.has(path) || asksForMail.has(path)) parameters.push(parameterRef('Token-Transport'))
  if (begins.has(path)) parameters.push(parameterRef('Device-Name'))
  if (asksForMail.has(path) || takesProof.has(path)) parameters.push(parameterRef('Mail-Challenge'))
  if (knowsDevice.has(path)) parameters.push(parameterRef('Device-Token'))
  if (meetsChallenge.has(path)) parameters.push(parameterRef('Two-Factor-Challenge'))
  if (parameters.length > 0) operation.parameters = parameters
  if (answer && (begins.has(path) || provesPassword.has(path))) describeAnswer(path, answer)
  if (answer && asksForMail.has(path)) describeHandle(answer)
  if (answer && ends.has(path)) give(answer, 'Session-Revocation')
  for (const [status, description] of Object.entries(refusedWith[path] ?? {}))
    Object.assign(responses[status] ?? {}, { description })
}

function describeAnswer(path: string, answer: ApiResponse): void {
  const media = answer.content?.['application/json']
  if (!media) return
  const beginning = begins.has(path)
  const more: Record<string, Schema> = {
    ...(beginning
      ? { tokens: { ...schemaRef('Tokens'), description: 'With `Token-Transport: body`.' } }
      : {}),
    device_token: {
      type: 'string',
      description:
        'With `Token-Transport: body`: keep it past any sign-out, and send it as `Device-Token` with every sign-in.'
    }
  }
  if (path === '/sign-up/email') Object.assign(more, { challenge: mailChallenge })
  if (mayWantFactor.has(path)) {
    answer.description = 'A session has begun, or a second factor is pending.'
    delete media.schema?.['description']
    Object.assign(more, {
      twoFactorRedirect: {
        type: 'boolean',
        description: 'A second factor is pending, and no session has begun yet.'
      },
      twoFactorMethods: {
        type: 'array',
        items: { type: 'string' },
        description: 'Which of them can be shown: `totp`, `otp`.'
      },
      challenge: {
        type: 'string',
        description:
          'With `Token-Transport: body`, where a second factor is pending: send it back as `Two-Factor-Challenge` with the code. Good for ten minutes.'
      }
    })
  }
  media.schema = {
    ...media.schema,
    type: 'object',
    properties: { ...media.schema?.properties, ...more }
  }
  give(answer, 'Set-Cookie', 'Set-Device-Token')
  if (!beginning) return
  give(answer, 'Set-Auth-Token')
  answer.links = {
    refresh: refresh('$response.body#/tokens/refresh_token'),
    revoke: revoke('$response.body#/tokens/refresh_token'),
    signInAgain: {
      operationId: 'signInEmail',
      description: 'From the same device.',
      parameters: { 'header.Device-Token': '$response.body#/device_token' }
    },
    ...(mayWantFactor.has(path)
      ? {
          verifyTotp: withChallenge('verifyTotp'),
          verifyBackupCode: withChallenge('verifyBackupCode')
        }
      : {})
  }
}

const mailChallenge = {
  type: 'string',
  description:
    'With `Token-Transport: body`, where mail is on: keep it, and send it as `Mail-Challenge` with the code of the mail. A browser has a cookie for it.'
}

/** Describes the handle, which the codes of a mail are good with. */
function describeHandle(answer: ApiResponse): void {
  const media = answer.content?.['application/json']
  if (!media) return
  media.schema = {
    ...media.schema,
    type: 'object',
    properties: { ...media.schema?.properties, challenge: mailChallenge }
  }
  give(answer, 'Set-Cookie')
}

function give(response: ApiResponse, ...names: string[]): void {
  response.headers = {
    ...response.headers,
    ...Object.fromEntries(names.map((name) => [name, headerRef(name)]))
  }
}

/** Describes the headers of our own routes, and where their tokens are used. */
export function describeTokens({ path, operation }: Located): void {
  const { responses } = operation
  const answer = responses['200']
  if (path === '/oauth2/token' && answer) {
    answer.description =
      'The next pair. Store its refresh token before you use its access token; the old one is dead.'
    answer.links = {
      refresh: refresh('$response.body#/refresh_token'),
      revoke: revoke('$response.body#/refresh_token')
    }
    replaceIdempotencyKey(operation)
  }
  if (path.startsWith('/oauth2/')) operation.security ??= []
  if (path === '/oauth2/revoke' && responses['503']) give(responses['503'], 'Session-Revocation')
  if (path.startsWith('/verify') && answer)
    give(answer, 'Remote-User', 'Remote-Email', 'Remote-Name', 'Remote-Groups', 'X-Session-Id')
  if (path.startsWith('/verify') && responses['302']) give(responses['302'], 'Location')
  if (path === '/.well-known/jwks.json' && answer) give(answer, 'ETag', 'Cache-Control')
}

function replaceIdempotencyKey(operation: Operation): void {
  operation.parameters = [
    ...(operation.parameters ?? []).filter(
      (parameter) => !('name' in parameter && parameter.name.toLowerCase() === 'idempotency-key')
    ),
    parameterRef('Idempotency-Key')
  ]
}

const header = (description: string, type = 'string') => ({ description, schema: { type } })
const parameter = (name: string, description: string, schema: Schema, more: object = {}) => ({
  name,
  in: 'header',
  required: false,
  description,
  schema,
  ...more
})

/** Headers and parameters by name. */
export const signInComponents: Components = {
  parameters: {
    'Token-Transport': parameter(
      'Token-Transport',
      'How the credentials of a new session travel: `cookie`, or `body` for an app without cookies, which is answered `tokens` and no cookie. `body` is refused (400) where a session cookie was sent.',
      { type: 'string', enum: ['cookie', 'body'], default: 'cookie' },
      {
        examples: {
          browser: { summary: 'A browser', value: 'cookie' },
          app: { summary: 'An app', value: 'body' }
        }
      }
    ),
    'Two-Factor-Challenge': parameter(
      'Two-Factor-Challenge',
      'The `challenge` of the sign-in whose second factor is pending. Browsers have a cookie for it.',
      { type: 'string', pattern: '^[A-Za-z0-9_-]+$' }
    ),
    'Mail-Challenge': parameter(
      'Mail-Challenge',
      'The `challenge` of the request that asked for the mail, or of the sign-up. Browsers have a cookie for it.',
      { type: 'string', pattern: '^[A-Za-z0-9_-]{32}$' }
    ),
    'Device-Token': parameter(
      'Device-Token',
      'The newest `device_token` that this installation was given. It authenticates nobody: who floods the account with guesses does not delay a device that it knows.',
      { type: 'string' }
    ),
    'Device-Name': parameter(
      'Device-Name',
      'What the person calls the device: the name of the session that this request begins. UTF-8, percent-encoded (`encodeURIComponent`); 64 characters are kept. Where a second factor follows it counts with the code.',
      { type: 'string' },
      { examples: { app: { summary: 'An app', value: 'Ada%E2%80%99s%20phone' } } }
    ),
    'Idempotency-Key': parameter(
      'Idempotency-Key',
      'A new one for each refresh, and the same for its retries: a retry is given the same successor, also after `REFRESH_GRACE_SECONDS`.',
      { type: 'string', pattern: '^[\\x20-\\x7e]{8,128}$' },
      { example: 'b52c5d1e-4c0f-4a6b-9d1e-7f0a3c2b1d4e' }
    )
  },
  headers: {
    'Set-Cookie': header(
      'The session cookie, the one of the device, and the one of a request for a mail; none with `Token-Transport: body`.'
    ),
    'Set-Auth-Token': header(
      'The session token, where no session cookie was sent and no `tokens` are in the body. Send it as a bearer token.'
    ),
    'Set-Device-Token': header(
      'The `device_token` for a client that reads `set-auth-token`: send it back as `Device-Token`.'
    ),
    'Session-Revocation': header(
      '`pending; effective-by="<time>"`: the session has ended in the store, and a cache could not be told yet. At that time every copy has ended.'
    ),
    'Retry-After': header('Seconds to wait before the same request is sent again.', 'integer'),
    'WWW-Authenticate': header('`Bearer` (RFC 6750) with the cause, or `Basic` for gateways.'),
    Allow: header('The methods that are allowed here.'),
    'RateLimit-Limit': header(
      'How many requests are allowed in the window; with RATE_LIMIT=on.',
      'integer'
    ),
    'RateLimit-Remaining': header('How many are left in it.', 'integer'),
    'RateLimit-Reset': header('Seconds until it ends.', 'integer'),
    Location: header('The page to sign in at.'),
    ETag: header('Changes with the keys.'),
    'Cache-Control': header('How long a copy may be kept.'),
    'Remote-User': header('The id of the user.'),
    'Remote-Email': header('The verified e-mail address; empty without one.'),
    'Remote-Name': header('The name, percent-encoded where a header cannot carry it.'),
    'Remote-Groups': header('The roles, with commas between them.'),
    'X-Session-Id': header('The id of the session.')
  }
}
