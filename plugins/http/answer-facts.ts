import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** What the log line of an answer says beside its status. */
export interface AnswerFacts {
  /** The code of the refusal, which clients switch on. */
  cause?: string
  /** better-auth's code for it. */
  code?: string
  /** The user who asked, or whose account it was about, as far as known. */
  userId?: string
  sessionId?: string
}

// Keyed by Node's request: a host application has its own Fastify request for it, and writes the
// line.
const factsOfRequests = new WeakMap<IncomingMessage, AnswerFacts>()

/** Notes facts about a request. The last noted value counts. */
export function noteFacts({ raw }: FastifyRequest, facts: AnswerFacts): void {
  factsOfRequests.set(raw, { ...factsOfRequests.get(raw), ...facts })
}

/** The facts noted about a request. */
export function answerFacts({ raw }: FastifyRequest): AnswerFacts {
  return factsOfRequests.get(raw) ?? {}
}

/** The serializer of `res` in log lines: adds the cause of a refusal, and the user it was about. */
export function describeAnswer(reply: FastifyReply): Record<string, unknown> {
  const { statusCode, request } = reply
  return statusCode >= 400 && statusCode < 600
    ? { statusCode, ...answerFacts(request) }
    : { statusCode }
}
