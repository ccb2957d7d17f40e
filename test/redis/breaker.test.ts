import { ReplyError } from 'ioredis'
import t from 'tap'
import { Breaker } from '../../src/redis/breaker.js'
import { call, finalAt } from '../cluster/consistency/client.js'
import { describeViolation } from '../cluster/consistency/history.js'
import { isSubscription, type Wire } from '../support/tcp-proxy.js'
import { TestCluster, type TestNode } from '../cluster/consistency/test-cluster.js'
import { storage } from '../support/server.js'
import { until } from '../support/poll.js'

const skip = storage === 'embedded' && 'an embedded store has no Redis'

t.test('after failures in a row nothing is sent for a while, and one probe decides', async (t) => {
  let now = 0
  let sent = 0
  const breaker = new Breaker(() => now)
  const send = (answer: 'ok' | 'none' | 'refused' = 'ok') =>
    breaker.run(async () => {
      sent++
      if (answer === 'none') throw new Error('Command timed out')
      if (answer === 'refused') throw new ReplyError('READONLY')
      return answer
    })
  for (const answer of ['none', 'none', 'refused', 'none', 'none', 'ok', 'none', 'none'] as const)
    await send(answer).catch(() => {})
  t.equal(breaker.state, 'closed', 'any answer between them restarts the count, even a refusal')
  await t.rejects(send('none'), { message: 'Command timed out' })
  t.equal(breaker.state, 'open')
  sent = 0
  await t.rejects(send(), { name: 'BreakerOpen' })
  t.equal(sent, 0, 'nothing was sent')
  now += 250
  t.equal(breaker.state, 'half-open')
  await Promise.all([
    t.rejects(send('none'), { message: 'Command timed out' }),
    t.rejects(send(), { name: 'BreakerOpen' })
  ])
  t.equal(sent, 1, 'one probe is sent at a time')
  t.equal(breaker.state, 'open')
  now += 250
  t.equal(await send(), 'ok')
  t.equal(breaker.state, 'closed')
})

const took = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await work()
  return performance.now() - start
}

// The lease outlasts the test, because the test is not about the use of copies.
t.test(
  'checks do not wait for a Redis that does not answer, each for a time-out',
  { skip },
  async (t) => {
    const cluster = await TestCluster.open(t, { leaseMs: 10_000 })
    const [node, helper] = await cluster.pair()
    const sessions = await Promise.all(Array.from({ length: 20 }, () => cluster.session()))
    let reached = 0
    node.redis.watch((text, direction, wire) => {
      if (isSubscription(wire)) return 'pass'
      if (direction === 'toServer' && text.includes(sessions[19]?.sessionId ?? '-')) reached++
      return 'hold'
    })
    const times: number[] = []
    for (const session of sessions.slice(0, 18)) {
      times.push(
        await took(async () => {
          t.equal(await cluster.check(node, session), 'active')
        })
      )
    }
    t.ok(
      times.filter((ms) => ms > 200).length <= 8,
      `three commands waited, and some probes: ${times.map((ms) => ms.toFixed(0)).join(' ')}`
    )
    const last = sessions[19]
    if (!last) throw new Error('no session')
    cluster.history.beginRevocation([last.sessionId])
    const answer = await call(node, `/sessions/${last.sessionId}`, {
      method: 'DELETE',
      ticket: last,
      timeoutMs: 10_000
    })
    t.equal(
      answer.status,
      202,
      'the other node relays it, and waits for the long lease of this node'
    )
    t.ok(answer.end - answer.start < 3_000, 'the answer waited for no command')
    await until(
      'the other node to hear of it',
      async () => (await cluster.check(helper, last)) === 'inactive'
    )
    t.equal(reached, 0, 'a command that the breaker refused is never sent')
    node.redis.release()
    const next = await cluster.session()
    await cluster.warm(node, next)
    // Held traffic arrives late and may open the breaker once more. Then the answer says `pending`,
    // which is right.
    cluster.history.beginRevocation([next.sessionId])
    const end = await call(node, `/sessions/${next.sessionId}`, {
      method: 'DELETE',
      ticket: next,
      timeoutMs: 15_000
    })
    t.ok(end.status === 200 || end.status === 202, `the revocation is answered: ${end.status}`)
    cluster.history.acknowledge([next.sessionId], end, finalAt(end) ?? Infinity)
    if (end.status === 200) t.equal(await cluster.check(helper, next), 'inactive')
    else
      await until(
        'the other node to hear of it',
        async () => (await cluster.check(helper, next)) === 'inactive'
      )
    t.strictSame(cluster.history.violations.map(describeViolation), [])
  }
)

t.test(
  'a subscription that fell silent is opened again, while renewals are answered',
  { skip },
  async (t) => {
    const cluster = await TestCluster.open(t, { leaseMs: 400 })
    const [node] = await cluster.pair()
    const session = await cluster.session()
    await cluster.warm(node, session)
    const silent = silence(node)
    const since = performance.now()
    await until('the subscription to be made anew', () => silent.later > 0, 10_000)
    t.ok(performance.now() - since > 800, 'a pause of the process does not count as silence')
    await cluster.warm(node, session)
    t.strictSame(cluster.history.violations.map(describeViolation), [])
  }
)

/**
 * Holds the present subscriptions, like a network that drops their packets. Later ones pass, and
 * are counted.
 */
function silence(node: TestNode): { later: number } {
  const held = new WeakSet<Wire>()
  const later = new Set<Wire>()
  const seen = { later: 0 }
  let first: Wire | null = null
  node.redis.watch((_text, direction, wire) => {
    if (!isSubscription(wire)) return 'pass'
    first ??= wire
    if (wire === first) held.add(wire)
    else later.add(wire)
    seen.later = later.size
    return direction === 'toClient' && held.has(wire) ? 'hold' : 'pass'
  })
  return seen
}
