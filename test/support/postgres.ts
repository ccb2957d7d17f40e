import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Client } from 'pg'
import { until } from './poll.js'
import { accepts, freePort } from './ports.js'

/** A private PostgreSQL server, which may be stopped and killed. */
export interface PrivatePostgres {
  readonly url: string
  start(): Promise<void>
  /** SIGQUIT: stops at once, as a crash would. */
  stop(): Promise<void>
  /** Stops cleanly, and starts again as a standby of another server. */
  demote(primaryUrl: string): Promise<void>
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void
  remove(): Promise<void>
}

/** The directory of PostgreSQL's programs. Null where there are none. */
export function findPostgresPrograms(): string | null {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian)
    ? readdirSync(debian)
        .map((version) => join(debian, version, 'bin'))
        .toReversed()
    : []
  const folders = [...versions, ...(process.env['PATH'] ?? '').split(delimiter)]
  return (
    folders.find(
      (folder) => existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres'))
    ) ?? null
  )
}

export interface PostgresSettings {
  maxConnections?: number
  /** Further settings, `name=value`. */
  settings?: readonly string[]
  /** The server to follow as a standby. */
  standbyOf?: string
  /**
   * Files to put into its folder, such as keys, by name. Settings may name them as `$FOLDER/name`.
   */
  files?: Readonly<Record<string, string>>
}

/**
 * Creates a database cluster on a free port. PostgreSQL refuses to run as root, so root runs it as
 * another user.
 */
export async function createPostgres(
  programs: string,
  { maxConnections = 60, settings = [], standbyOf, files = {} }: PostgresSettings = {}
): Promise<PrivatePostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-postgres-'))
  const user = lend(folder)
  const data = join(folder, 'data')
  const made =
    standbyOf === undefined
      ? spawnSync(
          join(programs, 'initdb'),
          ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync'],
          { ...user, encoding: 'utf8' }
        )
      : spawnSync(
          join(programs, 'pg_basebackup'),
          ['-d', standbyOf, '-D', data, '-R', '-X', 'stream', '-c', 'fast', '--no-sync'],
          { ...user, encoding: 'utf8' }
        )
  if (made.status !== 0) throw new Error(`the cluster could not be made: ${made.stderr}`)
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(folder, name), text, { mode: 0o600 })
    lend(join(folder, name))
  }
  const port = await freePort()
  let server: ChildProcess | null = null
  const postgres: PrivatePostgres = {
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    async start() {
      // A killed process loses nothing that the system has buffered. Without this setting its
      // recovery syncs every file, which takes a busy disk half a minute.
      server = spawn(
        join(programs, 'postgres'),
        [
          '-D',
          data,
          '-p',
          String(port),
          '-k',
          folder,
          '-c',
          'listen_addresses=127.0.0.1',
          '-c',
          'fsync=off',
          '-c',
          `max_connections=${maxConnections}`,
          ...settings.flatMap((setting) => ['-c', setting.replaceAll('$FOLDER', folder)])
        ],
        { ...user, stdio: 'ignore' }
      )
      await until('PostgreSQL to start', () => canQuery(postgres.url))
    },
    async stop() {
      if (!server || server.exitCode !== null) return
      const exited = once(server, 'exit')
      server.kill('SIGCONT')
      server.kill('SIGQUIT')
      await exited
      server = null
    },
    async demote(primaryUrl) {
      if (!server) return
      const exited = once(server, 'exit')
      server.kill('SIGINT')
      await exited
      writeFileSync(join(data, 'standby.signal'), '')
      appendFileSync(join(data, 'postgresql.auto.conf'), `primary_conninfo = '${primaryUrl}'\n`)
      lend(join(data, 'standby.signal'))
      await postgres.start()
    },
    signal(signal) {
      if (server?.pid === undefined) return
      // Its children answer the queries, so all of them must pause.
      const children = spawnSync('ps', ['-o', 'pid=', '--ppid', String(server.pid)], {
        encoding: 'utf8'
      })
        .stdout.split('\n')
        .map(Number)
        .filter(Boolean)
      for (const pid of [server.pid, ...children]) process.kill(pid, signal)
    },
    async remove() {
      await postgres.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
  return postgres
}

/** Whether a server answers there. */
export async function canQuery(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  if (!(await accepts(hostname, Number(port || 5432)))) return false
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 1_000 })
  try {
    await client.connect()
    await client.query('SELECT 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

/** Runs statements as the owner of the server. */
export async function execute(url: string, ...statements: string[]): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

/** The rows of a statement, as the owner of the server sees them. */
export async function query<T>(url: string, statement: string): Promise<T[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(statement)).rows as T[]
  } finally {
    await client.end()
  }
}

/**
 * Gives files to the user that runs servers which refuse to run as root. Changes nothing where this
 * process is not root.
 */
export function lend(...paths: string[]): { uid?: number; gid?: number } {
  const user = process.getuid?.() === 0 ? nobody() : {}
  for (const path of paths)
    if (user.uid !== undefined) chownSync(path, user.uid, user.gid ?? user.uid)
  return user
}

function nobody(): { uid?: number; gid?: number } {
  for (const name of ['postgres', 'nobody']) {
    const id = spawnSync('id', ['-u', name], { encoding: 'utf8' })
    if (id.status === 0)
      return {
        uid: Number(id.stdout),
        gid: Number(spawnSync('id', ['-g', name], { encoding: 'utf8' }).stdout)
      }
  }
  throw new Error('there is no user to run PostgreSQL as')
}
