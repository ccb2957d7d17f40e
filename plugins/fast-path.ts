import type { IncomingMessage, OutgoingHttpHeaders, RequestListener, Server, ServerResponse } from 'node:http'
import type { Metrics } from './prometheus.js'

/** An answer with status 200. */
export interface FastAnswer {
  headers: OutgoingHttpHeaders
  body: string
}

/** What a route can answer without Fastify. */
export interface FastRoute<Question extends { route: string }> {
  /** What a request asks, and the route that metrics name; undefined for what is not to be answered here. Costs next to nothing. */
  find(request: IncomingMessage): Question | undefined
  /** @throws (or rejects with) whatever stands against a plain yes */
  answer(request: IncomingMessage, question: Question): FastAnswer | Promise<FastAnswer>
  /** Keeps why there is no yes, for the route that is to say so: nobody is asked twice. */
  refuse(request: IncomingMessage, reason: unknown): void
}

/** A request that waits for its answer. */
interface Waiting {
  request: IncomingMessage
  response: ServerResponse
  route: FastRoute<{ route: string }>
  question: { route: string }
  /** When it came: monotonic milliseconds. */
  began: number
  /** Null until it is known. */
  answer: FastAnswer | null
}

/** So many requests wait for each other at most: the first of them should not wait for a crowd. */
const TOGETHER = 64

/**
 * What stands in front of Fastify, in the stand-alone server alone: routes that are asked for every request of somebody else's service
 * say a plain yes here, without the objects, hooks and turns of the event loop that a request costs there, which are several times a
 * check. Nothing is refused here: whatever is no yes is handed on, and answered by the route of the same name.
 *
 * Requests of one turn of the event loop are answered together at its end: first all are decided, then all answers are sent. To parse a
 * request, to check a session and to write to a socket push each other's code and data out of the processor's caches; in turns of their own
 * all of them cost less (Larus and Parkes, Using Cohort Scheduling to Enhance Server Performance, 2002).
 */
export class FastPath {
  readonly #routes: FastRoute<{ route: string }>[] = []
  #next: RequestListener = () => {}
  #note: Metrics['note'] = () => {}
  #isOpen = true
  #waiting: Waiting[] = []
  #outgoing: Waiting[] = []
  #isScheduled = false

  /** Puts this in front of what listens to a server's requests. */
  install(server: Server): void {
    const [next] = server.listeners('request') as RequestListener[]
    if (!next) throw new Error('nothing listens to requests')
    this.#next = next
    server.off('request', next)
    server.on('request', (request, response) => {
      if (!this.#isTaken(request, response)) next(request, response)
    })
  }

  add<Question extends { route: string }>(route: FastRoute<Question>): void {
    this.#routes.push(route)
  }

  /** Tells every answer from here: no hook of Fastify sees them. */
  noteTo(note: Metrics['note']): void {
    this.#note = note
  }

  /** From now on takes nothing: Fastify tells clients to use another connection. */
  close(): void {
    this.#isOpen = false
  }

  #isTaken(request: IncomingMessage, response: ServerResponse): boolean {
    if (!this.#isOpen) return false
    for (const route of this.#routes) {
      const question = route.find(request)
      if (question === undefined) continue
      this.#waiting.push({ request, response, route, question, began: performance.now(), answer: null })
      if (this.#waiting.length >= TOGETHER) this.#run()
      else this.#schedule()
      return true
    }
    return false
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
    const { request, route, question } = waiting
    try {
      const answer = route.answer(request, question)
      if (answer instanceof Promise) void this.#wait(waiting, answer)
      else this.#ready(waiting, answer)
    } catch (reason) {
      this.#refuse(waiting, reason)
    }
  }

  async #wait(waiting: Waiting, promise: Promise<FastAnswer>): Promise<void> {
    try {
      this.#ready(waiting, await promise)
      this.#schedule()
    } catch (reason) {
      this.#refuse(waiting, reason)
    }
  }

  #ready(waiting: Waiting, answer: FastAnswer): void {
    waiting.answer = answer
    this.#outgoing.push(waiting)
  }

  #refuse({ request, response, route }: Waiting, reason: unknown): void {
    route.refuse(request, reason)
    this.#next(request, response)
  }

  #send(): void {
    const outgoing = this.#outgoing
    this.#outgoing = []
    for (const one of outgoing) {
      try {
        one.response.writeHead(200, one.answer?.headers).end(one.answer?.body)
      } catch {
        one.answer = null
        this.#next(one.request, one.response) // a header that cannot be sent: Fastify fails at it as well, and says so
      }
    }
    const now = performance.now()
    for (const { request: { method = '' }, question: { route }, began, answer } of outgoing) {
      if (answer) this.#note(method, route, 200, (now - began) / 1_000)
    }
  }
}
