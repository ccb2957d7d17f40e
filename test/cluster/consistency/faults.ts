import { setTimeout as sleep } from 'node:timers/promises'
import type { Deployment, ServerNode } from './deployment.js'
import { isSubscription } from '../../support/tcp-proxy.js'
import type { Random } from './random.js'
import { command } from './redis-command.js'

/** A fault while it lasts. */
export interface Fault {
  kind: FaultKind
  /** The affected node. Null for a fault of a service. */
  node: ServerNode | null
  start: number
  end: number
}

type Inflict = (deployment: Deployment, node: ServerNode, random: Random) => Promise<void>

const onNode = {
  'node paused': async (_deployment, node, random) => {
    node.signal('SIGSTOP')
    await sleep(random.between(200, 2_500))
    node.signal('SIGCONT')
  },
  'node killed': async (_deployment, node, random) => {
    await node.kill()
    await sleep(random.between(0, 800))
    await node.start()
  },
  'event loop blocked': async (_deployment, node) => {
    await node.order({ kind: 'block', ms: 2_000 })
  },
  'node cut off from Redis': async (_deployment, { line }, random) => {
    line.cut()
    await sleep(random.between(100, 2_500))
    line.mend()
  },
  'node hears nothing from Redis': async (_deployment, { line }, random) => {
    line.watch(() => 'hold')
    await sleep(random.between(200, 2_500))
    line.release()
  },
  'subscription silent': async (_deployment, { line }, random) => {
    line.watch((_text, direction, wire) =>
      direction === 'toClient' && isSubscription(wire) ? 'hold' : 'pass'
    )
    await sleep(random.between(200, 2_500))
    line.release()
  }
} satisfies Record<string, Inflict>

const onServices = {
  'Redis CLIENT PAUSE': async ({ primary }, _node, random) => {
    const ms = Math.floor(random.between(200, 1_500))
    await command(primary.port, 'CLIENT', 'PAUSE', ms, 'ALL')
    await sleep(ms)
  },
  'Redis DEBUG SLEEP': async ({ primary }, _node, random) => {
    await command(primary.port, 'DEBUG', 'SLEEP', random.between(0.2, 1.5).toFixed(2))
  },
  'Redis FLUSHALL': async ({ primary }) => {
    await command(primary.port, 'FLUSHALL')
  },
  'Redis restarted': async (deployment, _node, random) => {
    await deployment.primary.stop()
    await sleep(random.between(50, 1_500))
    await deployment.primary.start()
    await deployment.follow()
  },
  'Redis failed over, last writes lost': async (deployment, _node, random) => {
    deployment.isolate()
    await sleep(random.between(50, 500))
    const old = await deployment.failOver()
    await sleep(random.between(0, 500))
    await old.stop()
    await sleep(random.between(0, 500))
    await old.start()
    await deployment.follow()
  },
  'Redis evicts': async ({ primary }, _node, random) => {
    await command(primary.port, 'CONFIG', 'SET', 'maxmemory', '1mb')
    await sleep(random.between(300, 1_500))
    await command(primary.port, 'CONFIG', 'SET', 'maxmemory', '0')
  },
  'PostgreSQL restarted': async ({ postgres }, _node, random) => {
    await postgres.stop()
    await sleep(random.between(0, 1_000))
    await postgres.start()
  }
} satisfies Record<string, Inflict>

export type FaultKind = keyof typeof onNode | keyof typeof onServices
const inflictions: Record<FaultKind, Inflict> = { ...onNode, ...onServices }
export const faultKinds = Object.keys(inflictions) as FaultKind[]

/**
 * Inflicts one fault after another in an order that the seed decides. Each kind comes once before
 * any is repeated. There are rests between them, a few of them long.
 */
export async function inflictFaults(
  deployment: Deployment,
  random: Random,
  deadline: number,
  onFault: (fault: Fault) => void
): Promise<void> {
  let coming: FaultKind[] = []
  await sleep(1_000) // the caches fill first
  while (performance.now() < deadline) {
    if (coming.length === 0) coming = random.shuffled(faultKinds)
    const kind = coming.shift()
    if (!kind) break
    const node = random.pick(deployment.nodes)
    const fault: Fault = {
      kind,
      node: kind in onNode ? node : null,
      start: performance.now(),
      end: Infinity
    }
    onFault(fault)
    await inflictions[kind](deployment, node, random)
    fault.end = performance.now()
    await sleep(random.chance(0.2) ? 4_000 : random.between(200, 1_000))
  }
}
