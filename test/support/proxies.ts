import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Certificate } from './certificate.js'
import { until } from './poll.js'
import { accepts, freePort } from './ports.js'

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url))

const apache =
  (file: string, ...defines: string[]) =>
  (folder: string) => [
    'apache2',
    '-d',
    folder,
    '-f',
    join(folder, file),
    '-DFOREGROUND',
    ...defines
  ]

/** The proxies of `examples/` that can be started here, and how. */
export const proxies = {
  nginx: (folder: string) => [
    'nginx',
    '-p',
    folder,
    '-c',
    join(folder, 'nginx.conf'),
    '-g',
    'daemon off;'
  ],
  caddy: (folder: string) => ['caddy', 'run', '--config', join(folder, 'Caddyfile')],
  haproxy: (folder: string) => ['haproxy', '-db', '-f', join(folder, 'haproxy.cfg')],
  apache2: apache('apache.conf'),
  'apache2 as a resource server': apache('apache-resource-server.conf'),
  'apache2 that verifies': apache('apache-resource-server.conf', '-DJWKS')
}
export type Proxy = keyof typeof proxies
const openidc = ['/usr/lib/apache2/modules/mod_auth_openidc.so']

/** What a proxy's example needs besides the program: one of these files. */
const additions: Partial<Record<Proxy, string[]>> = {
  apache2: ['5.1', '5.2', '5.3', '5.4'].map(
    (version) => `/usr/share/lua/${version}/socket/http.lua`
  ),
  'apache2 as a resource server': openidc,
  'apache2 that verifies': openidc
}

/**
 * Why a proxy's test cannot run here, or false. With REQUIRE_SERVICES=1 a missing proxy is a
 * failure.
 */
export function missing(proxy: Proxy): string | false {
  // Debian keeps daemons outside of other users' PATH.
  process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin`
  const [program = ''] = proxies[proxy]('')
  const found =
    spawnSync(program, [program === 'caddy' ? 'version' : '-v']).status === 0 &&
    (additions[proxy]?.some((file) => existsSync(file)) ?? true)
  return found || process.env['REQUIRE_SERVICES'] === '1'
    ? false
    : `${proxy} is not here, or not whole: install what .ci/run names, or let CI run this`
}

/** The host name in the examples' certificate and addresses. */
export const HOST = 'app.example.com'

/** The real addresses for those of the examples, in one test. */
export interface Places {
  holdfastPort: number
  applicationPort: number
  /** The application of the role admin. Absent: the same one. */
  staffPort?: number
  apiPort?: number
  /** The site's certificate. Absent: the proxy has its own. */
  certificate?: Certificate
  /** The environment of the proxy. */
  env?: Record<string, string>
  /** Further texts of the examples to replace. */
  replace?: Record<string, string>
}

/** Where a program of the examples listens, on loopback. */
export interface Listening {
  /** Its one port, or that of TLS. */
  port: number
  /** Where it listens without TLS, beside that. */
  plainPort: number
  /** The folder of its files and of what it writes. */
  folder: string
}

/**
 * The lines of the examples that set listening addresses, each in its own syntax, and their
 * replacements.
 */
function listeningTexts(
  { port, plainPort }: Omit<Listening, 'folder'>,
  innerPort: number
): Record<string, string> {
  return {
    '127.0.0.1:8080': `127.0.0.1:${port}`,
    // nginx
    'listen 443 ': `listen 127.0.0.1:${port} `,
    'listen [::]:443 ': `listen [::1]:${port} `,
    'listen 80 ': `listen 127.0.0.1:${plainPort} `,
    'listen [::]:80 ': `listen [::1]:${plainPort} `,
    // Caddy
    'http_port 80': `http_port ${plainPort}\n\tdefault_bind 127.0.0.1`,
    'https_port 443': `https_port ${port}`,
    // HAProxy
    '127.0.0.1:3001': `127.0.0.1:${innerPort}`,
    'bind :80': `bind 127.0.0.1:${plainPort}`,
    'bind :443': `bind 127.0.0.1:${port}`,
    // Apache
    'Listen 80': `Listen 127.0.0.1:${plainPort}`,
    'Listen 443': `Listen 127.0.0.1:${port}`,
    '*:80>': `*:${plainPort}>`,
    '*:443>': `*:${port}>`
  }
}

/** Starts a program of `examples/` with the ports put in; it is stopped when the test ends. */
async function startExample(
  t: Test,
  command: (folder: string) => string[],
  places: Places
): Promise<Listening> {
  const {
    holdfastPort,
    applicationPort,
    staffPort = applicationPort,
    apiPort = applicationPort,
    certificate,
    env = {},
    replace = {}
  } = places
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-proxy-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  cpSync(examples, folder, { recursive: true })
  const listening = { port: await freePort(), plainPort: await freePort() }
  const texts: Record<string, string> = {
    '127.0.0.1:3000': `127.0.0.1:${holdfastPort}`,
    '127.0.0.1:4000': `127.0.0.1:${applicationPort}`,
    '127.0.0.1:4001': `127.0.0.1:${staffPort}`,
    '127.0.0.1:4002': `127.0.0.1:${apiPort}`,
    ...listeningTexts(listening, await freePort()),
    ...(certificate ? { '# tls fullchain.pem': 'tls fullchain.pem' } : {}),
    ...replace
  }
  for (const { name } of readdirSync(folder, { withFileTypes: true }).filter((entry) =>
    entry.isFile()
  )) {
    let text = readFileSync(join(folder, name), 'utf8')
    for (const [from, to] of Object.entries(texts)) text = text.replaceAll(from, to)
    writeFileSync(join(folder, name), text)
  }
  if (certificate) {
    const { cert, key } = certificate
    for (const [name, pem] of [
      ['fullchain.pem', cert],
      ['privkey.pem', key],
      [`${HOST}.pem`, cert + key]
    ] as const)
      writeFileSync(join(folder, name), pem, { mode: 0o600 })
  }
  const [program = '', ...args] = command(folder)
  const { port } = listening
  const child = spawn(program, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: folder, PORT: String(port), ...env }
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  const exited = once(child, 'close')
  t.teardown(async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 3_000)
    await exited
    clearTimeout(timer)
  })
  await Promise.race([
    until(`${program} to listen`, () => accepts('127.0.0.1', port)),
    exited.then(() => {
      throw new Error(`${program} ended: ${output}${logOf(folder)}`)
    })
  ])
  return { ...listening, folder }
}

/**
 * Puts TLS in front of a port, because mod_auth_openidc calls no server without it.
 *
 * @returns its port
 */
export async function startTls(
  t: Test,
  targetPort: number,
  certificate: Certificate
): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer(certificate, (client) => {
    const target = connect(targetPort, '127.0.0.1')
    for (const socket of [client, target]) {
      sockets.add(socket)
      socket
        .on('error', () => {})
        .on('close', () => {
          client.destroy()
          target.destroy()
          sockets.delete(socket)
        })
    }
    client.pipe(target).pipe(client)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** Starts a proxy with its example's configuration. */
export async function startProxy(t: Test, proxy: Proxy, places: Places): Promise<Listening> {
  return startExample(t, proxies[proxy], places)
}

/**
 * Starts the application of the examples, which answers with the request headers that reached it.
 *
 * @returns its port
 */
export async function startUpstream(t: Test): Promise<number> {
  const { port } = await startExample(
    t,
    (folder) => [process.execPath, join(folder, 'upstream.mjs')],
    {
      holdfastPort: 0,
      applicationPort: 0
    }
  )
  return port
}

function logOf(folder: string): string {
  const log = join(folder, 'error.log')
  return existsSync(log) ? readFileSync(log, 'utf8') : ''
}
