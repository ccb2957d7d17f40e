import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { Refusal, refusalFor, RETRY_AFTER_SECONDS, type Cause } from '../src/errors.js'

/** An OAuth error (RFC 6749, section 5.2) with the stable cause beside it. */
export interface OAuthError {
  error: 'invalid_request' | 'invalid_grant' | 'unsupported_grant_type' | 'temporarily_unavailable' | 'server_error'
  error_description: string
  cause: Cause
}

// What has another name than its status would give it.
const names: Partial<Record<Cause, OAuthError['error']>> = {
  grant_type_unsupported: 'unsupported_grant_type',
  refresh_malformed: 'invalid_grant',
  refresh_unknown: 'invalid_grant',
  refresh_reused: 'invalid_grant',
  client_mismatch: 'invalid_grant'
}

/**
 * Answers an error of an OAuth endpoint. Clients in the field take a 400 for a sign-out: outages and limits are 503 and 429 with
 * `Retry-After`, never 400.
 */
export function sendOAuthError(error: FastifyError | Refusal | Error, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refusal = refusalOf(error)
  if (refusal.statusCode >= 500) request.log.error({ err: error.cause ?? error }, refusal.message)
  // RFC 6749 has one status for a grant that is no good.
  const status = refusal.statusCode === 401 ? 400 : refusal.statusCode
  if (status === 503) reply.header('retry-after', RETRY_AFTER_SECONDS)
  return reply.code(status).header('cache-control', 'no-store').type('application/json').send(JSON.stringify(oauthErrorOf(refusal)))
}

function oauthErrorOf({ code, statusCode, message }: Refusal): OAuthError {
  const error = names[code] ?? (statusCode === 401 ? 'invalid_grant' : statusCode === 429 || statusCode === 503 ? 'temporarily_unavailable' : statusCode >= 500 ? 'server_error' : 'invalid_request')
  // RFC 6749 5.2 allows no quotes and no backslashes in a description.
  return { error, error_description: message.replace(/["\\]/g, "'"), cause: code }
}

function refusalOf(error: FastifyError | Refusal | Error): Refusal {
  if (error instanceof Refusal) return error
  if ('validation' in error && error.validation) return new Refusal('invalid_input', error.message)
  return refusalFor('statusCode' in error ? error.statusCode ?? 500 : 500)
}
