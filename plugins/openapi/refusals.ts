import { errorCodes, toProblem, AppError, type ErrorCode } from '../../src/errors.js'
import { toOAuthError } from '../http/oauth-errors.js'
import { AuthProblemSchema, ProblemSchema } from '../http/problem-schema.js'
import { headerRef, schemaRef, type Components, type Operation, type Schema } from './document.js'

/** Groups of routes that refuse in the same form. */
type Kind = 'ours' | 'better-auth' | 'gateway' | 'oauth'

const PROBLEM = 'application/problem+json'
const JSON_TYPE = 'application/json'
const REQUEST_ID = '0f6a7f5e-8f0a-4c7e-9a51-2d9c1f8e7b34'

/** Codes that only some routes have. */
const onlyOAuth: readonly ErrorCode[] = [
  'grant_type_unsupported',
  'refresh_malformed',
  'refresh_unknown',
  'refresh_reused',
  'client_mismatch',
  'revocation_pending'
]
const onlyBetterAuth: readonly ErrorCode[] = ['too_many_sessions', 'overloaded']
/** Codes for a session's credential in a header or cookie. OAuth's tokens are in the body. */
const neverOAuth: readonly ErrorCode[] = [
  'credential_missing',
  'credential_malformed',
  'token_expired'
]
const onlyGateway: readonly ErrorCode[] = ['gateway_unknown']

/** The codes that a status can have. */
function causesFor(kind: Kind, status: number): ErrorCode[] {
  const possible = errorCodes.filter((cause) => {
    if (onlyOAuth.includes(cause)) return kind === 'oauth'
    if (onlyBetterAuth.includes(cause)) return kind === 'better-auth'
    if (onlyGateway.includes(cause)) return kind === 'gateway' || kind === 'oauth'
    return kind !== 'oauth' || !neverOAuth.includes(cause)
  })
  const withStatus = possible.filter(
    (cause) =>
      (kind === 'oauth'
        ? toOAuthError(new AppError(cause)).status
        : new AppError(cause).statusCode) === status
  )
  // A gateway's 401 is only about its own secret. Whether a token is valid is said in a 200.
  return kind === 'gateway' && status === 401 ? [...onlyGateway] : withStatus
}

const causeSchema = (names: readonly ErrorCode[]): Schema => ({
  type: 'string',
  enum: [...names],
  description: 'Stable: switch on it. Take one that you do not know by its status.'
})

/**
 * The schema of a problem with its possible codes, and an example of each, made by the server's own
 * code.
 */
function problemSchema(kind: Kind, status: number, names: readonly ErrorCode[]): Schema {
  const isBetterAuths = kind === 'better-auth'
  const { properties, required } = JSON.parse(
    JSON.stringify(isBetterAuths ? AuthProblemSchema : ProblemSchema)
  ) as Schema
  return {
    type: 'object',
    required: required ?? [],
    properties: {
      ...properties,
      status: { type: 'integer', enum: [status] },
      cause: causeSchema(names)
    },
    examples: names.map((cause) => {
      const problem = toProblem(new AppError(cause), REQUEST_ID)
      return isBetterAuths
        ? { code: cause.toUpperCase(), message: problem.detail, ...problem }
        : problem
    })
  }
}

function oauthSchema(names: readonly ErrorCode[]): Schema {
  const errors = new Set(names.map((cause) => toOAuthError(new AppError(cause)).error))
  return {
    type: 'object',
    required: ['error', 'error_description', 'cause'],
    properties: {
      error: {
        type: 'string',
        enum: [...errors],
        description: 'RFC 6749, section 5.2. Only `invalid_grant` means that the session is over.'
      },
      error_description: { type: 'string', description: 'For people.' },
      cause: causeSchema(names)
    },
    examples: names.map((cause) => ({
      error: toOAuthError(new AppError(cause)).error,
      error_description: new AppError(cause).message,
      cause
    }))
  }
}

const names = {
  ours: 'Problem',
  'better-auth': 'AuthProblem',
  gateway: 'GatewayProblem',
  oauth: 'OAuthError'
} as const satisfies Record<Kind, string>

/**
 * Describes the refusals of an operation: their codes by status, and their headers. The schemas go
 * into the components, where clients find them by name.
 */
export function describeRefusals(operation: Operation, kind: Kind, components: Components): void {
  for (const [code, response] of Object.entries(operation.responses)) {
    const status = Number(code)
    if (status < 400) continue
    const media = response.content?.[kind === 'oauth' ? JSON_TYPE : PROBLEM]
    const possible = causesFor(kind, status)
    if (media && possible.length > 0) {
      const name = `${names[kind]}${status}`
      components.schemas ??= {}
      components.schemas[name] ??=
        kind === 'oauth' ? oauthSchema(possible) : problemSchema(kind, status, possible)
      media.schema = schemaRef(name)
    }
    const headers = refusalHeaders[status]
    if (headers)
      response.headers = {
        ...response.headers,
        ...Object.fromEntries(headers.map((header) => [header, headerRef(header)]))
      }
  }
}

const refusalHeaders: Record<number, string[]> = {
  401: ['WWW-Authenticate'],
  405: ['Allow'],
  429: ['Retry-After'],
  503: ['Retry-After']
}

/** An error of better-auth itself, which is not a problem. */
export function authErrorSchema(codes: readonly string[]): Schema {
  return {
    type: 'object',
    properties: {
      code: {
        type: 'string',
        description: "better-auth's code: switch on it.",
        examples: [...codes]
      },
      message: { type: 'string', description: 'For people.' },
      cause: {
        ...causeSchema(errorCodes),
        description:
          'Present where a cause of this server is behind it, such as `too_many_sessions`.'
      }
    }
  }
}
