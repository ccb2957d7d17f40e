import {
  createPostgres,
  findPostgresPrograms,
  type PrivatePostgres
} from '../../support/postgres.js'
import { until } from '../../support/poll.js'
import { springAmbushes, type Sprung } from './interleaving.js'
import { ask } from './client.js'
import { CACHE_TTL_SECONDS, Deployment, LEASE_MS, type ServerNode } from './deployment.js'
import { inflictFaults, type Fault } from './faults.js'
import { describeViolation, History, type Violation } from './history.js'
import { Load, type Timing } from './load.js'
import { People } from './fixtures.js'
import { Random } from './random.js'

export interface RunOptions {
  seconds: number
  seed: number
  /** Protections to leave out. */
  leaveOut?: readonly string[]
  /** Whether to inflict faults. */
  withFaults?: boolean
  /** Whether to end with the first violation. */
  untilViolation?: boolean
  /** A running server to work on; by default a private one. */
  postgres?: PrivatePostgres
  onFault?: (fault: Fault) => void
}

/** The results of a run. */
export interface Report {
  history: History
  /** The results of the interleavings, by name. */
  interleavings: Sprung[]
  /** Violations of the load and of the interleavings. */
  violations: Violation[]
  faults: Fault[]
  load: Load | null
  /** The nodes that answered from their caches again at the end. */
  cachesInUse: number
  text: string
}

/**
 * Runs the checker: first the interleavings, then load and faults; null where PostgreSQL's programs or
 * redis-server are missing.
 */
export async function runChecker(options: RunOptions): Promise<Report | null> {
  const { seed, leaveOut = [], untilViolation = false } = options
  const own = options.postgres ? null : await privatePostgres()
  const postgres = options.postgres ?? own
  if (!postgres) return null
  try {
    const interleavings = await springAmbushes({
      postgres,
      random: new Random(seed),
      leaveOut,
      untilViolation
    })
    const found = interleavings.flatMap(({ violations }) => violations)
    if (untilViolation && found.length > 0) return reportOf(options, interleavings, null)
    return await runLoad(options, interleavings, postgres)
  } finally {
    await own?.remove()
  }
}

async function privatePostgres(): Promise<PrivatePostgres | null> {
  const programs = findPostgresPrograms()
  if (programs === null) return null
  const postgres = await createPostgres(programs)
  await postgres.start()
  return postgres
}

interface Loaded {
  load: Load
  history: History
  faults: Fault[]
  cachesInUse: number
}

async function runLoad(
  options: RunOptions,
  interleavings: Sprung[],
  postgres: PrivatePostgres
): Promise<Report | null> {
  const { seconds, seed, leaveOut = [], withFaults = true, onFault = () => {} } = options
  const deployment = await Deployment.start({ leaveOut, postgres })
  if (!deployment) return null
  const people = new People(deployment.postgres.url, deployment.authSecret)
  try {
    const history = new History()
    const load = new Load(deployment, history, people, new Random(seed))
    const faults: Fault[] = []
    const deadline = performance.now() + seconds * 1_000
    await Promise.all([
      load.run(deadline),
      withFaults &&
        inflictFaults(deployment, new Random(seed), deadline - 2_000, (fault) => {
          faults.push(fault)
          onFault(fault)
        })
    ])
    let cachesInUse = 0
    for (const node of deployment.nodes) if (await usesCache(node, people, history)) cachesInUse++
    return reportOf(options, interleavings, { load, history, faults, cachesInUse })
  } finally {
    await people.close()
    await deployment.stop()
  }
}

function reportOf({ seed }: RunOptions, interleavings: Sprung[], loaded: Loaded | null): Report {
  const { load = null, history = new History(), faults = [], cachesInUse = 0 } = loaded ?? {}
  const violations = [
    ...interleavings.flatMap((sprung) => sprung.violations),
    ...history.violations
  ]
  return {
    history,
    interleavings,
    violations,
    faults,
    load,
    cachesInUse,
    text: describe(seed, interleavings, violations, loaded)
  }
}

/**
 * Whether a node reads Redis for a session that it does not know, and does no I/O for one that it
 * does.
 */
async function usesCache(node: ServerNode, people: People, history: History): Promise<boolean> {
  return until(
    `${node.name} to use its caches`,
    async () => {
      const {
        sessions: [ticket]
      } = await people.make(1)
      if (!ticket) return false
      let asked = 0
      const end = node.line.listen((text) => {
        if (text.includes(ticket.sessionId)) asked++
      })
      for (let i = 0; i < 2; i++)
        history.check(ticket.sessionId, ticket.userId, await ask(node, ticket, 'bearer'))
      const afterTwo = asked
      history.check(ticket.sessionId, ticket.userId, await ask(node, ticket, 'bearer'))
      end()
      return afterTwo > 0 && asked === afterTwo
    },
    5_000
  ).catch(() => false)
}

function describe(
  seed: number,
  interleavings: Sprung[],
  violations: Violation[],
  loaded: Loaded | null
): string {
  const sprung = `interleavings     ${interleavings.length}:${interleavings.map(({ name, violations: found, problem }) => `\n    ${name}: ${found.length} violations${problem === null ? '' : `, not sprung: ${problem}`}`).join('')}\n`
  const found = `violations   ${violations.length}${violations
    .slice(0, 20)
    .map((violation) => `\n  ${describeViolation(violation)}`)
    .join('')}\n`
  return `seed ${seed}\n${sprung}${loaded ? describeLoad(loaded) : ''}${found}`
}

function describeLoad({ load, history: { counts }, faults, cachesInUse }: Loaded): string {
  const kinds = new Map<string, number>()
  for (const { kind } of faults) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  return `nodes        3, lease ${LEASE_MS} ms, copies live ${CACHE_TTL_SECONDS} s
calls        ${counts.calls}: ${list(load.statuses)}
checks       ${counts.checks}: ${counts.active} active, ${counts.inactive} inactive, ${counts.unknown} without an answer; ${counts.checksAfterRevocation} began after an acknowledged revocation
             median ${(load.checkTimes.toSorted((a, b) => a - b)[load.checkTimes.length >> 1] ?? 0).toFixed(1)} ms
sign-ins     ${load.signIns}
changes      ${counts.changes} of names, roles and e-mails
revocations  ${counts.revocations} acknowledged (${counts.pending} pending), of ${counts.sessionsRevoked} sessions: ${list(load.revocations)}
latency      ${describeLatency(load.timings, faults)}
faults       ${faults.length}: ${list(kinds)}
caches       in use again at ${cachesInUse} nodes
`
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .map(([name, count]) => `\n    ${name}: ${count}`)
    .toSorted((a, b) => a.localeCompare(b))
    .join('')
}

const ofNodes = [
  'node paused',
  'node killed',
  'event loop blocked',
  'node hears nothing from Redis',
  'subscription silent'
]

/**
 * The durations of revocations: without a fault near them, with only another node out of order, and
 * of all.
 */
function describeLatency(timings: Timing[], faults: Fault[]): string {
  const near = (timing: Timing) =>
    faults.filter(({ start, end }) => start < timing.end && end + 2 * LEASE_MS > timing.start)
  const final = timings.filter(({ way, pending }) => !pending && way !== 'change password')
  const quiet = final.filter((timing) => near(timing).length === 0)
  const meeting = final.filter(
    (timing) =>
      near(timing).length > 0 &&
      near(timing).every(({ kind, node }) => ofNodes.includes(kind) && node !== timing.node)
  )
  return [
    `without a fault: ${percentiles(quiet)}`,
    `with another node paused, killed or deaf: ${percentiles(meeting)}`,
    `all: ${percentiles(final)}`
  ].join('\n             ')
}

function percentiles(timings: Timing[]): string {
  const times = timings.map(({ start, end }) => end - start).toSorted((a, b) => a - b)
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))]?.toFixed(1) ?? '-'
  const slowest = timings.toSorted((a, b) => b.end - b.start - a.end + a.start)[0]
  return `${times.length}, median ${at(0.5)} ms, 99 % ${at(0.99)} ms, worst ${at(1)} ms${slowest ? ` (${slowest.way} at ${slowest.node.name}, ${(slowest.start / 1_000).toFixed(1)} s)` : ''}`
}
