import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { preParsingAsyncHookHandler } from 'fastify'
import { findHeaderFault, MOST_HEADERS } from '../http/request-headers.js'

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

/**
 * A route that checks a credential. Fastify's route and the fast path are both made from it. They
 * read a request in different ways, but give the same answers.
 */
export interface CheckRoute<Head extends FastRequest, Input> {
  /** Reads a request's head. Undefined leaves the request to Fastify. Must be very cheap. */
  match(request: IncomingMessage): Head | undefined
  /**
   * Reads the input to check. Null leaves the request to Fastify.
   *
   * @param body empty where the head says that the answer does not depend on it
   * @throws AppError for a refusal
   */
  parse(request: IncomingMessage, head: Head, body: Buffer): Input | null
  /**
   * The answer where this process knows it, without I/O. Null where only `check` can tell.
   *
   * @throws AppError for a refusal
   */
  checkCached(input: Input, head: Head): FastResponse | null
  /**
   * The answer, with I/O where it is needed.
   *
   * @throws AppError for a refusal, and 503 where the store is needed and does not answer
   */
  check(input: Input, head: Head): Promise<FastResponse>
}

/** Called when a request was answered. */
export type NoteAnswer = (method: string, route: string, status: number, seconds: number) => void

/** A request that waits for its answer. */
interface Waiting {
  request: IncomingMessage
  response: ServerResponse
  route: AnyRoute
  head: FastRequest
  body: Buffer
  /** When the request arrived, in monotonic milliseconds. */
  began: number
  /** Null until it is known. */
  answer: FastResponse | null
  /** The error, where there is no answer. */
  reason: unknown
}

/** What the fast path found out about a request that it handed on. */
export interface HandedOn {
  /** The error. Undefined where the route must find out itself. */
  reason: unknown
  /** The body. Null where it has not been read yet. */
  body: Buffer | null
  /** How long the request has waited, in milliseconds. */
  waitedMs: number
}

type AnyRoute = CheckRoute<FastRequest, unknown>

const noBody = Buffer.alloc(0)

/** At most this many requests are answered together, so that the first one does not wait long. */
const TOGETHER = 64

/**
 * A request listener in front of Fastify. Check routes are called for every request of another
 * service. Here a valid credential is answered without the objects, hooks and turns of the event
 * loop that Fastify spends on a request, which cost several times a check. In the stand-alone
 * server nothing comes before it; in an application its own `onRequest` hooks do. It never refuses:
 * every other request is handed on to the route of the same name, with the error and the body as
 * far as known.
 *
 * Requests of one turn of the event loop are answered together at its end: first all are decided,
 * then all answers are sent. Parsing a request, checking a session and writing to a socket push
 * each other's code and data out of the processor's caches. In turns of their own all of them cost
 * less (Larus and Parkes, Using Cohort Scheduling to Enhance Server Performance, 2002).
 */
export class FastPath {
  readonly #routes: AnyRoute[] = []
  readonly #mostHeaders: () => number
  #next: RequestListener = () => {}
  #note: NoteAnswer = () => {}
  #isOpen = true
  #waiting: Waiting[] = []
  #outgoing: Waiting[] = []
  #isScheduled = false
  #isDraining = () => false
  readonly #handedOn = new WeakMap<IncomingMessage, HandedOn>()

  /** @param mostHeaders how many headers the server takes before it drops the rest */
  constructor(mostHeaders: () => number = () => MOST_HEADERS) {
    this.#mostHeaders = mostHeaders
  }

  /** Answers a request, or hands it on. */
  readonly listen: RequestListener = (request, response) => {
    if (!this.#isTaken(request, response)) this.#next(request, response)
  }

  /** Installs the fast path in front of a server's request listener. */
  install(server: Server): void {
    const [next] = server.listeners('request') as RequestListener[]
    if (!next) throw new Error('nothing listens to requests')
    this.handOnTo(next)
    server.off('request', next)
    server.on('request', this.listen)
  }

  /** Sets the listener for requests that are not answered here. */
  handOnTo(next: RequestListener): void {
    this.#next = next
  }

  add<Head extends FastRequest, Input>(route: CheckRoute<Head, Input>): void {
    this.#routes.push(route)
  }

  /** Sets a callback for every answer given here, because no hook of Fastify sees them. */
  noteTo(note: NoteAnswer): void {
    this.#note = note
  }

  /**
   * While `isDraining` returns true no request is taken, and answers to requests that were taken
   * before close their connections.
   */
  drainWhen(isDraining: () => boolean): void {
    this.#isDraining = isDraining
  }

  /** Drains for good. */
  close(): void {
    this.#isOpen = false
  }

  /**
   * What the fast path found out about a request before its route got it. Undefined for a request
   * that went straight to the route.
   */
  handedOn(request: IncomingMessage): HandedOn | undefined {
    return this.#handedOn.get(request)
  }

  /** Lets a route read a body that was already read here. */
  readonly bodyAgain: preParsingAsyncHookHandler = async ({ raw }, _reply, payload) => {
    const body = this.#handedOn.get(raw)?.body
    return body ? Readable.from([body]) : payload
  }

  get #isTaking(): boolean {
    return this.#isOpen && !this.#isDraining()
  }

  #isTaken(request: IncomingMessage, response: ServerResponse): boolean {
    if (!this.#isTaking || findHeaderFault(request, this.#mostHeaders())) return false
    for (const route of this.#routes) {
      const head = route.match(request)
      if (head === undefined) continue
      const waiting = {
        request,
        response,
        route,
        head,
        body: noBody,
        began: performance.now(),
        answer: null,
        reason: undefined
      }
      if (head.hasBody) this.#read(waiting)
      else this.#add(waiting)
      return true
    }
    return false
  }

  /** A client that disconnects before its body has arrived needs no answer. */
  #read(waiting: Waiting): void {
    const { request } = waiting
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
    })
    request.on('end', () => {
      waiting.body = Buffer.concat(chunks)
      this.#add(waiting)
    })
  }

  #add(waiting: Waiting): void {
    this.#waiting.push(waiting)
    if (this.#waiting.length >= TOGETHER) this.#run()
    else this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#run()
    })
  }

  #run(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const one of waiting) this.#decide(one)
    this.#send()
  }

  #decide(waiting: Waiting): void {
    const { request, route, head, body } = waiting
    let response: FastResponse | null = null
    try {
      const input = route.parse(request, head, body)
      response = input === null ? null : route.checkCached(input, head)
      if (input !== null && !response) {
        route.check(input, head).then(
          (known) => this.#concludeLater(waiting, known, undefined),
          (reason: unknown) => this.#concludeLater(waiting, null, reason)
        )
        return
      }
    } catch (reason) {
      waiting.reason = reason
    }
    this.#conclude(waiting, response)
  }

  #concludeLater(waiting: Waiting, answer: FastResponse | null, reason: unknown): void {
    waiting.reason = reason
    this.#conclude(waiting, answer)
    this.#schedule()
  }

  #conclude(waiting: Waiting, answer: FastResponse | null): void {
    waiting.answer = answer
    if (answer) this.#outgoing.push(waiting)
    else this.#handOn(waiting)
  }

  #handOn({ request, response, head, body, reason, began }: Waiting): void {
    this.#handedOn.set(request, {
      reason,
      body: head.hasBody ? body : null,
      waitedMs: performance.now() - began
    })
    this.#next(request, response)
  }

  #send(): void {
    const outgoing = this.#outgoing
    this.#outgoing = []
    const isTaking = this.#isTaking
    for (const one of outgoing) {
      try {
        if (!isTaking && one.request.httpVersionMajor < 2)
          one.response.setHeader('connection', 'close')
        one.response.writeHead(200, one.answer?.headers).end(one.answer?.body)
      } catch {
        one.answer = null
        // a header that cannot be sent: Fastify fails at it as well, and reports it
        this.#handOn(one)
      }
    }
    const now = performance.now()
    for (const {
      request: { method = '' },
      head: { route },
      began,
      answer
    } of outgoing) {
      if (answer) this.#note(method, route, 200, (now - began) / 1_000)
    }
  }
}
