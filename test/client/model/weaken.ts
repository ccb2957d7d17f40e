import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type * as Client from '../../../src/client/client.js'

const folder = fileURLToPath(new URL('../../../../src/client/', import.meta.url))

/** The client with a rule left out: each text is replaced by the one that follows it. */
export async function weakened(
  edits: readonly (readonly [string, string])[]
): Promise<typeof Client> {
  let source = readFileSync(`${folder}client.ts`, 'utf8')
  for (const [before, after] of edits) {
    if (!source.includes(before)) throw new Error(`client.ts does not have: ${before}`)
    source = source.replace(before, after)
  }
  const { outputFiles } = await build({
    stdin: { contents: source, loader: 'ts', resolveDir: folder, sourcefile: 'client.ts' },
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false
  })
  const code = Buffer.from(outputFiles[0]?.contents ?? []).toString('base64')
  return (await import(`data:text/javascript;base64,${code}`)) as typeof Client
}
