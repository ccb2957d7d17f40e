import { randomUUID } from 'node:crypto'
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
import type { Protections } from './protections.js'

/** A session whose cached copies older than `version` must be forgotten. */
export interface Invalidation {
  sessionId: string
  version: number
}

type Scripts = RedisConnection & {
  hfRenew(table: string, ...args: (string | number)[]): Promise<string>
  hfAnnounce(table: string, ...args: (string | number)[]): Promise<number[]>
  hfResign(table: string, node: string): Promise<number>
}

export interface NodeLeaseOptions {
  redis: RedisConnection
  /** A connection of its own: what arrives on it arrives in order. */
  subscriber: RedisConnection
  /** Stands before everything that is sent on `redis`. */
  breaker: Breaker
  leaseMs: number
  protections: Protections
  /** Forget these sessions; called in the order in which Redis published. */
  onInvalidation: (changes: readonly Invalidation[]) => void
  /** Forget everything: this node cannot know what it has missed. */
  onNewEpoch: () => void
  /**
   * Redis could not be asked for the lease, or to listen, or has refused it. Called at every
   * attempt that fails.
   */
  onRefused: (error: unknown) => void
  /** The lease was begun anew. */
  onGranted: () => void
}

const nothing = () => {}

const RENEWALS_PER_LEASE = 4
/** A subscription that was silent for so many leases is made anew. */
const DEAF_LEASES = 3

/**
 * This node's right to answer from its caches. It holds the lease only after a heartbeat *arrived
 * through the subscription*: whatever was published before it has then been applied. From the
 * moment *before* the renewal was sent it runs `leaseMs`, less a margin for drift, so Redis always
 * believes in it longer than the node does.
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
  readonly #steps = new ClockWatch()
  #heldUntil = -Infinity
  #history = ''
  #seq = 0
  #renewals = 0
  /** Renewals that were answered since a heartbeat was heard. */
  #unheard = 0
  #timer: NodeJS.Timeout | null = null
  #stopped = false
  /**
   * Grows whenever everything must be forgotten: a load that began in another epoch stores nothing.
   */
  epoch = 0
  /** The Redis history that the lease stands on. */
  stamp = ''

  constructor(options: NodeLeaseOptions) {
    this.#options = options
    const { redis } = options
    redis.defineCommand('hfRenew', { numberOfKeys: 1, lua: RENEW })
    redis.defineCommand('hfAnnounce', { numberOfKeys: 1, lua: ANNOUNCE })
    redis.defineCommand('hfResign', { numberOfKeys: 1, lua: RESIGN })
    this.#redis = redis as Scripts
  }

  /**
   * The Redis history, and the lease table in it, that the lease stands on: the same for all nodes
   * that can hear each other.
   */
  get history(): string | null {
    return this.isHeld() ? this.#history : null
  }

  /**
   * Subscribes, and keeps the lease renewed until `stop`.
   *
   * @param namespace names the store: several may share one Redis
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
   * Whether this node may answer from its caches at this moment. @param now the monotonic clock,
   * for whoever has just read it
   */
  isHeld(now = performance.now()): boolean {
    if (!this.#options.protections.leaseCheck) return this.stamp !== ''
    if (now >= this.#heldUntil) return false
    // The machine was suspended, or its clock was set: the monotonic clock may have stood still.
    if (this.#steps.clockJumped(now)) {
      this.#lapse()
      return false
    }
    return true
  }

  /**
   * Announces what must be forgotten and waits until every node has, or has lost its lease; and in
   * any case until the lease table is as old as a lease lasts, for a younger one may have lost the
   * lease of somebody who still believes in it.
   *
   * @throws when Redis does not answer: then nobody knows who has heard
   */
  async announce(changes: readonly Invalidation[]): Promise<void> {
    const { leaseMs, protections, breaker } = this.#options
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
      if (!protections.acknowledgements) return
      const answered = performance.now()
      const [age = 0, ...pairs] = reply as (number | string)[]
      // Where Redis' clock was set back, ages and ends lie in the future: no lease, and no youth,
      // lasts longer than `leaseMs`.
      const youngUntil = protections.youngTableWait
        ? answered + Math.min(leaseMs, leaseMs - Number(age)) + CLOCK_STEP_MS
        : 0
      const leases: { node: string; until: number }[] = []
      for (let i = 0; i < pairs.length; i += 2)
        leases.push({
          node: String(pairs[i]),
          until: answered + Math.min(leaseMs, Number(pairs[i + 1])) + CLOCK_STEP_MS
        })
      for (;;) {
        const now = performance.now()
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
    this.#sent.set(name, performance.now())
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
    const beat = await breaker.run(() =>
      this.#redis.hfRenew(this.#table, this.node, leaseMs, this.#channel, name, this.#publish)
    )
    this.#hearOrReconnect()
    if (!this.#options.protections.heartbeatBySubscription)
      this.#beat(JSON.parse(beat) as Heartbeat)
  }

  /**
   * Renewals are answered, and none arrives through the subscription: its connection is open on
   * this side only, or Redis has forgotten it. The system would give it up after minutes.
   */
  #hearOrReconnect(): void {
    this.#unheard++
    if (this.#unheard < RENEWALS_PER_LEASE * DEAF_LEASES) return
    this.#unheard = 0
    this.#options.subscriber.disconnect(true)
  }

  #receive(channel: string, text: string): void {
    const message = parseMessage(text)
    if (!message) return this.#lapse() // nobody of ours wrote it: what else was lost is not known
    if (message.kind === 'heartbeat') {
      if (this.#options.protections.heartbeatBySubscription) this.#beat(message)
    } else if (message.kind === 'ack') this.#waiting.get(message.announcement)?.(message.node)
    else if (channel === this.#changes) this.#apply(message)
  }

  #beat({ sent, replid, birth, seq }: Heartbeat): void {
    this.#unheard = 0
    const sentAt = this.#sent.get(sent)
    if (sentAt === undefined || this.#stopped) return
    this.#sent.delete(sent)
    const history = `${replid} ${birth}`
    const heldUntil = sentAt + this.#options.leaseMs * (1 - DRIFT)
    // A gap in the count means that an announcement was lost on the way, which the connection may
    // not have noticed.
    const missed = this.#options.protections.heartbeatBySubscription && seq !== this.#seq
    if (
      history !== this.#history ||
      missed ||
      performance.now() >= this.#heldUntil ||
      this.#steps.clockJumped()
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
    sending.catch(() => {}) // a lost acknowledgement costs the other side the rest of our lease
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
