import { Agent, request } from 'node:http'
import type { Call, Check } from './history.js'
import type { Ticket } from './fixtures.js'

/** The base URL of every node: they are one server behind one name. */
export const BASE_URL = 'http://auth.example.com'

/** Where a call goes. */
export interface Target {
  name: string
  url: string
}

export interface Answer extends Call {
  headers: Record<string, string | string[] | undefined>
  body: unknown
}

export interface CallOptions {
  method?: 'GET' | 'POST' | 'DELETE'
  /** Sent as a cookie or as a bearer token. */
  ticket?: Ticket
  as?: 'cookie' | 'bearer'
  body?: unknown
  timeoutMs?: number
}

const agent = new Agent({ keepAlive: true, maxSockets: 256 })

/** Calls a node. A missing answer and a broken connection are status 0. */
export async function call(
  target: Target,
  path: string,
  { method = 'GET', ticket, as = 'bearer', body, timeoutMs = 6_000 }: CallOptions = {}
): Promise<Answer> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const headers: Record<string, string> = { origin: BASE_URL }
  if (ticket)
    headers[as === 'cookie' ? 'cookie' : 'authorization'] =
      as === 'cookie' ? ticket.cookie : `Bearer ${ticket.bearer}`
  if (text !== undefined)
    Object.assign(headers, {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(text))
    })
  const what = `${method} ${path}${ticket ? ` (${as})` : ''}`
  const start = performance.now()
  const answer = await new Promise<{ status: number; headers: Answer['headers']; text: string }>(
    (resolve) => {
      const none = () => {
        resolve({ status: 0, headers: {}, text: '' })
      }
      const sent = request(new URL(path, target.url), { agent, method, headers }, (response) => {
        let received = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          received += chunk
        })
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text: received })
        })
        response.on('error', none)
        response.on('aborted', none)
      })
      sent.setTimeout(timeoutMs, () => {
        sent.destroy()
      })
      sent.on('error', none)
      sent.end(text)
    }
  )
  return {
    what,
    node: target.name,
    start,
    end: performance.now(),
    status: answer.status,
    headers: answer.headers,
    body: parse(answer.text)
  }
}

/**
 * When an acknowledged revocation or change holds, on this process's monotonic clock. Null where it
 * was not acknowledged.
 */
export function finalAt(answer: Answer): number | null {
  const { status, headers, body, end } = answer
  if (status !== 200 && status !== 202 && status !== 204) return null
  const pending = /effective-by="([^"]+)"/.exec(String(headers['session-revocation'] ?? ''))?.[1]
  const effectiveBy =
    pending ??
    (status === 202 ? String((body as { effective_by?: unknown } | null)?.effective_by) : undefined)
  if (effectiveBy === undefined) return end
  const at = Date.parse(effectiveBy)
  if (Number.isNaN(at)) throw new Error(`no time in ${JSON.stringify(answer)}`)
  return performance.now() + at - Date.now()
}

/** Checks whether a session is active, in one of the possible ways. */
export async function ask(
  target: Target,
  ticket: Ticket,
  way: 'cookie' | 'bearer' | 'get-session',
  timeoutMs?: number
): Promise<Check> {
  const options: CallOptions = {
    ticket,
    as: way === 'bearer' ? 'bearer' : 'cookie',
    ...(timeoutMs === undefined ? {} : { timeoutMs })
  }
  const {
    headers: _headers,
    body,
    ...answer
  } = await call(target, way === 'get-session' ? '/api/auth/get-session' : '/session', options)
  if (answer.status === 401 || (answer.status === 200 && body === null))
    return { ...answer, says: 'inactive' }
  if (answer.status !== 200) return { ...answer, says: 'unknown' }
  const { user } = body as {
    user: { name: string; email: string; role?: string; roles?: string[] }
  }
  return {
    ...answer,
    says: 'active',
    shows: {
      name: Number(user.name),
      role: numberIn(user.roles?.join() ?? user.role ?? ''),
      email: numberIn(/\+(\d+)@/.exec(user.email)?.[1] ?? '')
    }
  }
}

function numberIn(text: string): number {
  return Number(/\d+/.exec(text)?.[0] ?? 0)
}

function parse(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
