import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.js'
import { ConfigError, StoreUnavailable } from '../errors.js'
import type { PrismaClient } from '../database/database.js'
import { callStore } from '../database/fault.js'
import { DRIFT, ClockWatch } from './clock-jump.js'

/**
 * How a node keeps copies. `shared`: with Redis, beside other nodes. `sole`: in this process, as
 * the only node. `uncached`: not at all.
 */
export type NodeMode = 'shared' | 'sole' | 'uncached'

export interface MembershipOptions {
  prisma: PrismaClient
  node: string
  mode: NodeMode
  leaseMs: number
  cacheTtlSeconds: number
  /** The Redis history on which this node receives changes. Null while it receives none. */
  history: () => string | null
  /** Forget everything: this node had no right to its copies for a while. */
  onNewEpoch: () => void
  onWarning: (message: string) => void
  clock: Clock
}

interface Other {
  id: string
  mode: NodeMode
  leaseMs: number
  cacheTtlSeconds: number
  renewedAt: Date
}

const RENEW_MS = 1_000
/**
 * A row that was renewed longer ago is not current. That is three renewals, less the time that two
 * may be late.
 */
const CURRENT_MS = 2_500
/**
 * When Redis is lost, each node sees its new history at another time. Only a difference that lasts
 * for this many renewals counts.
 */
const DIFFERENCES = 3
/** How long a start waits to see whether an incompatible row is renewed or its node is gone. */
const LOOK_MS = 3_000
const RETRY_MS = 100
const SHORT_LIFE_MS = 5_000

/**
 * This node's row in the store, among those of the other nodes. Nodes that could not hear each
 * other exclude each other's rows. A node may use its caches, and confirm changes, only while it
 * holds its row. Time is counted from *before* the renewal was sent.
 *
 * With Redis the row lives longer than any copy. While PostgreSQL is down no other node can
 * register, so this node may answer from copies until they end.
 */
export class NodeMembership {
  readonly #options: MembershipOptions
  readonly #lifeMs: number
  readonly #steps: ClockWatch
  #heldUntil = -Infinity
  #agreed: boolean
  #differences = 0
  #inTheWay: Other | null = null
  #timer: NodeJS.Timeout | null = null
  #renewing: Promise<void> | null = null
  epoch = 0
  readonly stamp = ''

  constructor(options: MembershipOptions) {
    this.#options = options
    this.#steps = new ClockWatch(options.clock)
    this.#lifeMs =
      options.mode === 'shared' ? 1_000 * options.cacheTtlSeconds + SHORT_LIFE_MS : SHORT_LIFE_MS
    this.#agreed = options.mode !== 'shared'
  }

  /**
   * Whether this node holds its row now: no node is active that would not hear of this one's
   * changes, and none of whose changes this one would not hear.
   */
  isHeld(now = this.#options.clock.monotonic()): boolean {
    return this.#agreed && now < this.#heldUntil && !this.#steps.clockJumped(now)
  }

  /**
   * Registers this node, and keeps the row renewed until `stop`. May be called again after it
   * failed.
   *
   * @throws ConfigError when an active node is incompatible with this one
   * @throws StoreUnavailable when that is not known yet
   */
  async start(): Promise<void> {
    const { clock } = this.#options
    const deadline = clock.monotonic() + LOOK_MS
    for (;;) {
      const other = await this.#register()
      if (!other) break
      // A row may outlive its node: only a row that is renewed belongs to an active node.
      if (this.#inTheWay?.id === other.id && other.renewedAt > this.#inTheWay.renewedAt)
        throw new ConfigError(describe(this.#options, other))
      if (this.#inTheWay?.id !== other.id) this.#inTheWay = other
      if (clock.monotonic() > deadline)
        throw new StoreUnavailable(
          new Error(`waiting for the row of a node that is gone: ${describe(this.#options, other)}`)
        )
      await sleep(RETRY_MS)
    }
    this.#timer ??= setInterval(() => {
      this.#renewing ??= this.#renew()
        .catch(() => {})
        .finally(() => {
          this.#renewing = null
        })
    }, RENEW_MS)
    this.#timer.unref()
  }

  /**
   * Compares this node's Redis with that of the other nodes, once it is connected.
   *
   * @throws ConfigError when they differ
   */
  async compare(): Promise<void> {
    const { clock, history } = this.#options
    const deadline = clock.monotonic() + DIFFERENCES * RENEW_MS + LOOK_MS
    while (!this.#agreed && clock.monotonic() < deadline && history() !== null) {
      await this.#renew()
      if (this.#differences >= DIFFERENCES)
        throw new ConfigError(
          'REDIS_URL: names another Redis than the nodes that are at work on this store: set the same on every node'
        )
      if (!this.#agreed) await sleep(RENEW_MS)
    }
  }

  /** Deletes the row, so that no other start waits for it. */
  async stop(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer)
    await this.#renewing
    this.#heldUntil = -Infinity
    await // the row expires without it
    this.#options.prisma.$executeRaw`DELETE FROM "node" WHERE "id" = ${this.#options.node}`.catch(
      () => {}
    )
  }

  /** @returns the incompatible node, or null when this one is registered */
  async #register(): Promise<Other | null> {
    const { prisma, node, mode, leaseMs, cacheTtlSeconds, clock } = this.#options
    const sentAt = clock.monotonic()
    const other = await callStore(() =>
      prisma.$transaction(async (db) => {
        // The lock lets one node register at a time, and keeps renewals out: a row that has expired
        // here stays expired. The timeout is there because a node that is paused in this
        // transaction would hold up all others.
        await db.$executeRaw`SET LOCAL idle_in_transaction_session_timeout = 2000`
        await db.$executeRaw`LOCK TABLE "node" IN SHARE ROW EXCLUSIVE MODE`
        await db.$executeRaw`DELETE FROM "node" WHERE "expiresAt" <= clock_timestamp()`
        const [inTheWay] = await db.$queryRaw<Other[]>`
        SELECT "id", "mode", "leaseMs", "cacheTtlSeconds", "renewedAt" FROM "node"
        WHERE "id" <> ${node} AND ("mode" <> ${mode} OR ${mode} = 'sole'
          OR (${mode} = 'shared' AND ("leaseMs" <> ${leaseMs} OR "cacheTtlSeconds" <> ${cacheTtlSeconds})))
        ORDER BY "startedAt" LIMIT 1`
        if (inTheWay) return inTheWay
        await db.$executeRaw`
        INSERT INTO "node" ("id", "mode", "leaseMs", "cacheTtlSeconds", "startedAt", "renewedAt", "expiresAt")
        SELECT ${node}, ${mode}, ${leaseMs}, ${cacheTtlSeconds}, now, now, now + ${this.#lifeMs}::int * interval '1 millisecond' FROM clock_timestamp() now
        ON CONFLICT ("id") DO UPDATE SET "renewedAt" = EXCLUDED."renewedAt", "expiresAt" = EXCLUDED."expiresAt"`
        return null
      })
    )
    if (!other) this.#hold(sentAt)
    return other
  }

  async #renew(): Promise<void> {
    const { prisma, node, history, onWarning, clock } = this.#options
    const sentAt = clock.monotonic()
    const mine = history()
    // Compared with nodes that started earlier: of two groups that cannot hear each other, the
    // newer one gives way.
    const [row] = await prisma.$queryRaw<{ renewed: boolean; differs: boolean | null }[]>`
      WITH renewed AS (
        UPDATE "node" SET "renewedAt" = clock_timestamp(), "expiresAt" = clock_timestamp() + ${this.#lifeMs}::int * interval '1 millisecond', "redis" = ${mine}
        WHERE "id" = ${node} AND "expiresAt" > clock_timestamp() RETURNING "id", "startedAt"
      )
      SELECT EXISTS (SELECT 1 FROM renewed) AS "renewed", EXISTS (
        SELECT 1 FROM "node" other, renewed WHERE (other."startedAt", other."id") < (renewed."startedAt", renewed."id")
          AND other."redis" <> ${mine} AND other."renewedAt" > clock_timestamp() - ${CURRENT_MS}::int * interval '1 millisecond'
      ) AS "differs"`
    if (row?.renewed) {
      if (mine !== null) this.#note(row.differs === true)
      this.#hold(sentAt)
      return
    }
    const other = await this.#register()
    if (other && this.#inTheWay?.id !== other.id)
      onWarning(
        `the caches are off, for this node has lost its registration: ${describe(this.#options, other)}`
      )
    this.#inTheWay = other
  }

  #note(differs: boolean): void {
    this.#differences = differs ? this.#differences + 1 : 0
    if (differs && this.#differences === DIFFERENCES) {
      if (this.#agreed)
        this.#options.onWarning(
          'the caches are off: this node reaches another Redis than the other nodes'
        )
      this.#agreed = false
    }
    if (!differs && !this.#agreed) {
      this.#newEpoch()
      this.#agreed = true
    }
  }

  #hold(sentAt: number): void {
    const now = this.#options.clock.monotonic()
    if (now >= this.#heldUntil || this.#steps.clockJumped(now)) this.#newEpoch()
    this.#steps.reset()
    this.#heldUntil = Math.max(this.#heldUntil, sentAt + this.#lifeMs * (1 - DRIFT))
  }

  #newEpoch(): void {
    this.epoch++
    this.#options.onNewEpoch()
  }
}

function describe(mine: MembershipOptions, other: Other): string {
  if (mine.mode !== other.mode || mine.mode === 'sole') {
    if (other.mode === 'shared')
      return 'REDIS_URL: another node is at work on this store with Redis, and would not hear of what this one revokes: set the same REDIS_URL on every node'
    if (mine.mode === 'shared')
      return 'REDIS_URL: another node is at work on this store without Redis: set the same REDIS_URL on every node'
    return 'REDIS_URL: another node is at work on this store: several need the same REDIS_URL, or LOCAL_CACHE=off on every one'
  }
  if (mine.leaseMs !== other.leaseMs)
    return `NODE_LEASE_MS: is ${mine.leaseMs}, and ${other.leaseMs} on a node that is at work on this store: to change it, stop them all`
  return `CACHE_TTL_SECONDS: is ${mine.cacheTtlSeconds}, and ${other.cacheTtlSeconds} on a node that is at work on this store: to change it, stop them all`
}

/** Whether an active node may hold copies. */
export async function isAnyCaching(prisma: PrismaClient): Promise<boolean> {
  const [row] = await prisma.$queryRaw<{ caching: boolean }[]>`
    SELECT EXISTS (SELECT 1 FROM "node" WHERE "mode" <> 'uncached' AND "expiresAt" > clock_timestamp()) AS "caching"`
  return row?.caching ?? true
}
