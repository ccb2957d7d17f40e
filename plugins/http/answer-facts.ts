import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** What the log's line about an answer says beside its status. */
export interface AnswerFacts {
  /** Why it was refused, in our words: what clients switch on. */
  cause?: string
  /** The same in better-auth's words. */
  code?: string
  /** Who asked, or whose account it was about, as far as that is known. */
  userId?: string
  sessionId?: string
}

// By Node's request: an application around us has a request of Fastify's of its own, and writes the
// line.
const factsOfRequests = new WeakMap<IncomingMessage, AnswerFacts>()

/** Notes what is found out of a request; what was noted last counts. */
export function noteFacts({ raw }: FastifyRequest, facts: AnswerFacts): void {
  factsOfRequests.set(raw, { ...factsOfRequests.get(raw), ...facts })
}

/** What was noted of a request. */
export function factsOf({ raw }: FastifyRequest): AnswerFacts {
  return factsOfRequests.get(raw) ?? {}
}

/** The serializer of `res` in the log's lines: a refusal has its cause, and whom it was about. */
export function describeAnswer(reply: FastifyReply): Record<string, unknown> {
  const { statusCode, request } = reply
  return statusCode >= 400 && statusCode < 600
    ? { statusCode, ...factsOf(request) }
    : { statusCode }
}
