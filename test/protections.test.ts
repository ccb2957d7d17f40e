import t from 'tap'
import { allProtections, type Protections } from '../src/cache/protections.js'
import { isSubscription, type Wire } from './consistency/line.js'
import { describeViolation } from './consistency/history.js'
import { command } from './consistency/redis-command.js'
import { Stage, type StageNode } from './consistency/stage.js'
import type { Ticket } from './consistency/people.js'
import { storage } from './helper.js'
import { until } from './services/poll.js'

/*
 * A checker that cannot fail proves nothing. Each protection of the cache has an interleaving here in which it alone stands
 * between a revocation and a stale answer: with it the history holds, without it the checker must say so.
 */
const holdSubscription = (node: StageNode) => node.redis.watch((_text, direction, wire) => (direction === 'toClient' && isSubscription(wire) ? 'hold' : 'pass'))
const holdRedis = (node: StageNode) => node.redis.watch(() => 'hold')
/** The answers to the store reads of one session do not arrive. */
const holdReads = (node: StageNode, { sessionId }: Ticket) => {
  const reading = new WeakSet<Wire>()
  node.postgres.watch((text, direction, wire) => {
    if (direction === 'toServer' && text.includes('LEFT JOIN "user"') && text.includes(sessionId)) reading.add(wire)
    return direction === 'toClient' && reading.has(wire) ? 'hold' : 'pass'
  })
}
const untilHeld = (node: StageNode, line: 'redis' | 'postgres') => until(`something of ${node.name} to be held`, () => node[line].held > 0)

const scenarios: Record<keyof Protections, (stage: Stage) => Promise<void>> = {
  // The node's fill is on its way while the session is revoked; Redis loses the tombstone; the fill arrives. A new node reads it.
  async fillLease(stage) {
    const [node, revoker] = await stage.pair()
    const session = await stage.session()
    node.redis.watch((text, direction, wire) => {
      wire.marked ||= direction === 'toServer' && text.includes('"credentialEpoch"')
      return wire.marked && direction === 'toServer' ? 'hold' : 'pass'
    })
    await stage.check(node, session)
    await untilHeld(node, 'redis')
    for (const each of [node, revoker]) stage.silenceOutbox(each)
    await stage.revoke(revoker, session)
    await stage.primary.flush()
    node.redis.release()
    await stage.warm(node, await stage.session())
    await checkAtNewNode(stage, session)
  },

  // An older copy comes back to Redis, by whatever way, at a node that has heard of the revocation.
  async versionCompare(stage) {
    const [node, revoker] = await stage.pair()
    const session = await stage.session()
    await stage.check(node, session)
    const key = await until('the copy to be in Redis', async () => (await command(stage.primary.port, 'KEYS', `*{${session.sessionId}}:session`) as Buffer[])[0]?.toString())
    const copy = await command(stage.primary.port, 'DUMP', key) as Buffer
    for (const each of [node, revoker]) stage.silenceOutbox(each)
    await stage.revoke(revoker, session)
    await command(stage.primary.port, 'RESTORE', key, 60_000, copy, 'REPLACE')
    await stage.check(node, session)
  },

  // A failover loses the tombstone and keeps the copy, which an earlier history wrote. A new node reads it.
  async stamp(stage) {
    const [node, revoker] = await stage.pair()
    const { replica, link, promote } = await stage.replica()
    const session = await stage.session()
    await stage.check(node, session)
    await until('the copy to be replicated', async () => (await command(replica.port, 'KEYS', `*{${session.sessionId}}:session`) as unknown[]).length > 0)
    link.cut()
    for (const each of [node, revoker]) stage.silenceOutbox(each)
    await stage.revoke(revoker, session)
    await promote()
    for (const each of [node, revoker]) each.redis.leadTo(replica.port)
    await stage.primary.stop()
    await checkAtNewNode(stage, session, replica.port)
  },

  // The node's subscription is slow; its lease still stands.
  async acknowledgements(stage) {
    const [node, revoker] = await stage.pair()
    const session = await stage.session()
    await stage.warm(node, session)
    stage.silenceOutbox(node)
    holdSubscription(node)
    await stage.revoke(revoker, session)
    await stage.check(node, session)
  },

  // The node hears nothing of anybody; the revoker has waited for its lease to end.
  async leaseCheck(stage) {
    const [node, revoker] = await stage.pair()
    const session = await stage.session()
    await stage.warm(node, session)
    stage.silenceOutbox(node)
    holdRedis(node)
    await stage.revoke(revoker, session)
    await stage.check(node, session)
  },

  // The subscription is silently lost, while commands are answered: renewals must not count.
  async heartbeatBySubscription(stage) {
    const [node, revoker] = await stage.pair()
    const session = await stage.session()
    await stage.warm(node, session)
    stage.silenceOutbox(node)
    holdSubscription(node)
    await stage.revoke(revoker, session)
    await stage.check(node, session)
  },

  // Redis has forgotten the lease of a node that still believes in it.
  async youngTableWait(stage) {
    const [node, revoker] = await stage.pair()
    const session = await stage.session()
    await stage.warm(node, session)
    stage.silenceOutbox(node)
    holdRedis(node)
    await stage.primary.flush()
    await stage.revoke(revoker, session)
    await stage.check(node, session)
  },

  // The node's read of the store ends after the revocation that it did not see.
  async overtakenLoads(stage) {
    const [node, revoker] = await stage.pair()
    const session = await stage.session()
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
    const [node, revoker] = await stage.pair()
    const session = await stage.session()
    holdReads(node, session)
    const early = stage.check(node, session)
    await untilHeld(node, 'postgres')
    await stage.revoke(revoker, session)
    let asked = false
    const late = stage.check(node, session).finally(() => { asked = true })
    await until('the second question to be at the node', async () => asked || await stage.check(node, await stage.session()) === 'active')
    node.postgres.release()
    await Promise.all([early, late])
  }
}

async function checkAtNewNode(stage: Stage, session: Ticket, port = stage.primary.port): Promise<void> {
  const node = await stage.node({ silent: true })
  node.redis.leadTo(port)
  await stage.warm(node, await stage.session())
  await stage.check(node, session)
}

const skip = storage === 'embedded' && 'an embedded store has one node and no Redis'
t.jobs = 3
for (const name of Object.keys(allProtections) as (keyof Protections)[]) {
  t.test(`the history holds with ${name}`, { skip, buffered: true }, async (t) => {
    const stage = await Stage.open(t)
    await scenarios[name](stage)
    t.strictSame(stage.history.violations.map(describeViolation), [])
    t.ok(stage.history.counts.checksAfterRevocation > 0, 'somebody asked after the revocation')
  })
  t.test(`the checker notices when ${name} is left out`, { skip, buffered: true }, async (t) => {
    const stage = await Stage.open(t, { off: name })
    await scenarios[name](stage)
    t.equal(stage.history.violations[0]?.kind, 'active after an acknowledged revocation', name)
  })
}

t.test('a new node asks a promoted replica before its subscription has noticed', { skip, buffered: true }, async (t) => {
  const stage = await Stage.open(t, { leaseMs: 3_000 })
  const [node, revoker] = await stage.pair()
  const { replica, link, promote } = await stage.replica()
  const session = await stage.session()
  await stage.check(node, session)
  await until('the copy to be replicated', async () => (await command(replica.port, 'KEYS', `*{${session.sessionId}}:session`) as unknown[]).length > 0)
  link.cut()
  await stage.revoke(revoker, session)
  const newcomer = await stage.node({ silent: true })
  await stage.warm(newcomer, await stage.session())
  await promote()
  newcomer.redis.leadTo(replica.port, (wire) => !isSubscription(wire))
  await until('its commands to reach the other server', async () => {
    const probe = await stage.session()
    await stage.check(newcomer, probe)
    return (await command(replica.port, 'KEYS', `*{${probe.sessionId}}*`) as unknown[]).length > 0
  })
  await stage.check(newcomer, session)
  t.strictSame(stage.history.violations.map(describeViolation), [])
})

t.test('a second revocation, at a node that has not heard of the first, is as final', { skip, buffered: true }, async (t) => {
  const stage = await Stage.open(t, { leaseMs: 1_500 })
  const [node, revoker] = await stage.pair()
  const session = await stage.session()
  await stage.warm(node, session)
  stage.silenceOutbox(node)
  holdSubscription(node)
  const first = stage.revoke(revoker, session, 'sign-out')
  await until('the first to be committed', () => stage.people.isRevoked(session.sessionId))
  await stage.revoke(node, session, 'sign-out')
  await stage.check(node, session)
  await first
  t.strictSame(stage.history.violations.map(describeViolation), [])
})
