import type { IncomingMessage } from 'node:http'

/** An answer with status 200. */
export interface FastResponse {
  headers: Record<string, string>
  body: string
}

/** A body of JSON as an answer. */
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

/** What the head of a request says that is meant for a check route. */
export interface FastRequest {
  /** The route, as metrics name it. */
  readonly route: string
  /** Whether the answer depends on the body, whose length was announced and is within bounds. */
  readonly hasBody: boolean
}

/** A check of what was read of a request. */
export interface Checker<Input> {
  /**
   * The answer where this process knows it, without I/O; null where only `check` can tell.
   *
   * @throws AppError for a refusal
   */
  checkCached(input: Input): FastResponse | null
  /**
   * The answer.
   *
   * @throws AppError for a refusal, and 503 where the store is needed and does not answer
   */
  check(input: Input): Promise<FastResponse>
}

/**
 * A route that asks whether a credential is good. Fastify's route and the fast path are both made
 * from it: they differ in how they read a request, and not in what they answer.
 */
export interface CheckRoute<Head extends FastRequest, Input> extends Checker<Input> {
  /** What a request asks by its head. Undefined leaves it to Fastify. Costs next to nothing. */
  match(request: IncomingMessage): Head | undefined
  /**
   * What is to be checked. Null leaves the request to Fastify.
   *
   * @param body empty where the head says that none matters
   */
  parse(request: IncomingMessage, head: Head, body: Buffer): Input | null
}
