import type { Body } from './answers.js'
import { parseJson } from './json.js'

/** The origin of an http address. Null for one that a parser could understand in two ways. */
export const originOf = (url: string) =>
  /^https?:\/\/[\w.:[\]-]+(?=[/?#]|$)/i.exec(url)?.[0] ?? null

/** The same request with an access token. */
export function withToken(request: Request, token: string | null): Request {
  if (token === null) return request
  const headers = new Headers(request.headers)
  headers.set('authorization', `Bearer ${token}`)
  return new Request(request, { headers, credentials: 'omit' })
}

/** Whether a service has refused a request because its access token has ended. */
export async function isExpired(response: Response): Promise<boolean> {
  const said = response.headers.get('www-authenticate') ?? ''
  if (said.includes('token_expired')) return true
  return (parseJson(await response.clone().text()) as Body | undefined)?.cause === 'token_expired'
}
