import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../../src/config.js'
import { ConfigError } from '../../src/errors.js'
import { script } from './script.js'
import { DEFAULT_ACCENT, styleSheet } from './style.js'

/** A file that pages refer to. Its name has its hash, so that browsers may keep it for ever. */
interface Asset {
  path: string
  type: string
  body: Buffer
}

/** The addresses of the files, below the prefix. */
export interface AssetPaths {
  styleSheets: string[]
  script: string
  logo: string | null
}

/** Images that browsers show without a further look at their content. */
const imageTypes: Record<string, string> = {
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.webp': 'image/webp',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg'
}

/** The largest file that is served, in bytes. */
const LARGEST = 512 * 1024

/**
 * Serves the style sheets, the script and the logo.
 *
 * @throws ConfigError for a file that cannot be served
 */
export function addAssets(
  app: FastifyInstance,
  { brandAccent, brandLogo, pagesStylesheet }: Config
): AssetPaths {
  const style = asset(
    'style',
    '.css',
    'text/css',
    Buffer.from(styleSheet(brandAccent ?? DEFAULT_ACCENT))
  )
  const own =
    pagesStylesheet === undefined
      ? null
      : asset('own', '.css', 'text/css', read('PAGES_STYLESHEET', pagesStylesheet))
  const code = asset('script', '.js', 'text/javascript', Buffer.from(script))
  const logo = brandLogo === undefined ? null : logoFrom(brandLogo)
  for (const each of [style, own, code, logo]) if (each) serve(app, each)
  const below = (each: Asset) => app.prefix + each.path
  return {
    styleSheets: [style, ...(own ? [own] : [])].map(below),
    script: below(code),
    logo: logo && below(logo)
  }
}

function logoFrom(path: string): Asset {
  const extension = extname(path).toLowerCase()
  const type = imageTypes[extension]
  if (type === undefined)
    throw new ConfigError(
      `BRAND_LOGO: must be a file that ends with ${Object.keys(imageTypes).join(', ')} (it is ${path})`
    )
  return asset('logo', extension, type, read('BRAND_LOGO', path))
}

function read(name: string, path: string): Buffer {
  let body: Buffer
  try {
    body = readFileSync(path)
  } catch (error) {
    throw new ConfigError(`${name}: the file cannot be read (${path})`, { cause: error })
  }
  if (body.length > LARGEST)
    throw new ConfigError(`${name}: the file must have at most ${LARGEST} bytes (${path})`)
  return body
}

function asset(name: string, extension: string, type: string, body: Buffer): Asset {
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16)
  return { path: `/sign-in/assets/${name}-${hash}${extension}`, type, body }
}

function serve(app: FastifyInstance, { path, type, body }: Asset): void {
  app.get(path, { schema: { hide: true } }, async (_request, reply) =>
    reply
      .header('cache-control', 'public, max-age=31536000, immutable')
      .type(type.startsWith('text/') ? `${type}; charset=utf-8` : type)
      .send(body)
  )
}
