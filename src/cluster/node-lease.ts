import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { Breaker } from '../redis/breaker.js'
import { CLOCK_STEP_MS, DRIFT, ClockWatch } from './clock-jump.js'
import {
  parseMessage,
  type Acknowledgement,
  type Announcement,
  type Heartbeat
} from './lease-messages.js'
import { ANNOUNCE, RENEW, RESIGN } from './lease-scripts.js'
import { isCluster, type RedisConnection } from '../redis/redis.js'

/** A session whose cached copies older than `version` must be forgotten. */
export interface Invalidation {
  sessionId: string
  version: number
}

type Scripts = RedisConnection & {
  hfRenew(table: string, ...args: (string | number)[]): Promise<number>
  hfAnnounce(table: string, ...args: (string | number)[]): Promise<number[]>
  hfResign(table: string, node: string): Promise<number>
}

export interface NodeLeaseOptions {
  redis: RedisConnection
  /** A connection of its own, so that messages arrive in the order in which they were published. */
  subscriber: RedisConnection
  /** Guards every command on `redis`. */
  breaker: Breaker
  leaseMs: number
  /** Forget these sessions. Called in the order in which Redis published. */
  onInvalidation: (changes: readonly Invalidation[]) => void
  /** Forget everything: this node cannot know which invalidations it missed. */
  onNewEpoch: () => void
  /**
   * Redis could not be asked for the lease or the subscription, or it refused them. Called for
   * every attempt that fails.
   */
  onRefused: (error: unknown) => void
  /** The lease began again after a gap. */
  onGranted: () => void
  clock: Clock
}

const nothing = () => {}

const RENEWALS_PER_LEASE = 4
/** A subscription that was silent for this many leases is opened again. */
const DEAF_LEASES = 3

/**
 * This node's right to answer from its caches. The node holds the lease only after a heartbeat
 * *arrived through the subscription*: every invalidation published before it has then been applied.
 * The lease runs for `leaseMs`, less a margin for drift, counted from *before* the renewal was
 * sent. So it always ends on the node before it ends in Redis.
 */
export class NodeLease {
  readonly node = randomUUID()
  readonly #options: NodeLeaseOptions
  readonly #redis: Scripts
  #table = ''
  #changes = ''
  #channel = ''
  readonly #sent = new Map<string, number>()
  readonly #waiting = new Map<string, (node: string) => void>()
  readonly #clock: Clock
  readonly #steps: ClockWatch
  #heldUntil = -Infinity
  #history = ''
  #seq = 0
  #renewals = 0
  /** Renewals that were answered since the last heartbeat arrived. */
  #unheard = 0
  #timer: NodeJS.Timeout | null = null
  #stopped = false
  /**
   * Grows whenever everything must be forgotten. A load that began in an older epoch is not stored.
   */
  epoch = 0
  /** The Redis history (`master_replid`) on which the lease was granted. */
  stamp = ''

  constructor(options: NodeLeaseOptions) {
    this.#options = options
    const { redis, clock } = options
    this.#clock = clock
    this.#steps = new ClockWatch(clock)
    redis.defineCommand('hfRenew', { numberOfKeys: 1, lua: RENEW })
    redis.defineCommand('hfAnnounce', { numberOfKeys: 1, lua: ANNOUNCE })
    redis.defineCommand('hfResign', { numberOfKeys: 1, lua: RESIGN })
    this.#redis = redis as Scripts
  }

  /**
   * The Redis history and lease table on which the lease was granted. It is the same for all nodes
   * that can hear each other. Null while the lease is not held.
   */
  get history(): string | null {
    return this.isHeld() ? this.#history : null
  }

  /**
   * Subscribes, and keeps the lease renewed until `stop`.
   *
   * @param namespace names the store, because several stores may share one Redis
   */
  start(namespace: string): void {
    this.#table = `holdfast:${namespace}:{nodes}`
    this.#changes = `${this.#table}:changes`
    this.#channel = `${this.#table}:${this.node}`
    const { subscriber, leaseMs } = this.#options
    subscriber.on(
      isCluster(subscriber) ? 'smessage' : 'message',
      (channel: string, message: string) => this.#receive(channel, message)
    )
    subscriber.on('close', () => this.#lapse())
    subscriber.on('end', () => this.#lapse())
    const subscribe = () => {
      this.#subscribe().catch((error: unknown) => this.#onDeaf(error))
    }
    subscriber.on('ready', subscribe)
    if (subscriber.status === 'ready') subscribe()
    this.#timer = setInterval(() => this.#renew(), leaseMs / RENEWALS_PER_LEASE)
    this.#timer.unref()
  }

  /**
   * Whether this node may answer from its caches now.
   *
   * @param now the monotonic clock, for a caller that has just read it
   */
  isHeld(now = this.#clock.monotonic()): boolean {
    if (now >= this.#heldUntil) return false
    // The machine was suspended or its clock was set: the monotonic clock may have stood still.
    if (this.#steps.clockJumped(now)) {
      this.#lapse()
      return false
    }
    return true
  }

  /**
   * Announces what must be forgotten, and waits until every node has acknowledged it or lost its
   * lease. It always waits until the lease table is at least one lease old: a younger table may
   * have lost the lease of a node that still holds it.
   *
   * @throws when Redis does not answer: then it is unknown which nodes have heard
   */
  async announce(changes: readonly Invalidation[]): Promise<void> {
    const { leaseMs, breaker } = this.#options
    const announcement = randomUUID()
    const acknowledged = new Set<string>([this.node])
    let wake: () => void = nothing
    this.#waiting.set(announcement, (node) => {
      acknowledged.add(node)
      wake()
    })
    try {
      const message = JSON.stringify({
        kind: 'changes',
        announcement,
        node: this.node,
        changes: changes.map(({ sessionId, version }) => [sessionId, version])
      })
      const reply = await breaker.run(() =>
        this.#redis.hfAnnounce(this.#table, this.#changes, message, this.#publish, 10 * leaseMs)
      )
      this.#options.onInvalidation(changes)
      const answered = this.#clock.monotonic()
      const [age = 0, ...pairs] = reply as (number | string)[]
      // If Redis' clock was set back, ages and ends lie in the future. No wait needs to be longer
      // than `leaseMs`.
      const youngUntil = answered + Math.min(leaseMs, leaseMs - Number(age)) + CLOCK_STEP_MS
      const leases: { node: string; until: number }[] = []
      for (let i = 0; i < pairs.length; i += 2)
        leases.push({
          node: String(pairs[i]),
          until: answered + Math.min(leaseMs, Number(pairs[i + 1])) + CLOCK_STEP_MS
        })
      for (;;) {
        const now = this.#clock.monotonic()
        const open = leases.filter(({ node, until }) => until > now && !acknowledged.has(node))
        const wait = Math.max(youngUntil, ...open.map(({ until }) => until)) - now
        if (wait <= 0) return
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.ceil(wait))
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
    } finally {
      this.#waiting.delete(announcement)
    }
  }

  /** Gives the lease up, so that no revocation waits for this node. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer) clearInterval(this.#timer)
    this.#lapse()
    if (this.#table === '') return
    await this.#redis.hfResign(this.#table, this.node).catch(() => {})
  }

  get #publish(): string {
    return isCluster(this.#options.redis) ? 'SPUBLISH' : 'PUBLISH'
  }

  async #subscribe(): Promise<void> {
    const { subscriber } = this.#options
    this.#lapse()
    if (isCluster(subscriber)) await subscriber.ssubscribe(this.#changes, this.#channel)
    else await subscriber.subscribe(this.#changes, this.#channel)
    this.#renew()
  }

  #renew(): void {
    if (this.#stopped) return
    const name = String(++this.#renewals)
    this.#sent.set(name, this.#clock.monotonic())
    for (const old of this.#sent.keys()) {
      if (this.#sent.size <= 16) break
      this.#sent.delete(old)
    }
    this.#send(name).catch((error: unknown) => {
      this.#sent.delete(name)
      if (!this.#stopped) this.#options.onRefused(error)
    })
  }

  #onDeaf(error: unknown): void {
    this.#lapse()
    if (!this.#stopped) this.#options.onRefused(error)
  }

  async #send(name: string): Promise<void> {
    const { breaker, leaseMs } = this.#options
    await breaker.run(() =>
      this.#redis.hfRenew(this.#table, this.node, leaseMs, this.#channel, name, this.#publish)
    )
    this.#hearOrReconnect()
  }

  /**
   * Reconnects when renewals are answered but heartbeats do not arrive: the subscription's
   * connection is open on this side only, or Redis has forgotten it. The system would give it up
   * only after minutes.
   */
  #hearOrReconnect(): void {
    this.#unheard++
    if (this.#unheard < RENEWALS_PER_LEASE * DEAF_LEASES) return
    this.#unheard = 0
    this.#options.subscriber.disconnect(true)
  }

  #receive(channel: string, text: string): void {
    const message = parseMessage(text)
    if (!message) return this.#lapse() // not from a node of ours: other messages may be lost
    if (message.kind === 'heartbeat') this.#beat(message)
    else if (message.kind === 'ack') this.#waiting.get(message.announcement)?.(message.node)
    else if (channel === this.#changes) this.#apply(message)
  }

  #beat({ sent, replid, birth, seq }: Heartbeat): void {
    this.#unheard = 0
    const sentAt = this.#sent.get(sent)
    if (sentAt === undefined || this.#stopped) return
    this.#sent.delete(sent)
    const history = `${replid} ${birth}`
    const heldUntil = sentAt + this.#options.leaseMs * (1 - DRIFT)
    // A gap in the sequence means that an announcement was lost on the way. The connection may not
    // have noticed it.
    const missed = seq !== this.#seq
    const now = this.#clock.monotonic()
    if (
      history !== this.#history ||
      missed ||
      now >= this.#heldUntil ||
      this.#steps.clockJumped(now)
    ) {
      this.#newEpoch()
      this.#options.onGranted()
      this.#history = history
      this.#seq = seq
      this.stamp = replid
    }
    this.#steps.reset()
    this.#heldUntil = Math.max(this.#heldUntil, heldUntil)
  }

  #apply({ seq, announcement, node, changes }: Announcement): void {
    if (seq !== this.#seq + 1) this.#lapse()
    this.#seq = seq
    this.#options.onInvalidation(changes.map(([sessionId, version]) => ({ sessionId, version })))
    if (node === this.node) return
    const ack = JSON.stringify({
      kind: 'ack',
      announcement,
      node: this.node
    } satisfies Acknowledgement)
    const channel = `${this.#table}:${node}`
    const sending = isCluster(this.#options.redis)
      ? this.#options.redis.spublish(channel, ack)
      : this.#options.redis.publish(channel, ack)
    sending.catch(() => {}) // without it the other node waits until our lease ends
  }

  #lapse(): void {
    this.#heldUntil = -Infinity
    this.#newEpoch()
  }

  #newEpoch(): void {
    this.epoch++
    this.#options.onNewEpoch()
  }
}
