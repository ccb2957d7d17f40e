import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { resolveConfig } from '../src/config.js'
import { migrate } from '../src/database/migrate.js'
import { openDatabase } from '../src/holdfast.js'
import { canQuery, createPostgres, execute, findPostgresPrograms } from './services/postgres.js'
import { accepts } from './services/ports.js'
import { startRedis } from './services/redis.js'

/*
 * `npm test`: the same tests on every storage mode that can be had here. PostgreSQL and Redis are those that TEST_DATABASE_URL and
 * TEST_REDIS_URL name, else the ones on loopback, else private ones. REQUIRE_SERVICES=1 makes a missing one a failure.
 */
const SECRET = 'a secret for tests only: 3f9c1e7a5b2d8046'
const required = process.env['REQUIRE_SERVICES'] === '1'
/** What asks no store is tested once, in the first mode. */
const storeless = new Set(['model.test.js', 'config.test.js', 'password.test.js', 'hash-queue.test.js', 'totp.test.js', 'gathering.test.js', 'idle-storage.test.js', 'redis-url.test.js', 'lease-messages.test.js', 'database-url.test.js'])
const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'))
const cleanUp: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })]

interface Mode {
  name: string
  env: Record<string, string>
}

async function embedded(): Promise<Mode> {
  const template = join(folder, 'template')
  await migrated({ dataDir: template })
  return { name: 'embedded (PGlite)', env: { TEST_STORAGE: 'embedded', TEST_TEMPLATE: template } }
}

async function production(): Promise<Mode | null> {
  const server = await postgresUrl()
  const redis = await redisUrl()
  if (server === null || redis === null) return null
  const name = `holdfast_template_${process.pid}`
  await execute(server, `DROP DATABASE IF EXISTS ${name}`, `CREATE DATABASE ${name}`)
  cleanUp.push(() => execute(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  const template = new URL(server)
  template.pathname = `/${name}`
  await migrated({ databaseUrl: template.href, baseUrl: 'http://localhost:3000', authSecret: SECRET })
  return { name: 'PostgreSQL and Redis', env: { TEST_STORAGE: 'postgres', TEST_TEMPLATE: name, TEST_DATABASE_URL: server, TEST_REDIS_URL: redis } }
}

async function migrated(options: Parameters<typeof resolveConfig>[0]): Promise<void> {
  const database = await openDatabase(resolveConfig(options), { onWarning: () => {} })
  await migrate(database)
  await database.close()
}

async function postgresUrl(): Promise<string | null> {
  const named = process.env['TEST_DATABASE_URL']
  if (named) return named
  const standard = 'postgresql://postgres@127.0.0.1:5432/postgres'
  if (await canQuery(standard)) return standard
  const programs = findPostgresPrograms()
  if (!programs) return null
  const server = await createPostgres(programs)
  cleanUp.push(() => server.remove())
  await server.start()
  return server.url
}

async function redisUrl(): Promise<string | null> {
  const named = process.env['TEST_REDIS_URL']
  if (named) return named
  if (await accepts('127.0.0.1', 6379)) return 'redis://127.0.0.1:6379'
  const server = await startRedis()
  if (server) cleanUp.push(() => server.stop())
  return server?.url ?? null
}

/** Runs every test file in one mode; the raw TAP is kept for counting. */
async function run(mode: Mode, files: string[]): Promise<{ passed: number, failed: number, status: number }> {
  process.stdout.write(`\n# ${mode.name}\n`)
  const output = join(folder, `${mode.env['TEST_STORAGE']}.tap`)
  const tap = fileURLToPath(import.meta.resolve('tap/package.json')).replace(/package\.json$/, 'dist/esm/run.mjs')
  const child = spawn(process.execPath, [tap, 'run', '--disable-coverage', '--allow-empty-coverage', '--jobs=2', '--timeout=600', `--reporter=${process.stdout.isTTY ? 'terse' : 'min'}`, `--output-file=${output}`, ...files], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...mode.env, TEST_SECRET: SECRET, NODE_OPTIONS: '--enable-source-maps' }
  })
  const status = await new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)))
  const results = readFileSync(output, 'utf8')
  for (const [, ok, file, time] of results.matchAll(/^((?:not )?ok) \d+ - .*?([\w-]+)\.test\.js # time=([\d.]+)/gm)) process.stdout.write(`${ok} ${file} (${Math.round(Number(time))} ms)\n`)
  for (const [, failure] of results.matchAll(/^ *not ok \d+ - (.*?)(?: # time=.*)?$/gm)) process.stdout.write(`failed: ${failure}\n`)
  return { ...count(results), status }
}

/** Counts the assertions of a TAP stream; the lines that sum up a subtest follow its plan and are left out. */
function count(tap: string): { passed: number, failed: number } {
  let passed = 0
  let failed = 0
  let deepest = 0
  for (const line of tap.split('\n')) {
    const result = /^( *)(not )?ok \d+/.exec(line)
    if (!result) continue
    const depth = result[1]?.length ?? 0
    const sumsUp = depth < deepest
    deepest = depth
    if (sumsUp) continue
    if (result[2] && !/# (TODO|SKIP)/i.test(line)) failed++
    else if (!/# (TODO|SKIP)/i.test(line)) passed++
  }
  return { passed, failed }
}

try {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const wanted = process.argv.slice(2)
  const files = readdirSync(here).filter((name) => name.endsWith('.test.js')).filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  if (files.length === 0) throw new Error(`no test file has ${wanted.join(' or ')} in its name`)
  const only = process.env['TEST_ONLY_MODE']
  const services = only === 'embedded' ? null : await production()
  if (!services && required) throw new Error('REQUIRE_SERVICES=1, and PostgreSQL or Redis is missing')
  const modes = [...(only === 'postgres' ? [] : [await embedded()]), ...(services ? [services] : [])]
  // A mode without files does not run: tap would take an empty list for "everything".
  const runs = modes.map((mode, index) => ({ mode, chosen: files.filter((name) => index === 0 || !storeless.has(name)) })).filter(({ chosen }) => chosen.length > 0)
  let [passed, failed, status] = [0, 0, 0]
  for (const { mode, chosen } of runs) {
    const result = await run(mode, chosen.map((name) => join(here, name)))
    passed += result.passed
    failed += result.failed
    status ||= result.status
  }
  if (status !== 0 && failed === 0) failed = 1
  process.stdout.write(`\nmodes that ran: ${runs.map(({ mode }) => mode.name).join('; ')}\n`)
  if (!services) process.stdout.write('modes that did not run: PostgreSQL and Redis (not found; set TEST_DATABASE_URL and TEST_REDIS_URL)\n')
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  process.exitCode = failed > 0 ? 1 : 0
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.stdout.write('0 passed, 1 failed\n')
  process.exitCode = 1
} finally {
  for (const step of cleanUp.toReversed()) await step()
}
