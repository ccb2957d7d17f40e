import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type * as Client from '../../../src/client/client.js'

const folder = fileURLToPath(new URL('../../../../src/client/', import.meta.url))

/** The client with a rule left out: each text is replaced by the one that follows it. */
export async function weakened(
  edits: readonly (readonly [string, string])[]
): Promise<typeof Client> {
  const sources = new Map(
    readdirSync(folder).map((name) => [name, readFileSync(`${folder}${name}`, 'utf8')])
  )
  for (const [before, after] of edits) {
    const found = [...sources].find(([, source]) => source.includes(before))
    if (!found) throw new Error(`src/client/ does not have: ${before}`)
    sources.set(found[0], found[1].replace(before, after))
  }
  const { outputFiles } = await build({
    entryPoints: [`${folder}client.ts`],
    plugins: [
      {
        name: 'weaken',
        setup: (bundle) =>
          bundle.onLoad({ filter: /client[\\/][\w-]+\.ts$/ }, ({ path }) => ({
            contents: sources.get(path.split(/[\\/]/).at(-1) ?? '') ?? '',
            loader: 'ts'
          }))
      }
    ],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false
  })
  const code = Buffer.from(outputFiles[0]?.contents ?? []).toString('base64')
  return (await import(`data:text/javascript;base64,${code}`)) as typeof Client
}
