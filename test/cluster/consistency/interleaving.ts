import { migrate } from '../../../src/database/migrate.js'
import { resolveConfig } from '../../../src/config.js'
import { openDatabase } from '../../../src/holdfast/open-store.js'
import { execute, type PrivatePostgres } from '../../support/postgres.js'
import { interleavings } from './interleavings.js'
import { BASE_URL } from './client.js'
import type { Violation } from './history.js'
import type { Random } from './random.js'
import { TestCluster, type Teardowns } from './test-cluster.js'

/** The result of an interleaving. */
export interface Sprung {
  name: string
  violations: Violation[]
  /** Why it could not be arranged. With protections left out, another fault may prevent it. */
  problem: string | null
}

export interface InterleavingOptions {
  postgres: PrivatePostgres
  random: Random
  leaveOut: readonly string[]
  untilViolation: boolean
}

const AT_ONCE = 3
const TEMPLATE = 'holdfast_stage'
const authSecret = 'a secret for the stages only: 4d7f0a92c6e1b835'

/**
 * Runs every interleaving, in an order that the seed decides, some at a time, each on a cluster of
 * its own.
 */
export async function springAmbushes({
  postgres,
  random,
  leaveOut,
  untilViolation
}: InterleavingOptions): Promise<Sprung[]> {
  await makeTemplate(postgres)
  const coming = random.shuffled(Object.keys(interleavings) as (keyof typeof interleavings)[])
  // Finds the first violation sooner. The same interleavings run.
  if (untilViolation)
    coming.sort((a, b) => Number(leaveOut.includes(b)) - Number(leaveOut.includes(a)))
  const sprung: Sprung[] = []
  const next = async (): Promise<void> => {
    const name = coming.shift()
    if (
      name === undefined ||
      (untilViolation && sprung.some(({ violations }) => violations.length > 0))
    )
      return
    sprung.push(await spring(name, postgres, leaveOut))
    await next()
  }
  await Promise.all(Array.from({ length: untilViolation ? 1 : AT_ONCE }, next))
  return sprung
}

async function spring(
  name: keyof typeof interleavings,
  postgres: PrivatePostgres,
  leaveOut: readonly string[]
): Promise<Sprung> {
  const undo: (() => unknown)[] = []
  const teardowns: Teardowns = {
    teardown: (step) => {
      undo.unshift(step)
    }
  }
  let cluster: TestCluster | null = null
  let problem: string | null = null
  try {
    const databaseUrl = await makeStore(postgres, teardowns)
    cluster = await TestCluster.open(teardowns, {
      leaveOut,
      store: { databaseUrl, authSecret, databasePoolSize: 5 }
    })
    await interleavings[name](cluster)
    if (cluster.history.counts.checksAfterRevocation === 0)
      problem = 'nobody asked after the revocation'
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error)
  } finally {
    for (const step of undo) await step()
  }
  return { name, violations: cluster?.history.violations ?? [], problem }
}

async function makeTemplate({ url }: PrivatePostgres): Promise<void> {
  // an earlier run on this server has made it
  await execute(url, `CREATE DATABASE ${TEMPLATE}`).catch(() => {})
  const database = await openDatabase(
    resolveConfig({ databaseUrl: databaseAt(url, TEMPLATE), baseUrl: BASE_URL, authSecret }),
    { onWarning: () => {} }
  )
  await migrate(database)
  await database.close()
}

let stores = 0

async function makeStore({ url }: PrivatePostgres, t: Teardowns): Promise<string> {
  const name = `${TEMPLATE}_${process.pid}_${++stores}`
  await execute(url, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`)
  t.teardown(() => execute(url, `DROP DATABASE ${name} WITH (FORCE)`))
  return databaseAt(url, name)
}

function databaseAt(url: string, name: string): string {
  const at = new URL(url)
  at.pathname = `/${name}`
  return at.href
}
