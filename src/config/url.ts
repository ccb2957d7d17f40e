/** Parses an address with one of these protocols. Null for any other text. */
export function parseUrl(value: string, protocols: string[]): URL | null {
  const url = URL.canParse(value) ? new URL(value) : null
  return url && protocols.includes(url.protocol) ? url : null
}

// Apps in a web view and browser extensions send such origins: a scheme of their own, and a host.
const APP_ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/[A-Za-z0-9._-]+(:\d{1,5})?$/
/** Any page can have an address with these schemes. Their origin is "null" or another site's. */
const NO_APP = new Set([
  'about',
  'blob',
  'data',
  'file',
  'filesystem',
  'ftp',
  'http',
  'https',
  'javascript',
  'view-source',
  'vbscript',
  'ws',
  'wss'
])

/**
 * Whether a text is an origin exactly as a browser writes it, because origins are compared as
 * texts.
 */
export function isOrigin(text: string): boolean {
  if (/^https?:/i.test(text))
    return !/[*?]/.test(text) && parseUrl(text, ['http:', 'https:'])?.origin === text
  const scheme = APP_ORIGIN.exec(text)?.[1]
  return scheme !== undefined && !NO_APP.has(scheme)
}
