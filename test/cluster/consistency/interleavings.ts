import { until } from '../../support/poll.js'
import type { ProtectionName } from '../../support/protections.js'
import { isSubscription, type Wire } from '../../support/tcp-proxy.js'
import type { Ticket } from './fixtures.js'
import { command } from './redis-command.js'
import type { TestCluster, TestNode } from './test-cluster.js'

/*
 * Random load seldom meets the interleavings that matter. These are arranged, each on a cluster of
 * its own. With all protections the history must hold. Without the protection that an interleaving
 * is named after, it must not. No interleaving states its expectation: the history decides.
 */
const holdSubscription = (node: TestNode) =>
  node.redis.watch((_text, direction, wire) =>
    direction === 'toClient' && isSubscription(wire) ? 'hold' : 'pass'
  )
const holdRedis = (node: TestNode) => node.redis.watch(() => 'hold')
/** The answers to the store reads of one session do not arrive. */
const holdReads = (node: TestNode, { sessionId }: Ticket) => {
  const reading = new WeakSet<Wire>()
  node.postgres.watch((text, direction, wire) => {
    if (direction === 'toServer' && text.includes('LEFT JOIN "user"') && text.includes(sessionId))
      reading.add(wire)
    return direction === 'toClient' && reading.has(wire) ? 'hold' : 'pass'
  })
}
const untilHeld = (node: TestNode, line: 'redis' | 'postgres') =>
  until(`something of ${node.name} to be held`, () => node[line].held > 0)

/**
 * The start of every interleaving: a node and a revoker that use their caches, and a session that
 * no node has seen.
 */
async function scene(
  cluster: TestCluster,
  { warm = false, deaf = false } = {}
): Promise<{ node: TestNode; revoker: TestNode; session: Ticket; latecomer: TestNode }> {
  const [node, revoker] = await cluster.pair()
  const latecomer = deaf ? await cluster.node({ deaf }) : node
  const session = await cluster.session()
  if (warm) {
    await cluster.warm(node, session)
    cluster.silenceOutbox(node)
  }
  return { node, revoker, session, latecomer }
}

const copyIn = (port: number, { sessionId }: Ticket) =>
  until('a copy to be there', async () =>
    ((await command(port, 'KEYS', `*{${sessionId}}:session`)) as Buffer[])[0]?.toString()
  )

/**
 * A node with a copy does not receive part of its traffic while another node revokes the session.
 */
const revokedUnheard =
  (hold: (node: TestNode) => void) =>
  async (cluster: TestCluster): Promise<void> => {
    const { node, revoker, session } = await scene(cluster, { warm: true })
    hold(node)
    await cluster.revoke(revoker, session)
    await cluster.check(node, session)
  }

/**
 * Interleavings by the only protection between a revocation and a stale answer, and some that need
 * several protections.
 */
export const interleavings: Record<
  ProtectionName | 'two servers' | 'second revocation',
  (cluster: TestCluster) => Promise<void>
> = {
  // The node's fill is on its way while the session is revoked; Redis loses the tombstone; the fill
  // arrives. A new node reads it.
  async fillLease(cluster) {
    const { node, revoker, session, latecomer } = await scene(cluster, { deaf: true })
    node.redis.watch((text, direction, wire) => {
      wire.marked ||= direction === 'toServer' && text.includes('"h1_')
      return wire.marked && direction === 'toServer' ? 'hold' : 'pass'
    })
    await cluster.check(node, session)
    await untilHeld(node, 'redis')
    for (const each of [node, revoker]) cluster.silenceOutbox(each)
    await cluster.revoke(revoker, session)
    await cluster.primary.flush()
    node.redis.release()
    await cluster.warm(node, await cluster.session())
    await checkAt(latecomer, cluster, session)
  },

  // An older copy gets back into Redis, while the node has heard of the revocation.
  async versionCompare(cluster) {
    const { node, revoker, session } = await scene(cluster)
    await cluster.check(node, session)
    const key = await copyIn(cluster.primary.port, session)
    const copy = (await command(cluster.primary.port, 'DUMP', key)) as Buffer
    for (const each of [node, revoker]) cluster.silenceOutbox(each)
    await cluster.revoke(revoker, session)
    await command(cluster.primary.port, 'RESTORE', key, 60_000, copy, 'REPLACE')
    await cluster.check(node, session)
  },

  // A failover loses the tombstone and keeps the copy, which was written on an earlier history. A
  // new node reads it.
  async stamp(cluster) {
    const { node, revoker, session, latecomer } = await scene(cluster, { deaf: true })
    const { replica, link, promote } = await cluster.replica()
    await cluster.check(node, session)
    await copyIn(replica.port, session)
    link.cut()
    for (const each of [node, revoker]) cluster.silenceOutbox(each)
    await cluster.revoke(revoker, session)
    await promote()
    for (const each of [node, revoker, latecomer]) each.redis.leadTo(replica.port)
    await cluster.primary.stop()
    await checkAt(latecomer, cluster, session)
  },

  // The node's subscription is slow, and its lease is still held.
  acknowledgements: revokedUnheard(holdSubscription),

  // The node receives nothing at all. The revoker has waited for its lease to end.
  leaseCheck: revokedUnheard(holdRedis),

  // The subscription is silently lost, while commands are answered: renewals must not count.
  heartbeatBySubscription: revokedUnheard(holdSubscription),

  // Redis has lost the lease of a node that still holds it.
  async youngTableWait(cluster) {
    const { node, revoker, session } = await scene(cluster, { warm: true })
    holdRedis(node)
    await cluster.primary.flush()
    await cluster.revoke(revoker, session)
    await cluster.check(node, session)
  },

  // The node's read of the store ends after the revocation that it did not see.
  async overtakenLoads(cluster) {
    const { node, revoker, session } = await scene(cluster)
    holdReads(node, session)
    const early = cluster.check(node, session)
    await untilHeld(node, 'postgres')
    await cluster.revoke(revoker, session)
    cluster.silenceOutbox(node)
    await early
    await cluster.check(node, session)
  },

  // A check arrives while a read is running that began before the revocation.
  async joinNext(cluster) {
    const { node, revoker, session } = await scene(cluster)
    holdReads(node, session)
    const early = cluster.check(node, session)
    await untilHeld(node, 'postgres')
    await cluster.revoke(revoker, session)
    let asked = false
    const late = cluster.check(node, session).finally(() => {
      asked = true
    })
    await until(
      'the second question to be at the node',
      async () => asked || (await cluster.check(node, await cluster.session())) === 'active'
    )
    node.postgres.release()
    await Promise.all([early, late])
  },

  // The latecomer's commands reach a promoted replica, which has lost the tombstone, before its
  // subscription has noticed.
  async 'two servers'(cluster) {
    const { node, revoker, session, latecomer } = await scene(cluster, { deaf: true })
    const { replica, link, promote } = await cluster.replica()
    await cluster.check(node, session)
    await copyIn(replica.port, session)
    link.cut()
    await cluster.revoke(revoker, session)
    latecomer.redis.mend()
    await cluster.warm(latecomer, await cluster.session())
    await promote()
    latecomer.redis.leadTo(replica.port, (wire) => !isSubscription(wire))
    await until(
      'its commands to reach the other server',
      async () => {
        const probe = await cluster.session()
        await cluster.check(latecomer, probe)
        return (
          ((await command(replica.port, 'KEYS', `*{${probe.sessionId}}*`)) as unknown[]).length > 0
        )
      },
      2_000
    ).catch(() => {}) // its lease may have ended before, so that it asks the store
    await cluster.check(latecomer, session)
  },

  // Another node, which has not received the first revocation, answers a second one while the first
  // is still under way.
  async 'second revocation'(cluster) {
    const { node, revoker, session } = await scene(cluster, { warm: true })
    holdSubscription(node)
    const first = cluster.revoke(revoker, session, 'sign-out')
    await until('the first to be committed', () => cluster.people.isRevoked(session.sessionId))
    await cluster.revoke(node, session, 'sign-out')
    await cluster.check(node, session)
    await first
  }
}

async function checkAt(latecomer: TestNode, cluster: TestCluster, session: Ticket): Promise<void> {
  latecomer.redis.mend()
  await cluster.warm(latecomer, await cluster.session())
  await cluster.check(latecomer, session)
}
