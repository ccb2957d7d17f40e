import { until } from '../services/poll.js'
import { ask } from './client.js'
import { CACHE_TTL_SECONDS, Deployment, LEASE_MS, type ServerNode } from './deployment.js'
import { inflictFaults, type Fault } from './faults.js'
import { describeViolation, History } from './history.js'
import { Load, type Timing } from './load.js'
import { People } from './people.js'
import { Random } from './random.js'

export interface RunOptions {
  seconds: number
  seed: number
  /** Protections to leave out. */
  leaveOut?: readonly string[]
  /** Whether anything fails. */
  withFaults?: boolean
  onFault?: (fault: Fault) => void
}

/** What a run has shown. */
export interface Report {
  history: History
  faults: Fault[]
  load: Load
  /** The nodes that answered from their caches again when all was over. */
  cachesInUse: number
  text: string
}

/** Runs the checker; null where PostgreSQL's programs or redis-server are missing. */
export async function runChecker({ seconds, seed, leaveOut = [], withFaults = true, onFault = () => {} }: RunOptions): Promise<Report | null> {
  const deployment = await Deployment.start({ leaveOut })
  if (!deployment) return null
  const people = new People(deployment.postgres.url, deployment.authSecret)
  try {
    const history = new History()
    const random = new Random(seed)
    const load = new Load(deployment, history, people, random)
    const faults: Fault[] = []
    const deadline = performance.now() + seconds * 1_000
    await Promise.all([
      load.run(deadline),
      withFaults && inflictFaults(deployment, new Random(seed), deadline - 2_000, (fault) => { faults.push(fault); onFault(fault) })
    ])
    let cachesInUse = 0
    for (const node of deployment.nodes) if (await usesCache(node, people, history)) cachesInUse++
    return { history, faults, load, cachesInUse, text: describe(seed, history, faults, load, cachesInUse) }
  } finally {
    await people.close()
    await deployment.stop()
  }
}

/** Whether a node asks Redis for a session that it does not know, and nobody for one that it does. */
async function usesCache(node: ServerNode, people: People, history: History): Promise<boolean> {
  return until(`${node.name} to use its caches`, async () => {
    const { sessions: [ticket] } = await people.make(1)
    if (!ticket) return false
    let asked = 0
    const end = node.line.listen((text) => { if (text.includes(ticket.sessionId)) asked++ })
    for (let i = 0; i < 2; i++) history.check(ticket.sessionId, ticket.userId, await ask(node, ticket, 'bearer'))
    const afterTwo = asked
    history.check(ticket.sessionId, ticket.userId, await ask(node, ticket, 'bearer'))
    end()
    return afterTwo > 0 && asked === afterTwo
  }, 5_000).catch(() => false)
}

function describe(seed: number, { counts, violations }: History, faults: Fault[], load: Load, cachesInUse: number): string {
  const kinds = new Map<string, number>()
  for (const { kind } of faults) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  return `seed ${seed}, lease ${LEASE_MS} ms, copies live ${CACHE_TTL_SECONDS} s
calls        ${counts.calls}: ${list(load.statuses)}
checks       ${counts.checks}: ${counts.active} active, ${counts.inactive} inactive, ${counts.unknown} without an answer; ${counts.checksAfterRevocation} began after an acknowledged revocation
             median ${(load.checkTimes.toSorted((a, b) => a - b)[load.checkTimes.length >> 1] ?? 0).toFixed(1)} ms
sign-ins     ${load.signIns}
changes      ${counts.changes} of names, roles and e-mails
revocations  ${counts.revocations} acknowledged (${counts.pending} pending), of ${counts.sessionsRevoked} sessions: ${list(load.revocations)}
latency      ${describeLatency(load.timings, faults)}
faults       ${faults.length}: ${list(kinds)}
caches       in use again at ${cachesInUse} nodes
violations   ${violations.length}${violations.slice(0, 20).map((violation) => `\n  ${describeViolation(violation)}`).join('')}
`
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `\n    ${name}: ${count}`).toSorted((a, b) => a.localeCompare(b)).join('')
}

const ofNodes = ['node paused', 'node killed', 'event loop blocked', 'node hears nothing from Redis', 'subscription silent']

/** How long revocations took that another node confirmed or outlived: without a fault near them, and with another node out of order only. */
function describeLatency(timings: Timing[], faults: Fault[]): string {
  const near = (timing: Timing) => faults.filter(({ start, end }) => start < timing.end && end + 2 * LEASE_MS > timing.start)
  const final = timings.filter(({ way, pending }) => !pending && way !== 'change password')
  const quiet = final.filter((timing) => near(timing).length === 0)
  const meeting = final.filter((timing) => near(timing).length > 0 && near(timing).every(({ kind, node }) => ofNodes.includes(kind) && node !== timing.node))
  return [
    `without a fault: ${percentiles(quiet)}`,
    `with another node paused, killed or deaf: ${percentiles(meeting)}`,
    `all: ${percentiles(final)}`
  ].join('\n             ')
}

function percentiles(timings: Timing[]): string {
  const times = timings.map(({ start, end }) => end - start).toSorted((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]?.toFixed(1) ?? '-'
  const slowest = timings.toSorted((a, b) => b.end - b.start - a.end + a.start)[0]
  return `${times.length}, median ${at(0.5)} ms, 99 % ${at(0.99)} ms, worst ${at(1)} ms${slowest ? ` (${slowest.way} at ${slowest.node.name}, ${(slowest.start / 1_000).toFixed(1)} s)` : ''}`
}
