import type { IncomingHttpHeaders } from 'node:http'

/** Whether a request says that it wants a page, as browsers do where one is opened. */
export function acceptsHtml({ accept = '' }: IncomingHttpHeaders): boolean {
  return /\btext\/html\b/i.test(accept)
}
