import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../../src/config.js'
import { ConfigError } from '../../src/errors.js'
import { script } from './script.js'
import { DEFAULT_ACCENT, styleSheet } from './style.js'

/** A file that pages refer to. Its name has its hash, so that browsers may keep it for ever. */
export interface Asset {
  /** The path below the prefix. */
  path: string
  /** The path as pages name it, with the prefix. */
  href: string
  type: string
  body: Buffer
}

/** The files of the pages. */
export interface Assets {
  styleSheets: Asset[]
  script: Asset
  logo: Asset | null
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
 * Reads and makes the files: our style sheet and script, the operator's style sheet and logo.
 *
 * @throws ConfigError for a file that cannot be served
 */
export function assetsFrom(
  {
    brandAccent,
    brandLogo,
    pagesStylesheet
  }: Pick<Config, 'brandAccent' | 'brandLogo' | 'pagesStylesheet'>,
  prefix: string
): Assets {
  const asset = (name: string, extension: string, type: string, body: Buffer): Asset => {
    const hash = createHash('sha256').update(body).digest('hex').slice(0, 16)
    const path = `/sign-in/assets/${name}-${hash}${extension}`
    return { path, href: prefix + path, type, body }
  }
  const style = Buffer.from(styleSheet(brandAccent ?? DEFAULT_ACCENT))
  const extension = extname(brandLogo ?? '').toLowerCase()
  return {
    styleSheets: [
      asset('style', '.css', 'text/css', style),
      ...(pagesStylesheet === undefined
        ? []
        : [asset('own', '.css', 'text/css', read('PAGES_STYLESHEET', pagesStylesheet))])
    ],
    script: asset('script', '.js', 'text/javascript', Buffer.from(script)),
    logo:
      brandLogo === undefined
        ? null
        : asset('logo', extension, imageType(brandLogo), read('BRAND_LOGO', brandLogo))
  }
}

/** Serves the files. */
export function addAssets(app: FastifyInstance, { styleSheets, script: code, logo }: Assets): void {
  for (const { path, type, body } of [...styleSheets, code, ...(logo ? [logo] : [])])
    app.get(path, { schema: { hide: true } }, async (_request, reply) =>
      reply
        .header('cache-control', 'public, max-age=31536000, immutable')
        .type(type.startsWith('text/') ? `${type}; charset=utf-8` : type)
        .send(body)
    )
}

function imageType(path: string): string {
  const type = imageTypes[extname(path).toLowerCase()]
  if (type === undefined)
    throw new ConfigError(
      `BRAND_LOGO: must be a file that ends with ${Object.keys(imageTypes).join(', ')} (it is ${path})`
    )
  return type
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
