import type { Answer, Side } from './side.js'

/** An answer without the values that differ in each run. */
export interface Normalised {
  status: number
  /** The stable code of an error, or empty. */
  code: string
  /** The media type, without parameters. */
  type: string
  /** Key paths with the kinds or values found there. */
  body: Map<string, string>
  /** Names without their prefix, with `set` or `cleared` and the attributes. */
  cookies: Map<string, string>
  headers: Map<string, string>
}

const ID = /^([A-Za-z0-9]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/

/** Texts for people, which may be worded differently. */
const TEXTS = new Set(['message', 'detail', 'title', 'requestId', 'error'])

/** Replaces ids, tokens, times and the like by placeholders. Everything else stays. */
export function normalise(answer: Answer, { url, cookiePrefix }: Side): Normalised {
  const type =
    (typeof answer.headers['content-type'] === 'string'
      ? answer.headers['content-type']
      : ''
    ).split(';', 1)[0] ?? ''
  const value =
    type.includes('json') && answer.body !== '' ? (JSON.parse(answer.body) as unknown) : undefined
  const code =
    typeof value === 'object' && value !== null && 'code' in value && answer.status >= 400
      ? String(value.code)
      : ''
  return {
    status: answer.status,
    code,
    type,
    body:
      value === undefined
        ? new Map([['', answer.body === '' ? '<nothing>' : '<text>']])
        : shapeOf(value, url),
    cookies: cookiesOf(answer.cookies, cookiePrefix),
    headers: headersOf(answer, url)
  }
}

function shapeOf(value: unknown, url: string): Map<string, string> {
  const found = new Map<string, Set<string>>()
  const note = (path: string, kind: string) => {
    found.set(path, (found.get(path) ?? new Set()).add(kind))
  }
  const visit = (path: string, value: unknown) => {
    if (Array.isArray(value)) {
      if (value.length === 0) note(path, '[]')
      for (const item of value) visit(`${path}[]`, item)
    } else if (typeof value === 'object' && value !== null) {
      const entries = Object.entries(value)
      if (entries.length === 0) note(path, '{}')
      for (const [key, item] of entries) visit(path === '' ? key : `${path}.${key}`, item)
    } else note(path, kindOf(path, value, url))
  }
  visit('', value)
  return new Map([...found].map(([path, kinds]) => [path, [...kinds].toSorted().join(' | ')]))
}

function kindOf(path: string, value: unknown, url: string): string {
  if (typeof value !== 'string') return JSON.stringify(value)
  const key = /[^.[\]]*(?=(\[\])*$)/.exec(path)?.[0] ?? ''
  if (value.startsWith('hsh1_')) return '<handle>'
  if (/token$/i.test(key)) return '<token>'
  if (TIME.test(value)) return '<time>'
  if (TEXTS.has(key)) return '<text>'
  if (ID.test(value)) return '<id>'
  if (value.startsWith('otpauth://')) return '<otpauth URI>'
  if (key === 'backupCodes') return '<code>'
  if (value.length > 60) return '<long text>'
  return JSON.stringify(value.replaceAll(url, '<origin>'))
}

/** The browser's cookies after the answer. The last cookie of a name counts. */
function cookiesOf(cookies: string[], prefix: string): Map<string, string> {
  return new Map(
    cookies.map((cookie) => {
      const [pair = '', ...attributes] = cookie.split(/; */)
      const name = pair.slice(0, pair.indexOf('='))
      const cleared = attributes.some((attribute) => /^max-age=0$/i.test(attribute))
      return [
        name.startsWith(`${prefix}.`) ? name.slice(prefix.length + 1) : name,
        [cleared ? 'cleared' : 'set', ...attributes.toSorted()].join('; ')
      ]
    })
  )
}

function headersOf({ headers }: Answer, url: string): Map<string, string> {
  const seen = new Map<string, string>()
  if (headers['set-auth-token'] !== undefined) seen.set('set-auth-token', '<token>')
  if (headers.location !== undefined)
    seen.set('location', String(headers.location).replaceAll(url, '<origin>'))
  return seen
}
