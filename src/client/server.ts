import type { Answer, Body } from './answers.js'
import { HoldfastError } from './errors.js'
import { parseJson } from './json.js'

/** Those that are undefined are not sent. */
export type OptionalHeaders = Record<string, string | undefined>

/** How long an answer is waited for, in milliseconds. */
const ANSWER_MS = 20_000

/** The server, as a client speaks to it. */
export function openServer(base: string, send: typeof fetch, credentials: 'include' | 'omit') {
  /** Sends a request to the server. @throws HoldfastError where no whole answer comes in time */
  async function call(
    method: string,
    path: string,
    headers: OptionalHeaders,
    body?: string
  ): Promise<Answer> {
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const ask = async () => {
      const response = await send(base + path, {
        credentials,
        cache: 'no-store',
        signal: stop.signal,
        method,
        headers: Object.entries(headers).filter(
          (header): header is [string, string] => !!header[1]
        ),
        body
      })
      const text = await response.text()
      return {
        status: response.status,
        headers: response.headers,
        text,
        body: parseJson(text) as Body | undefined
      }
    }
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject()
        stop.abort()
      }, ANSWER_MS)
    })
    try {
      return await Promise.race([ask(), late])
    } catch {
      throw new HoldfastError(0, null, 'no answer', null)
    } finally {
      clearTimeout(timer)
    }
  }

  const post = (path: string, body: object, headers: OptionalHeaders = {}) =>
    call('POST', path, { 'content-type': 'application/json', ...headers }, JSON.stringify(body))

  return { call, post }
}
