import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { until } from './poll.js'
import { accepts, freePort } from './ports.js'

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url))

const apache = (file: string, ...defines: string[]) => (folder: string) => ['apache2', '-d', folder, '-f', join(folder, file), '-DFOREGROUND', ...defines]

/** The proxies of `examples/` that can be started here, and how. */
export const proxies = {
  nginx: (folder: string) => ['nginx', '-p', folder, '-c', join(folder, 'nginx.conf'), '-g', 'daemon off;'],
  caddy: (folder: string) => ['caddy', 'run', '--config', join(folder, 'Caddyfile')],
  haproxy: (folder: string) => ['haproxy', '-db', '-f', join(folder, 'haproxy.cfg')],
  apache2: apache('apache.conf'),
  'apache2 as a resource server': apache('apache-resource-server.conf'),
  'apache2 that verifies': apache('apache-resource-server.conf', '-DJWKS')
}
export type Proxy = keyof typeof proxies
const openidc = ['/usr/lib/apache2/modules/mod_auth_openidc.so']

/** What a proxy's example needs besides the program: any one of these files. */
const additions: Partial<Record<Proxy, string[]>> = {
  apache2: ['5.1', '5.2', '5.3', '5.4'].map((version) => `/usr/share/lua/${version}/socket/http.lua`),
  'apache2 as a resource server': openidc,
  'apache2 that verifies': openidc
}

/** Why a proxy's test cannot run here, or false. With REQUIRE_SERVICES=1 a missing proxy is a failure. */
export function missing(proxy: Proxy): string | false {
  // Debian keeps daemons where other users' shells do not look.
  process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin`
  const [program = ''] = proxies[proxy]('')
  const found = spawnSync(program, [program === 'caddy' ? 'version' : '-v']).status === 0 && (additions[proxy]?.some((file) => existsSync(file)) ?? true)
  return found || process.env['REQUIRE_SERVICES'] === '1' ? false : `${proxy} is not here, or not whole: install what .ci/run names, or let CI run this`
}

/** What the examples' addresses stand for in one test. */
export interface Places {
  holdfastPort: number
  upstreamPort: number
  /** Further texts of the examples to replace. */
  replace?: Record<string, string>
}

/** Starts a program of `examples/` with the ports put in; it is stopped when the test ends. @returns where it listens */
async function startExample(t: Test, command: (folder: string) => string[], port: number, { holdfastPort, upstreamPort, replace = {} }: Places): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-proxy-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  cpSync(examples, folder, { recursive: true })
  const texts: Record<string, string> = { '127.0.0.1:3000': `127.0.0.1:${holdfastPort}`, '127.0.0.1:4000': `127.0.0.1:${upstreamPort}`, '127.0.0.1:8080': `127.0.0.1:${port}`, ...replace }
  for (const name of readdirSync(folder)) {
    let text = readFileSync(join(folder, name), 'utf8')
    for (const [from, to] of Object.entries(texts)) text = text.replaceAll(from, to)
    writeFileSync(join(folder, name), text)
  }
  const [program = '', ...args] = command(folder)
  const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: folder, PORT: String(port) } })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { output += chunk.toString() })
  const exited = once(child, 'close')
  t.teardown(async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 3_000)
    await exited
    clearTimeout(timer)
  })
  await Promise.race([
    until(`${program} to listen`, () => accepts('127.0.0.1', port)),
    exited.then(() => { throw new Error(`${program} ended: ${output}${logOf(folder)}`) })
  ])
  return `http://127.0.0.1:${port}`
}

/** TLS with a certificate of its own in front of a port: mod_auth_openidc asks nobody without it. @returns its port */
export async function startTls(t: Test, targetPort: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tls-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=127.0.0.1'], { encoding: 'utf8' })
  if (made.status !== 0) throw new Error(`openssl failed: ${made.stderr}`)
  const sockets = new Set<Socket>()
  const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (client) => {
    const target = connect(targetPort, '127.0.0.1')
    for (const socket of [client, target]) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => { client.destroy(); target.destroy(); sockets.delete(socket) })
    }
    client.pipe(target).pipe(client)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return (server.address() as AddressInfo).port
}

/** Starts a proxy with its example's configuration. */
export async function startProxy(t: Test, proxy: Proxy, places: Places): Promise<string> {
  return startExample(t, proxies[proxy], await freePort(), places)
}

/** Starts the application of the examples, which answers with the request headers that reached it. @returns its port */
export async function startUpstream(t: Test): Promise<number> {
  const port = await freePort()
  await startExample(t, (folder) => [process.execPath, join(folder, 'upstream.mjs')], port, { holdfastPort: 0, upstreamPort: port })
  return port
}

function logOf(folder: string): string {
  const log = join(folder, 'error.log')
  return existsSync(log) ? readFileSync(log, 'utf8') : ''
}
