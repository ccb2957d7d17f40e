import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { reportError } from '../../src/error-report.js'
import {
  OVERLOADED_RETRY_AFTER_SECONDS,
  toProblem,
  AppError,
  appErrorForStatus,
  RETRY_AFTER_SECONDS
} from '../../src/errors.js'
import { noteFacts } from './answer-facts.js'
import { expiredSessionCookies, namesTwoSessions } from './credential.js'

/** Sets the status of a refusal and its headers, and notes its code for the log line. */
export function beginError(reply: FastifyReply, { statusCode, code }: AppError): FastifyReply {
  noteFacts(reply.request, { cause: code })
  if (code === 'origin_refused')
    reply.server.holdfast.refusedOrigins.note(reply.request.headers.origin)
  if (code === 'gateway_unknown')
    reply.header('www-authenticate', 'Basic realm="holdfast", charset="UTF-8"')
  else if (statusCode === 401)
    reply.header(
      'www-authenticate',
      code === 'credential_missing'
        ? 'Bearer'
        : `Bearer error="invalid_token", error_description="${code}"`
    )
  if (code === 'role_missing') reply.header('www-authenticate', 'Bearer error="insufficient_scope"')
  if (statusCode === 503)
    reply.header(
      'retry-after',
      code === 'overloaded' ? OVERLOADED_RETRY_AFTER_SECONDS : RETRY_AFTER_SECONDS
    )
  return reply.code(statusCode).header('cache-control', 'no-store')
}

/**
 * Answers a refusal as RFC 9457 problem details. Below `/api/auth` it also has `code` and
 * `message`: without them the error in better-auth's clients would be `undefined`.
 */
export function sendError(
  request: FastifyRequest,
  reply: FastifyReply,
  refusal: AppError
): FastifyReply {
  const problem = toProblem(refusal, request.id)
  const body = isForBetterAuth(request)
    ? { code: refusal.code.toUpperCase(), message: refusal.message, ...problem }
    : problem
  forgetTwoSessions(request, reply, refusal)
  return beginError(reply, refusal).type('application/problem+json').send(JSON.stringify(body))
}

/**
 * Expires both of two session cookies that differ. Otherwise the browser would be refused for ever,
 * because no page can tell it which one to keep.
 */
function forgetTwoSessions(
  { server, headers: { cookie } }: FastifyRequest,
  reply: FastifyReply,
  { code }: AppError
): void {
  if (code !== 'credential_ambiguous' || cookie === undefined) return
  const { auth } = server.holdfast
  if (namesTwoSessions(cookie, auth.cookieName))
    reply.header('set-cookie', expiredSessionCookies(auth))
}

// By the path alone, because some refusals happen before there is a route, or without one.
function isForBetterAuth({ url }: FastifyRequest): boolean {
  return /\/api\/auth(?:[/?#]|$)/.test(url.split('?', 1)[0] ?? '')
}

/** The refusal for an error of a route. The reason for a 5xx goes into the log. */
export function toAppError(error: FastifyError | AppError, request: FastifyRequest): AppError {
  if (error instanceof AppError) {
    // A refused flood must not flood the log with errors: its requests already have their lines.
    if (error.code === 'overloaded') request.log.debug(error.message)
    else if (error.code === 'draining') request.log.info(error.message)
    // Without a cause the stack tells nothing: log the message only.
    else if (error.statusCode >= 500)
      request.log.error(
        error.cause === undefined ? {} : { err: reportError(error.cause) },
        error.message
      )
    return error
  }
  const statusCode = error.statusCode ?? 500
  if (statusCode >= 500) request.log.error({ err: reportError(error) }, 'the request failed')
  return statusCode === 400 && error.validation
    ? new AppError('invalid_input', error.message)
    : appErrorForStatus(statusCode)
}
