import { Type } from 'typebox'
import type {
  FastifyError,
  FastifyReply,
  FastifyRequest,
  preValidationAsyncHookHandler
} from 'fastify'
import type { ErrorCode, AppError } from '../../src/errors.js'
import { noteFacts } from './answer-facts.js'
import { beginError, toAppError } from './send-error.js'

const OAuthErrorSchema = Type.Object({
  error: Type.String(),
  error_description: Type.String(),
  cause: Type.String({ description: 'What clients switch on.' })
})

/** The part of an OAuth route's `schema.response` that documents its errors. */
export function oauthErrors<const Status extends number>(...statuses: Status[]) {
  const entries = statuses.map((status) => [
    status,
    {
      description: descriptions[status] ?? 'Refused.',
      content: { 'application/json': { schema: OAuthErrorSchema } }
    }
  ])
  return Object.fromEntries(entries) as Record<
    Status,
    { description: string; content: { 'application/json': { schema: typeof OAuthErrorSchema } } }
  >
}

const descriptions: Record<number, string> = {
  400: 'The grant or the request is no good: `error` and `cause` say which.',
  401: 'The client is not known.',
  413: 'The body is too large.',
  415: 'The content type is not supported.',
  429: 'Too many requests: `Retry-After` says when to come back.',
  503: 'Nobody knows: send the same request again.'
}

/** An OAuth error (RFC 6749, section 5.2), with the stable `cause` beside it. */
export interface OAuthError {
  error:
    | 'invalid_request'
    | 'invalid_client'
    | 'invalid_grant'
    | 'unsupported_grant_type'
    | 'temporarily_unavailable'
    | 'server_error'
  error_description: string
  cause: ErrorCode
}

// Codes whose OAuth name does not follow from their status.
const names: Partial<Record<ErrorCode, OAuthError['error']>> = {
  gateway_unknown: 'invalid_client',
  grant_type_unsupported: 'unsupported_grant_type',
  refresh_malformed: 'invalid_grant',
  refresh_unknown: 'invalid_grant',
  refresh_reused: 'invalid_grant',
  // There is only one client so far. Any other id is unknown here, and must not sign the user out.
  client_mismatch: 'invalid_client'
}

/**
 * Answers an error of an OAuth endpoint. Existing clients sign the user out on a 400. So outages
 * and limits are 503 and 429 with `Retry-After`, never 400.
 */
export function sendOAuthError(
  error: FastifyError | AppError,
  request: FastifyRequest,
  reply: FastifyReply
): FastifyReply {
  const refusal = toAppError(error, request)
  const { error: name, status } = toOAuthError(refusal)
  const body: OAuthError = {
    error: name,
    error_description: describe(refusal),
    cause: refusal.code
  }
  if (status === refusal.statusCode) beginError(reply, refusal)
  else {
    noteFacts(request, { cause: refusal.code })
    void reply.code(status).header('cache-control', 'no-store')
  }
  return reply.type('application/json').send(JSON.stringify(body))
}

/**
 * The name and the status of a refusal at an OAuth endpoint. RFC 6749 has one status for an invalid
 * grant, 400. 401 is for client authentication.
 */
export function toOAuthError(refusal: AppError): { error: OAuthError['error']; status: number } {
  const error = nameFrom(refusal)
  return { error, status: error === 'invalid_grant' ? 400 : refusal.statusCode }
}

function nameFrom({ code, statusCode }: AppError): OAuthError['error'] {
  const name = names[code]
  if (name) return name
  if (statusCode === 401) return 'invalid_grant'
  if (statusCode === 429 || statusCode === 503) return 'temporarily_unavailable'
  return statusCode >= 500 ? 'server_error' : 'invalid_request'
}

// The text must not contain quotes or backslashes (RFC 6749 5.2).
function describe({ message }: AppError): string {
  return message.replace(/["\\]/g, "'")
}

/**
 * A `preValidation` hook of the OAuth endpoints. A parameter without a value counts as omitted (RFC
 * 6749 3.1, 3.2). One that is sent twice is a list here, which the schema refuses. Unknown ones are
 * ignored.
 */
export const omitEmptyParameters: preValidationAsyncHookHandler = async (request) => {
  const { body } = request
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return
  request.body = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== ''))
}
