import type { Protections } from '../../../src/cluster/protections.js'
import { until } from '../../support/poll.js'
import { isSubscription, type Wire } from '../../support/tcp-proxy.js'
import type { Ticket } from './fixtures.js'
import { command } from './redis-command.js'
import type { Stage, StageNode } from './test-cluster.js'

/*
 * Random load seldom meets the interleavings that matter. These are arranged, each on a stage of
 * its own: with all protections the history holds, without the one that an ambush is named after it
 * must not. None says what it expects: the history decides.
 */
const holdSubscription = (node: StageNode) =>
  node.redis.watch((_text, direction, wire) =>
    direction === 'toClient' && isSubscription(wire) ? 'hold' : 'pass'
  )
const holdRedis = (node: StageNode) => node.redis.watch(() => 'hold')
/** The answers to the store reads of one session do not arrive. */
const holdReads = (node: StageNode, { sessionId }: Ticket) => {
  const reading = new WeakSet<Wire>()
  node.postgres.watch((text, direction, wire) => {
    if (direction === 'toServer' && text.includes('LEFT JOIN "user"') && text.includes(sessionId))
      reading.add(wire)
    return direction === 'toClient' && reading.has(wire) ? 'hold' : 'pass'
  })
}
const untilHeld = (node: StageNode, line: 'redis' | 'postgres') =>
  until(`something of ${node.name} to be held`, () => node[line].held > 0)

/**
 * The scene of every ambush: a node and a revoker that use their caches, and a session that nobody
 * has seen.
 */
async function scene(
  stage: Stage,
  { warm = false, deaf = false } = {}
): Promise<{ node: StageNode; revoker: StageNode; session: Ticket; latecomer: StageNode }> {
  const [node, revoker] = await stage.pair()
  const latecomer = deaf ? await stage.node({ deaf }) : node
  const session = await stage.session()
  if (warm) {
    await stage.warm(node, session)
    stage.silenceOutbox(node)
  }
  return { node, revoker, session, latecomer }
}

const copyIn = (port: number, { sessionId }: Ticket) =>
  until('a copy to be there', async () =>
    ((await command(port, 'KEYS', `*{${sessionId}}:session`)) as Buffer[])[0]?.toString()
  )

/** A node with a copy, from which something is held back while the session is revoked elsewhere. */
const revokedUnheard =
  (hold: (node: StageNode) => void) =>
  async (stage: Stage): Promise<void> => {
    const { node, revoker, session } = await scene(stage, { warm: true })
    hold(node)
    await stage.revoke(revoker, session)
    await stage.check(node, session)
  }

/**
 * Interleavings by the protection that alone stands between a revocation and a stale answer, and
 * some that no single one stands for.
 */
export const ambushes: Record<
  keyof Protections | 'two servers' | 'second revocation',
  (stage: Stage) => Promise<void>
> = {
  // The node's fill is on its way while the session is revoked; Redis loses the tombstone; the fill
  // arrives. A new node reads it.
  async fillLease(stage) {
    const { node, revoker, session, latecomer } = await scene(stage, { deaf: true })
    node.redis.watch((text, direction, wire) => {
      wire.marked ||= direction === 'toServer' && text.includes('"h1_')
      return wire.marked && direction === 'toServer' ? 'hold' : 'pass'
    })
    await stage.check(node, session)
    await untilHeld(node, 'redis')
    for (const each of [node, revoker]) stage.silenceOutbox(each)
    await stage.revoke(revoker, session)
    await stage.primary.flush()
    node.redis.release()
    await stage.warm(node, await stage.session())
    await checkAt(latecomer, stage, session)
  },

  // An older copy comes back to Redis, by whatever way, at a node that has heard of the revocation.
  async versionCompare(stage) {
    const { node, revoker, session } = await scene(stage)
    await stage.check(node, session)
    const key = await copyIn(stage.primary.port, session)
    const copy = (await command(stage.primary.port, 'DUMP', key)) as Buffer
    for (const each of [node, revoker]) stage.silenceOutbox(each)
    await stage.revoke(revoker, session)
    await command(stage.primary.port, 'RESTORE', key, 60_000, copy, 'REPLACE')
    await stage.check(node, session)
  },

  // A failover loses the tombstone and keeps the copy, which an earlier history wrote. A new node
  // reads it.
  async stamp(stage) {
    const { node, revoker, session, latecomer } = await scene(stage, { deaf: true })
    const { replica, link, promote } = await stage.replica()
    await stage.check(node, session)
    await copyIn(replica.port, session)
    link.cut()
    for (const each of [node, revoker]) stage.silenceOutbox(each)
    await stage.revoke(revoker, session)
    await promote()
    for (const each of [node, revoker, latecomer]) each.redis.leadTo(replica.port)
    await stage.primary.stop()
    await checkAt(latecomer, stage, session)
  },

  // The node's subscription is slow; its lease still stands.
  acknowledgements: revokedUnheard(holdSubscription),

  // The node hears nothing of anybody; the revoker has waited for its lease to end.
  leaseCheck: revokedUnheard(holdRedis),

  // The subscription is silently lost, while commands are answered: renewals must not count.
  heartbeatBySubscription: revokedUnheard(holdSubscription),

  // Redis has forgotten the lease of a node that still believes in it.
  async youngTableWait(stage) {
    const { node, revoker, session } = await scene(stage, { warm: true })
    holdRedis(node)
    await stage.primary.flush()
    await stage.revoke(revoker, session)
    await stage.check(node, session)
  },

  // The node's read of the store ends after the revocation that it did not see.
  async overtakenLoads(stage) {
    const { node, revoker, session } = await scene(stage)
    holdReads(node, session)
    const early = stage.check(node, session)
    await untilHeld(node, 'postgres')
    await stage.revoke(revoker, session)
    stage.silenceOutbox(node)
    await early
    await stage.check(node, session)
  },

  // A question comes while a read is running that began before the revocation.
  async joinNext(stage) {
    const { node, revoker, session } = await scene(stage)
    holdReads(node, session)
    const early = stage.check(node, session)
    await untilHeld(node, 'postgres')
    await stage.revoke(revoker, session)
    let asked = false
    const late = stage.check(node, session).finally(() => {
      asked = true
    })
    await until(
      'the second question to be at the node',
      async () => asked || (await stage.check(node, await stage.session())) === 'active'
    )
    node.postgres.release()
    await Promise.all([early, late])
  },

  // The latecomer's commands reach a promoted replica, which has lost the tombstone, before its
  // subscription has noticed.
  async 'two servers'(stage) {
    const { node, revoker, session, latecomer } = await scene(stage, { deaf: true })
    const { replica, link, promote } = await stage.replica()
    await stage.check(node, session)
    await copyIn(replica.port, session)
    link.cut()
    await stage.revoke(revoker, session)
    latecomer.redis.mend()
    await stage.warm(latecomer, await stage.session())
    await promote()
    latecomer.redis.leadTo(replica.port, (wire) => !isSubscription(wire))
    await until(
      'its commands to reach the other server',
      async () => {
        const probe = await stage.session()
        await stage.check(latecomer, probe)
        return (
          ((await command(replica.port, 'KEYS', `*{${probe.sessionId}}*`)) as unknown[]).length > 0
        )
      },
      2_000
    ).catch(() => {}) // its lease may have ended before: then the store is asked
    await stage.check(latecomer, session)
  },

  // Another node, which has not heard of the first revocation, answers a second one while the first
  // is still under way.
  async 'second revocation'(stage) {
    const { node, revoker, session } = await scene(stage, { warm: true })
    holdSubscription(node)
    const first = stage.revoke(revoker, session, 'sign-out')
    await until('the first to be committed', () => stage.people.isRevoked(session.sessionId))
    await stage.revoke(node, session, 'sign-out')
    await stage.check(node, session)
    await first
  }
}

async function checkAt(latecomer: StageNode, stage: Stage, session: Ticket): Promise<void> {
  latecomer.redis.mend()
  await stage.warm(latecomer, await stage.session())
  await stage.check(latecomer, session)
}
