import inject from 'light-my-request'
import type { FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import type { Language } from '../../src/language.js'
import { hostFrom, isCookie } from '../http/credential.js'
import { RefusedPage } from './refused-page.js'

/** An answer of the API. */
export interface ApiAnswer<Body> {
  status: number
  /** The parsed JSON. An empty object where there is none. */
  body: Body
  /** The stable code of a refusal: `cause`, or better-auth's `code` in lower case. */
  code: string | null
  /** Seconds to wait, of `Retry-After`. */
  retryAfterSeconds: number | null
  /** The id of the call, under which the log has it. Only of a refusal. */
  requestId: string | null
  /**
   * By when a revocation is final that not every cache has confirmed yet. Null where it is final
   * now.
   */
  effectiveBy: Date | null
}

/** The parameters of an address. */
export type Query = Record<string, string | undefined>

/** A path with its parameters. What is undefined is left out. */
export function withQuery(path: string, query: Query): string {
  const sent = Object.entries(query).filter(
    (pair): pair is [string, string] => pair[1] !== undefined
  )
  const search = new URLSearchParams(sent).toString()
  return search === '' ? path : `${path}?${search}`
}

/** The headers of the browser that the API may see: who asks, from where, and for tracing. */
const passedOn = [
  'forwarded',
  'traceparent',
  'tracestate',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip'
] as const

/** Thrown where the browser has gone: there is nobody to answer. */
class BrowserGone extends Error {
  override readonly name = 'BrowserGone'
  readonly statusCode = 400
}

/**
 * Calls the routes of this server for one request of a page, inside the process and through all
 * their hooks. So a page is limited, refused and logged as every other client. The browser's
 * cookies, address and user agent are passed on. Cookies that the API sets are set for the browser.
 */
export class ApiClient {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #prefix: string
  readonly #origin: string
  readonly #language: Language
  /** The address of the connection. A socket forgets it when it closes. */
  readonly #address: string | undefined
  readonly #gone = new AbortController()
  /** The browser's cookies as it sent them, until the API sets one. */
  #cookies: string

  /**
   * Make it when the request arrives.
   *
   * @param prefix the path below which the routes are
   * @param origin that of BASE_URL; a page was found to come from there before it calls the API
   * @param language that of the page, in which the API sends mails
   */
  constructor(
    request: FastifyRequest,
    reply: FastifyReply,
    { prefix, origin, language }: { prefix: string; origin: string; language: Language }
  ) {
    this.#request = request
    this.#reply = reply
    this.#prefix = prefix
    this.#origin = origin
    this.#language = language
    this.#address = request.raw.socket.remoteAddress
    this.#cookies = request.headers.cookie ?? ''
    // A response that has been written closes as well.
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) this.#gone.abort()
    })
  }

  /** @param query what is undefined is left out */
  get<Body = object>(path: string, query: Query = {}): Promise<ApiAnswer<Body>> {
    return this.#call('GET', withQuery(path, query))
  }

  /**
   * Reads what a page cannot be shown without.
   *
   * @throws RefusedPage for any answer but 200
   */
  async read<Body>(path: string, query: Query = {}): Promise<Body> {
    const answer = await this.get<Body>(path, query)
    if (answer.status !== 200) throw new RefusedPage(answer)
    return answer.body
  }

  post<Body = object>(path: string, body: object = {}): Promise<ApiAnswer<Body>> {
    return this.#call('POST', path, body)
  }

  patch<Body = object>(path: string, body: object): Promise<ApiAnswer<Body>> {
    return this.#call('PATCH', path, body)
  }

  delete<Body = object>(path: string): Promise<ApiAnswer<Body>> {
    return this.#call('DELETE', path)
  }

  async #call<Body>(method: HTTPMethods, path: string, body?: object): Promise<ApiAnswer<Body>> {
    // Without an address the call would count as one of this machine.
    if (this.#address === undefined || this.#gone.signal.aborted)
      throw new BrowserGone('the browser has gone')
    // Not Fastify's own `inject`, which refuses while the server ends: a page in flight may still
    // end.
    const { server } = this.#request
    const response = await inject((request, response) => server.routing(request, response), {
      method,
      url: this.#prefix + path,
      remoteAddress: this.#address,
      signal: this.#gone.signal,
      headers: {
        ...this.#headers(),
        ...(body === undefined ? {} : { 'content-type': 'application/json' })
      },
      ...(body === undefined ? {} : { payload: JSON.stringify(body) })
    })
    for (const cookie of [response.headers['set-cookie'] ?? []].flat()) {
      // Fastify appends `set-cookie` to what is there.
      this.#reply.header('set-cookie', cookie)
      this.#keep(cookie)
    }
    return toAnswer<Body>(response)
  }

  /** A page may ask again in the session that an earlier call has begun. */
  #keep(setCookie: string): void {
    const [pair = '', ...attributes] = setCookie.split(';')
    const name = pair.split('=', 1)[0] ?? ''
    const isGone = attributes.some((each) => /^\s*max-age=0\s*$/i.test(each))
    this.#cookies = [
      ...this.#cookies.split(';').filter((sent) => sent.trim() !== '' && !isCookie(sent, name)),
      ...(isGone ? [] : [pair])
    ]
      .map((each) => each.trim())
      .join('; ')
  }

  #headers(): Record<string, string> {
    const { headers } = this.#request
    const passed = passedOn.flatMap((name) => {
      const value = headers[name]
      return value === undefined ? [] : [[name, [value].flat().join(', ')]]
    })
    return {
      ...(Object.fromEntries(passed) as Record<string, string>),
      ...(this.#cookies === '' ? {} : { cookie: this.#cookies }),
      // Undefined keeps a name of its own from being sent.
      'user-agent': headers['user-agent'] as string,
      accept: 'application/json',
      'accept-language': this.#language,
      host: hostFrom(this.#request) ?? '',
      origin: this.#origin,
      'sec-fetch-site': 'same-origin',
      'sec-fetch-mode': 'same-origin',
      'sec-fetch-dest': 'empty'
    }
  }
}

function toAnswer<Body>({
  statusCode,
  headers,
  body
}: {
  statusCode: number
  headers: Record<string, number | string | string[] | undefined>
  body: string
}): ApiAnswer<Body> {
  const parsed = parseJson(body)
  const pending = /effective-by="([^"]+)"/.exec([headers['session-revocation']].join())?.[1]
  const { cause, code, effective_by: effectiveBy, requestId } = parsed
  const by = pending ?? effectiveBy
  const named = typeof cause === 'string' ? cause : typeof code === 'string' ? code : null
  const retryAfter = Number(headers['retry-after'])
  return {
    status: statusCode,
    body: parsed as Body,
    code: named?.toLowerCase() ?? null,
    retryAfterSeconds: Number.isFinite(retryAfter) ? retryAfter : null,
    requestId: typeof requestId === 'string' ? requestId : null,
    effectiveBy: typeof by === 'string' ? new Date(by) : null
  }
}

function parseJson(text: string): Record<string, unknown> {
  if (text === '') return {}
  const parsed: unknown = JSON.parse(text)
  return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {}
}
