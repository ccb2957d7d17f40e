import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import t from 'tap'

const LIMIT = 4_096

/** A program that uses all of the client, bundled and minified. */
async function bundle(source: string): Promise<{ code: Uint8Array; imports: string[] }> {
  const { outputFiles, metafile } = await build({
    stdin: {
      contents: source,
      resolveDir: fileURLToPath(new URL('../../src/client/', import.meta.url))
    },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    external: ['react'],
    metafile: true,
    write: false
  })
  return {
    code: outputFiles[0]?.contents ?? new Uint8Array(),
    imports: Object.values(metafile.outputs).flatMap(({ imports }) =>
      imports.map(({ path }) => path)
    )
  }
}

t.test(`the client is at most ${LIMIT} bytes, and imports nothing`, async (t) => {
  const { code, imports } = await bundle("export * from './client.js'")
  const bytes = gzipSync(code, { level: 9 }).length
  t.comment(`${bytes} bytes`)
  t.ok(bytes > 2_000 && bytes <= LIMIT, `${bytes} bytes`)
  t.strictSame(imports, [])
})

t.test('the part for React imports React alone', async (t) => {
  const { code, imports } = await bundle("export * from './react.js'")
  t.ok(gzipSync(code).length < 1_000)
  t.strictSame(imports, ['react'])
})
