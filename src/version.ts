import { readFileSync } from 'node:fs'

// The same relative path works from dist/src, in the image and in the package.
const { version: text } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
) as { version: string }

/** The version of this program, as package.json has it. */
export const version = text
