import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { preParsingAsyncHookHandler } from 'fastify'
import { faultOfHeaders, MOST_HEADERS } from '../http/request-headers.js'
import type { CheckRoute, FastRequest, FastResponse } from './check-route.js'

/** Is told of a request that was answered. */
export type NoteAnswer = (method: string, route: string, status: number, seconds: number) => void

/** A request that waits for its answer. */
interface Waiting {
  request: IncomingMessage
  response: ServerResponse
  route: AnyRoute
  head: FastRequest
  body: Buffer
  /** When it came: monotonic milliseconds. */
  began: number
  /** Null until it is known. */
  answer: FastResponse | null
  /** Why there is none. */
  reason: unknown
}

/** What was found of a request that is handed on. */
export interface HandedOn {
  /** Why there is no yes; undefined where that is for the route to find out. */
  reason: unknown
  /** The body; null where it still waits to be read. */
  body: Buffer | null
  /** How long it has waited, in milliseconds. */
  waitedMs: number
}

type AnyRoute = CheckRoute<FastRequest, unknown>

const noBody = Buffer.alloc(0)

/** So many requests wait for each other at most: the first of them should not wait for a crowd. */
const TOGETHER = 64

/**
 * What stands in front of Fastify: routes that are asked for every request of somebody else's
 * service say a plain yes here, without the objects, hooks and turns of the event loop that a
 * request costs there, which are several times a check. In the stand-alone server nothing comes
 * before; in an application its own `onRequest` hooks do. Nothing is refused here: whatever is no
 * yes is handed on, and answered by the route of the same name, which is told why, and what was
 * read of the body.
 *
 * Requests of one turn of the event loop are answered together at its end: first all are decided,
 * then all answers are sent. To parse a request, to check a session and to write to a socket push
 * each other's code and data out of the processor's caches; in turns of their own all of them cost
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

  /** Puts this in front of what listens to a server's requests. */
  install(server: Server): void {
    const [next] = server.listeners('request') as RequestListener[]
    if (!next) throw new Error('nothing listens to requests')
    this.handOnTo(next)
    server.off('request', next)
    server.on('request', this.listen)
  }

  /** Whom requests are for that are not answered here. */
  handOnTo(next: RequestListener): void {
    this.#next = next
  }

  add<Head extends FastRequest, Input>(route: CheckRoute<Head, Input>): void {
    this.#routes.push(route)
  }

  /** Tells every answer from here: no hook of Fastify sees them. */
  noteTo(note: NoteAnswer): void {
    this.#note = note
  }

  /**
   * While that says so nothing is taken, and what was taken before is told to use another
   * connection.
   */
  drainWhen(isDraining: () => boolean): void {
    this.#isDraining = isDraining
  }

  /** As while draining, for good. */
  close(): void {
    this.#isOpen = false
  }

  /**
   * What was found of a request before its route got it; undefined for one that went straight
   * there.
   */
  handedOn(request: IncomingMessage): HandedOn | undefined {
    return this.#handedOn.get(request)
  }

  /** For routes whose body may have been read here: lets them read it. */
  readonly bodyAgain: preParsingAsyncHookHandler = async ({ raw }, _reply, payload) => {
    const body = this.#handedOn.get(raw)?.body
    return body ? Readable.from([body]) : payload
  }

  get #isTaking(): boolean {
    return this.#isOpen && !this.#isDraining()
  }

  #isTaken(request: IncomingMessage, response: ServerResponse): boolean {
    if (!this.#isTaking || faultOfHeaders(request, this.#mostHeaders())) return false
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

  /** A client that goes away before its body has come needs no answer. */
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
    try {
      const input = route.parse(request, head, body)
      const response = input === null ? null : route.checkCached(input)
      if (input === null || response) this.#conclude(waiting, response)
      else
        route.check(input).then(
          (known) => this.#concludeLater(waiting, known, undefined),
          (reason: unknown) => this.#concludeLater(waiting, null, reason)
        )
    } catch (reason) {
      waiting.reason = reason
      this.#conclude(waiting, null)
    }
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
        this.#handOn(one) // a header that cannot be sent: Fastify fails at it as well, and says so
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
