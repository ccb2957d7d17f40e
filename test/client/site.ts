import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build as bundle } from 'esbuild'
import type { Test } from 'tap'
import { build, type Running } from '../support/server.js'

/**
 * A site of its own origin, and the server that trusts it. Its pages have what `source` exports as
 * `Holdfast`, and the HTML of `root`.
 */
export async function openSite(
  t: Test,
  source: string,
  root = ''
): Promise<{ running: Running; site: string }> {
  const { outputFiles } = await bundle({
    stdin: {
      contents: source,
      resolveDir: fileURLToPath(new URL('../../src/client/', import.meta.url))
    },
    bundle: true,
    format: 'iife',
    globalName: 'Holdfast',
    define: { 'process.env.NODE_ENV': '"development"' },
    write: false
  })
  const script = outputFiles[0]?.text ?? ''
  const pages = createServer((request, response) => {
    const isScript = request.url === '/client.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
    response.end(
      isScript
        ? script
        : `<!doctype html><link rel="icon" href="data:,"><div id="root">${root}</div><script src="/client.js"></script>`
    )
  })
  await once(pages.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    pages.closeAllConnections()
    pages.close()
  })
  const site = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`
  return { site, running: await build(t, { trustedOrigins: [site] }) }
}
