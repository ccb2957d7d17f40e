import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { until } from './poll.js'
import { accepts, freePort } from './ports.js'
import { lend } from './postgres.js'

/** PgBouncer's program. Null where it is not installed. */
export function findPgbouncer(): string | null {
  const named = spawnSync('sh', ['-c', 'command -v pgbouncer'], { encoding: 'utf8' }).stdout.trim()
  return [named, '/usr/sbin/pgbouncer'].find((path) => path !== '' && existsSync(path)) ?? null
}

/**
 * Starts PgBouncer in front of a server. It gives its few connections to another client after each
 * transaction, and ends with the test.
 *
 * @returns DATABASE_URL through it
 */
export async function startPgbouncer(
  t: Pick<Test, 'teardown'>,
  program: string,
  databaseUrl: string,
  { poolSize = 5, mode = 'transaction' } = {}
): Promise<string> {
  const { hostname, port, username, pathname } = new URL(databaseUrl)
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-pgbouncer-'))
  const listenPort = await freePort()
  const file = join(folder, 'pgbouncer.ini')
  writeFileSync(
    file,
    `
[databases]
* = host=${hostname} port=${port || 5432} user=${username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = ${poolSize}
max_client_conn = 500
server_reset_query =
`
  )
  const user = lend(folder, file)
  const child = spawn(program, [file], { ...user, stdio: 'ignore' })
  t.teardown(() => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  await until('PgBouncer to start', () => accepts('127.0.0.1', listenPort))
  return `postgresql://${username}@127.0.0.1:${listenPort}${pathname}`
}
