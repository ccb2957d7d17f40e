import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, sep } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { planFor, type Plan } from './plan.js'
import { findPgbouncer, startPgbouncer } from './support/pgbouncer.js'
import { canQuery, createPostgres, execute, findPostgresPrograms } from './support/postgres.js'
import { accepts } from './support/ports.js'
import { startRedis } from './support/redis.js'
import { createPostgresTemplate, embeddedTemplate } from './support/stores.js'

/*
 * `npm test`: the same tests on every storage mode that is available here. PostgreSQL and Redis are
 * those of TEST_DATABASE_URL and TEST_REDIS_URL, else those on loopback, else private ones.
 * REQUIRE_SERVICES=1 makes a missing one a failure.
 */
const required = process.env['REQUIRE_SERVICES'] === '1'
/** Selects one mode only: `embedded` or `postgres`. */
const only = process.env['TEST_ONLY_MODE']
/** How many files run at a time. */
const JOBS = Number(process.env['TEST_JOBS'] ?? availableParallelism())
const FILE_TIMEOUT_SECONDS = 600
const here = fileURLToPath(new URL('.', import.meta.url))
const cleanUp: (() => unknown)[] = []
const children = new Set<ChildProcess>()
process.once('SIGINT', () => {
  for (const child of children) child.kill()
})

interface Mode {
  name: string
  env: Record<string, string>
  kind: 'embedded' | 'production' | 'pooled'
}

async function embedded(): Promise<Mode> {
  return {
    name: 'embedded (PGlite)',
    env: { TEST_STORAGE: 'embedded', TEST_TEMPLATE: await embeddedTemplate() },
    kind: 'embedded'
  }
}

async function production(): Promise<Mode[] | null> {
  const server = await postgresUrl()
  const redis = await redisUrl()
  if (server === null || redis === null) return null
  const name = `holdfast_template_${process.pid}`
  cleanUp.push(() => execute(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  await createPostgresTemplate(server, name)
  const env = {
    TEST_STORAGE: 'postgres',
    TEST_TEMPLATE: name,
    TEST_DATABASE_URL: server,
    TEST_REDIS_URL: redis
  }
  const mode: Mode = {
    name: 'PostgreSQL and Redis',
    env,
    kind: 'production'
  }
  const pooled = await behindPooler(server, env)
  return pooled ? [mode, pooled] : [mode]
}

/**
 * The same behind PgBouncer in transaction mode, as a role with New York's time zone and its own
 * schema. Null where there is no PgBouncer.
 */
async function behindPooler(server: string, env: Mode['env']): Promise<Mode | null> {
  const program = findPgbouncer()
  if (program === null) {
    if (required) throw new Error('REQUIRE_SERVICES=1, and PgBouncer is missing')
    return null
  }
  const role = `holdfast_role_${process.pid}`
  const name = `holdfast_pooled_${process.pid}`
  await execute(
    server,
    `CREATE ROLE ${role} LOGIN`,
    `ALTER ROLE ${role} SET TimeZone = 'America/New_York'`
  )
  cleanUp.push(() =>
    execute(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`, `DROP ROLE ${role}`)
  )
  await createPostgresTemplate(server, name, role)
  const url = new URL(server)
  url.username = role
  const access = await startPgbouncer(
    {
      teardown: (step) => {
        cleanUp.push(step)
      }
    },
    program,
    url.href
  )
  return {
    name: 'PgBouncer, another schema and time zone',
    env: { ...env, TEST_TEMPLATE: name, TEST_DATABASE_ACCESS: access },
    kind: 'pooled'
  }
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

interface Job {
  mode: Mode
  file: string
}

interface Result {
  passed: number
  failed: number
}

/**
 * Runs one test file in a process of its own, and reports its result. Plain Node runs it: tap's own
 * runner puts three module loaders before each file, which cost three seconds of CPU time, for
 * languages and mocks that are not used here.
 */
async function run({ mode, file }: Job): Promise<Result> {
  const began = performance.now()
  const name = `${file} (${mode.name})`
  const env = {
    ...process.env,
    ...mode.env,
    TAP_TIMEOUT: String(FILE_TIMEOUT_SECONDS),
    TAP_BAIL: '0'
  }
  const child = spawn(process.execPath, ['--enable-source-maps', join(here, `${file}.test.js`)], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: FILE_TIMEOUT_SECONDS * 1_000,
    killSignal: 'SIGKILL'
  })
  children.add(child)
  const [output, errors, [status, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  ])
  children.delete(child)
  const { passed, failed } = count(output)
  const isWell = status === 0 && failed === 0 && /^ok \d|^1\.\.0/m.test(output)
  process.stdout.write(
    `${isWell ? 'ok' : 'not ok'} ${name} (${Math.round(performance.now() - began)} ms)\n`
  )
  if (isWell) return { passed, failed }
  if (signal) process.stdout.write(`ended by ${signal} after ${FILE_TIMEOUT_SECONDS} s at most\n`)
  process.stdout.write(`${output}\n${errors}\n`)
  for (const [, failure] of output.matchAll(/^ *not ok \d+ - (.*?)(?: # time=.*)?$/gm))
    process.stdout.write(`failed: ${name}: ${failure}\n`)
  return { passed, failed: Math.max(failed, 1) }
}

/** Runs all, so many at a time. */
async function runAll(jobs: readonly Job[]): Promise<Result> {
  const queue = [...jobs]
  const sum: Result = { passed: 0, failed: 0 }
  const work = async () => {
    for (let job = queue.shift(); job; job = queue.shift()) {
      const { passed, failed } = await run(job)
      sum.passed += passed
      sum.failed += failed
    }
  }
  await Promise.all(Array.from({ length: JOBS }, work))
  return sum
}

/**
 * Counts the assertions of a TAP stream. The lines that sum up a subtest follow its plan and are
 * left out.
 */
function count(tap: string): { passed: number; failed: number } {
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

/** The arguments: a suite, or files by parts of their paths. */
const { values: wanted, positionals: parts } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false }
  }
})

/** The files to run, each in its modes. */
function jobsFor(files: readonly string[], modes: readonly Mode[]): Job[] {
  return files.flatMap((file) => modesFor(planFor(file), modes).map((mode) => ({ mode, file })))
}

function modesFor({ suite, stores, pooled }: Plan, modes: readonly Mode[]): Mode[] {
  const own = modes.filter(({ kind }) => kind !== 'pooled' || pooled)
  const [first] = own
  const other = own.filter(({ kind }) => kind !== 'embedded')
  const isWhole = wanted.all || parts.length > 0
  if (wanted.quick) return suite === 'quick' && first ? [first] : []
  if (wanted.long && !isWhole) {
    if (suite === 'long') return stores === 'none' && first ? [first] : own
    return stores === 'either' ? own.filter(({ kind }) => kind === 'embedded') : []
  }
  if (suite === 'long' && !isWhole) return []
  if (stores === 'none') return first ? [first] : []
  return stores === 'either' && !isWhole && other.length > 0 ? other : own
}

try {
  const files = readdirSync(here, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.js'))
    .map((path) => path.replaceAll(sep, '/').slice(0, -'.test.js'.length))
    .filter((path) => parts.length === 0 || parts.some((part) => path.includes(part)))
    .toSorted()
  if (files.length === 0) throw new Error(`no test file has ${parts.join(' or ')} in its path`)
  const services = only === 'embedded' || wanted.quick ? null : await production()
  if (!services && required && only !== 'embedded')
    throw new Error('REQUIRE_SERVICES=1, and PostgreSQL or Redis is missing')
  const modes = [...(only === 'postgres' ? [] : [await embedded()]), ...(services ?? [])]
  const jobs = jobsFor(files, modes)
  const { passed, failed } = await runAll(jobs)
  const ran = modes.filter((mode) => jobs.some((job) => job.mode === mode))
  process.stdout.write(`\nmodes that ran: ${ran.map(({ name }) => name).join('; ')}\n`)
  if (!services && !wanted.quick)
    process.stdout.write(
      'modes that did not run: PostgreSQL and Redis (not found; set TEST_DATABASE_URL and TEST_REDIS_URL)\n'
    )
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  process.exitCode = failed > 0 ? 1 : 0
  const kinds = new Set(modes.map(({ kind }) => kind))
  if (wanted.long && parts.length === 0 && failed === 0 && kinds.size === 3)
    execFileSync(process.execPath, ['.ci/long-tested.mjs', '--record'], {
      cwd: join(here, '../..')
    })
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.stdout.write('0 passed, 1 failed\n')
  process.exitCode = 1
} finally {
  for (const step of cleanUp.toReversed()) await step()
}
