import type { IncomingMessage } from 'node:http'

/** A response with status 200. */
export interface FastResponse {
  headers: Record<string, string>
  body: string
}

/** Makes a response of a JSON body. */
export function jsonResponse(body: string): FastResponse {
  return {
    headers: {
      'cache-control': 'no-store',
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(Buffer.byteLength(body))
    },
    body
  }
}

/** The parts of a request's head that a check route needs. */
export interface FastRequest {
  /** The route's name in metrics. */
  readonly route: string
  /** Whether the answer depends on the body. Its length was announced and is within bounds. */
  readonly hasBody: boolean
}

/** Checks the input that was read from a request. */
export interface Checker<Input> {
  /**
   * The answer where this process knows it, without I/O. Null where only `check` can tell.
   *
   * @throws AppError for a refusal
   */
  checkCached(input: Input): FastResponse | null
  /**
   * The answer, with I/O where it is needed.
   *
   * @throws AppError for a refusal, and 503 where the store is needed and does not answer
   */
  check(input: Input): Promise<FastResponse>
}

/**
 * A route that checks a credential. Fastify's route and the fast path are both made from it. They
 * read a request in different ways, but give the same answers.
 */
export interface CheckRoute<Head extends FastRequest, Input> extends Checker<Input> {
  /** Reads a request's head. Undefined leaves the request to Fastify. Must be very cheap. */
  match(request: IncomingMessage): Head | undefined
  /**
   * Reads the input to check. Null leaves the request to Fastify.
   *
   * @param body empty where the head says that the answer does not depend on it
   */
  parse(request: IncomingMessage, head: Head, body: Buffer): Input | null
}
