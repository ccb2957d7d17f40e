/**
 * Every refusal that a client can see. `cause` is stable: clients switch on it and never on the
 * text. 401 means that the credential is invalid: sign in again. 503 means that the answer is not
 * known: try again, and keep the cookie.
 */
const definitions = {
  credential_missing: [401, 'No session credential was sent.'],
  credential_malformed: [401, 'The credential is not one that this server issued.'],
  session_unknown: [401, 'There is no such session.'],
  session_revoked: [401, 'The session has been revoked.'],
  session_expired: [401, 'The session has expired.'],
  user_banned: [401, 'The user is banned.'],
  user_gone: [401, 'The user no longer exists.'],
  gateway_unknown: [401, 'The gateway or its secret is not known.'],
  token_expired: [401, 'The access token has expired: use the refresh token.'],
  credential_ambiguous: [400, 'More than one Authorization header or session cookie was sent.'],
  invalid_input: [400, 'The request is not valid.'],
  invalid_email: [400, 'The e-mail address is not valid.'],
  password_too_short: [400, 'Password too short: it must have at least 8 characters.'],
  password_too_long: [400, 'Password too long: it must have at most 128 characters.'],
  password_too_common: [
    400,
    'This password is one of the first that are tried: choose another one.'
  ],
  grant_type_unsupported: [400, 'This grant type is not supported: the only one is refresh_token.'],
  refresh_malformed: [400, 'This is no refresh token of this server.'],
  refresh_unknown: [400, 'The refresh token is not one that this session was given.'],
  refresh_reused: [
    400,
    'The refresh token had been used before: the session has ended, for one of its users may be a thief.'
  ],
  client_mismatch: [
    400,
    'The client_id is not that of the session (holdfast, where none was configured). The session goes on.'
  ],
  role_missing: [403, 'A required role is missing.'],
  access_token_insufficient: [
    403,
    'An access token is not enough here: use the session token, or send the password as well where the endpoint takes one.'
  ],
  reauthentication_required: [
    403,
    'This needs a sign-in of the last ten minutes: sign in again, or show the password, and the second factor where there is one.'
  ],
  right_changed: [403, 'What allowed this changed while the request was under way.'],
  origin_refused: [403, 'A cookie authenticates only requests from a trusted origin.'],
  not_found: [404, 'There is nothing here.'],
  method_not_allowed: [405, 'The method is not allowed here.'],
  request_timeout: [408, 'The request did not arrive in time.'],
  payload_too_large: [413, 'The request body is too large.'],
  uri_too_long: [414, 'The address is too long.'],
  unsupported_media_type: [415, 'The content type is not supported.'],
  headers_too_large: [431, 'The request headers are too large.'],
  rate_limited: [429, 'Too many requests. Try again later.'],
  too_many_sessions: [
    429,
    'The user has as many sessions as are allowed, each used within a day: end one of them first.'
  ],
  internal: [500, 'Something went wrong on the server.'],
  store_unavailable: [
    503,
    'The session store cannot be reached. Nothing is known about the session: try again.'
  ],
  draining: [503, 'This process is being stopped: send requests to another one.'],
  overloaded: [503, 'Too many passwords wait to be checked. Nothing was checked: try again.'],
  revocation_pending: [
    503,
    'The session is revoked, and a cache could not be told yet: try again to be sure.'
  ]
} as const satisfies Record<string, readonly [number, string]>

/** The stable codes. On the wire they are the member `cause`. */
export type ErrorCode = keyof typeof definitions

export const errorCodes = Object.keys(definitions) as ErrorCode[]

/** The codes with which a credential is refused with 401. */
export type InactiveCode =
  | 'credential_malformed'
  | 'session_unknown'
  | 'session_revoked'
  | 'session_expired'
  | 'user_banned'
  | 'user_gone'
  | 'token_expired'

/** Seconds to wait before trying again after a 503. */
export const RETRY_AFTER_SECONDS = 1
/** The same for a busy server: about as long as its queue. */
export const OVERLOADED_RETRY_AFTER_SECONDS = 2

/** A refusal with its HTTP status and stable code. `message` is safe to show. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly statusCode: number

  constructor(code: ErrorCode, detail?: string, options?: ErrorOptions) {
    super(detail ?? definitions[code][1], options)
    this.code = code
    this.statusCode = definitions[code][0]
  }
}

/**
 * The store did not answer, or answered that it cannot. The answer is not known, so no user is
 * signed out.
 */
export class StoreUnavailable extends AppError {
  constructor(cause: unknown) {
    super('store_unavailable', undefined, { cause })
  }
}

/**
 * The refusal for an HTTP status from Fastify or Node's parser, which have checked no credentials.
 */
export function appErrorForStatus(statusCode: number): AppError {
  for (const [code, [status]] of Object.entries(definitions)) {
    if (status === statusCode && status !== 401 && code !== 'credential_ambiguous')
      return new AppError(code as ErrorCode)
  }
  return new AppError(statusCode >= 400 && statusCode < 500 ? 'invalid_input' : 'internal')
}

/** RFC 9457 problem details, with the stable `cause` and the request's id. */
export interface Problem {
  type: 'about:blank'
  title: string
  status: number
  detail: string
  cause: ErrorCode
  /** better-auth's own code, where its clients switch on that. */
  code?: string
  requestId: string
}

const titles: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable'
}

const betterAuthCodes: Partial<Record<ErrorCode, string>> = {
  reauthentication_required: 'SESSION_NOT_FRESH'
}

/** The body of a refusal as RFC 9457 problem details (`application/problem+json`). */
export function toProblem(refusal: AppError, requestId: string): Problem {
  const status = refusal.statusCode
  const code = betterAuthCodes[refusal.code]
  return {
    type: 'about:blank',
    title: titles[status] ?? 'Error',
    status,
    detail: refusal.message,
    cause: refusal.code,
    ...(code ? { code } : {}),
    requestId
  }
}

/**
 * Settings are wrong, so the start is refused. The message has a line for each wrong setting, which
 * begins with the name of its variable.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'

  constructor(problems: string | readonly string[], options?: ErrorOptions) {
    super(typeof problems === 'string' ? problems : problems.join('\n'), options)
  }
}
