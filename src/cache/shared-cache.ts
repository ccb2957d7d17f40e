import { randomBytes } from 'node:crypto'
import type { Breaker } from './breaker.js'
import { Gathering } from './gathering.js'
import { isCluster, type RedisConnection } from './redis.js'
import type { Protections } from './protections.js'

/*
 * The shared cache (L2). Two keys for a session, in one hash slot:
 *   holdfast:<store>:{id}:session   hash: v (version), stamp, body; or v, tomb for a revoked session
 *   holdfast:<store>:{id}:fill      the fill lease: the one reader that may fill, and the stamp it was given
 * The stamp is master_replid: it changes with every failover and restart, so that a copy counts only on the Redis history
 * on which it was written. It is compared with the server that answers: just after a failover a node may still hold the lease of
 * the old primary while its commands reach the new one, which may have lost a tombstone. Every check-and-change is one script.
 */
const STAMP = `local function stamp() return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') end\n`

// KEYS entry, fill. ARGV stamp of the node's lease (empty in a cluster, where it stands on another shard), token, lease ms, check stamp.
// Answers a hit, a tombstone, a lease, or "wait".
const READ = `${STAMP}
local e = redis.call('HMGET', KEYS[1], 'v', 'stamp', 'body', 'tomb')
if e[4] then return {'tomb', e[1], e[4]} end
local now = stamp()
if e[1] and (ARGV[4] == '0' or (e[2] == now and (ARGV[1] == '' or ARGV[1] == now))) then return {'hit', e[1], e[3], redis.call('PTTL', KEYS[1])} end
if redis.call('SET', KEYS[2], ARGV[2] .. '|' .. now, 'NX', 'PX', ARGV[3]) then return {'lease', now} end
return {'wait'}`

// As READ, for any number of entries: KEYS entry, fill, entry, fill, … It asks for the stamp once.
const READ_ALL = `${STAMP}
local now = stamp()
local answers = {}
for i = 1, #KEYS, 2 do
  local e = redis.call('HMGET', KEYS[i], 'v', 'stamp', 'body', 'tomb')
  local answer = {'wait'}
  if e[4] then answer = {'tomb', e[1], e[4]}
  elseif e[1] and (ARGV[4] == '0' or (e[2] == now and (ARGV[1] == '' or ARGV[1] == now))) then answer = {'hit', e[1], e[3], redis.call('PTTL', KEYS[i])}
  elseif redis.call('SET', KEYS[i + 1], ARGV[2] .. '|' .. now, 'NX', 'PX', ARGV[3]) then answer = {'lease', now} end
  answers[#answers + 1] = answer
end
return answers`

// KEYS entry, fill. ARGV token, stamp of the lease, version, body, ttl ms, check lease, check version, check stamp.
const FILL = `${STAMP}
if ARGV[6] == '1' and redis.call('GET', KEYS[2]) ~= ARGV[1] .. '|' .. ARGV[2] then return 0 end
if ARGV[8] == '1' and stamp() ~= ARGV[2] then return 0 end
local e = redis.call('HMGET', KEYS[1], 'v', 'tomb', 'stamp')
if ARGV[7] == '1' and (e[2] or (e[1] and e[3] == ARGV[2] and tonumber(e[1]) > tonumber(ARGV[3]))) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'v', ARGV[3], 'stamp', ARGV[2], 'body', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1`

// KEYS entry, fill. ARGV version, ttl ms, reason. Overwrites any version; deletes first, for at maxmemory only that succeeds.
const BURY = `
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'tomb', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`

// KEYS entry, fill. ARGV version. Drops an older copy and the right to fill with one; a tombstone stays.
const DROP = `
local e = redis.call('HMGET', KEYS[1], 'v', 'tomb')
if e[2] then return 0 end
redis.call('DEL', KEYS[2])
if e[1] and tonumber(e[1]) < tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
return 1`

// KEYS entry, fill. ARGV version, body, check version, check stamp. Replaces an older copy of this history and keeps the time it has left: never
// creates one, for a copy that was evicted or flushed may have been a revoked session's. A reader who fills has read before the change.
const PUT = `${STAMP}
redis.call('DEL', KEYS[2])
local e = redis.call('HMGET', KEYS[1], 'v', 'tomb', 'stamp')
if not e[1] or e[2] then return 0 end
if ARGV[4] == '1' and e[3] ~= stamp() then return 0 end
if ARGV[3] == '1' and tonumber(e[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'body', ARGV[2])
return 1`

/** What the shared cache says of a session. */
export type SharedAnswer =
  | { kind: 'hit', version: number, body: string, remainingMs: number }
  | { kind: 'tombstone', version: number, reason: string }
  /** Nothing; this reader may fill. */
  | { kind: 'lease', token: string, stamp: string }
  /** Nothing; another reader is filling. */
  | { kind: 'wait' }

type Reply = [kind: string, first?: string, second?: string, ttl?: number]

type Scripts = RedisConnection & {
  hfRead(entry: string, fill: string, ...args: (string | number)[]): Promise<Reply>
  hfReadAll(count: number, ...args: (string | number)[]): Promise<Reply[]>
  hfFill(entry: string, fill: string, ...args: (string | number)[]): Promise<number>
  hfBury(entry: string, fill: string, ...args: (string | number)[]): Promise<number>
  hfPut(entry: string, fill: string, ...args: (string | number)[]): Promise<number>
  hfDrop(entry: string, fill: string, ...args: (string | number)[]): Promise<number>
}

/** How long a reader may hold the right to fill, in milliseconds. */
const FILL_LEASE_MS = 2_000

/** The shared cache's protocol on one connection. Every method rejects when Redis does not answer; the caller decides what that means. */
export class SharedCache {
  readonly #redis: Scripts
  readonly #breaker: Breaker
  readonly #protections: Protections
  /** Names the store: several may share one Redis. Known when the store has answered, and nothing is asked before. */
  namespace = ''
  readonly #name = randomBytes(12).toString('base64url')
  #attempts = 0
  #reads: { stamp: string, gathering: Gathering<SharedAnswer> } | null = null

  constructor(redis: RedisConnection, breaker: Breaker, protections: Protections) {
    this.#breaker = breaker
    for (const [name, lua] of Object.entries({ hfRead: READ, hfFill: FILL, hfBury: BURY, hfDrop: DROP, hfPut: PUT })) redis.defineCommand(name, { numberOfKeys: 2, lua })
    redis.defineCommand('hfReadAll', { lua: READ_ALL })
    this.#redis = redis as Scripts
    this.#protections = protections
  }

  /**
   * Reads of one turn of the event loop are one command, and one look at the stamp, which costs Redis more than the read does. In a
   * cluster, where each session has a slot of its own, each is a command.
   *
   * @param stamp the history on which the reader's lease stands; a cluster's shards each have their own
   */
  read(sessionId: string, stamp: string): Promise<SharedAnswer> {
    if (isCluster(this.#redis)) return this.#readOne(sessionId)
    if (this.#reads?.stamp !== stamp) this.#reads = { stamp, gathering: new Gathering((ids) => this.readAll(ids, stamp)) }
    return this.#reads.gathering.ask(sessionId)
  }

  /** As `read` for many sessions, in one command; in a cluster, where each has its own slot, in one round trip to each shard. */
  async readAll(sessionIds: readonly string[], stamp: string): Promise<SharedAnswer[]> {
    if (isCluster(this.#redis)) return Promise.all(sessionIds.map((id) => this.#readOne(id)))
    const token = this.#nextToken()
    const keys = sessionIds.flatMap((id) => this.#keysOf(id))
    const replies = await this.#breaker.run(() => this.#redis.hfReadAll(keys.length, ...keys, stamp, token, FILL_LEASE_MS, flag(this.#protections.stamp)))
    return replies.map((reply) => answerOf(reply, token))
  }

  /** @returns whether the copy was taken */
  async fill(sessionId: string, lease: { token: string, stamp: string }, version: number, body: string, ttlMs: number): Promise<boolean> {
    const { fillLease, versionCompare, stamp } = this.#protections
    const lives = Math.max(1, Math.floor(ttlMs))
    return await this.#breaker.run(() => this.#redis.hfFill(...this.#keysOf(sessionId), lease.token, lease.stamp, version, body, lives, flag(fillLease), flag(versionCompare), flag(stamp))) === 1
  }

  /**
   * Replaces an older copy by what a write has just committed.
   *
   * @returns whether there was one
   */
  async put(sessionId: string, version: number, body: string): Promise<boolean> {
    const { versionCompare, stamp } = this.#protections
    return await this.#breaker.run(() => this.#redis.hfPut(...this.#keysOf(sessionId), version, body, flag(versionCompare), flag(stamp))) === 1
  }

  /** Writes the tombstone of a revoked session. */
  async bury(sessionId: string, version: number, reason: string, ttlMs: number): Promise<void> {
    await this.#breaker.run(() => this.#redis.hfBury(...this.#keysOf(sessionId), version, ttlMs, reason))
  }

  /** Drops copies older than `version`. */
  async drop(sessionId: string, version: number): Promise<void> {
    await this.#breaker.run(() => this.#redis.hfDrop(...this.#keysOf(sessionId), version))
  }

  async #readOne(sessionId: string): Promise<SharedAnswer> {
    const token = this.#nextToken()
    return answerOf(await this.#breaker.run(() => this.#redis.hfRead(...this.#keysOf(sessionId), '', token, FILL_LEASE_MS, flag(this.#protections.stamp))), token)
  }

  /** Names one attempt to fill, among all of all processes. */
  #nextToken(): string {
    return `${this.#name}-${++this.#attempts}`
  }

  #keysOf(sessionId: string): [entry: string, fill: string] {
    if (this.namespace === '') throw new Error('the store is not known yet')
    const slot = `holdfast:${this.namespace}:{${sessionId}}`
    return [`${slot}:session`, `${slot}:fill`]
  }
}

function answerOf([kind, first = '', second = '', ttl = 0]: Reply, token: string): SharedAnswer {
  if (kind === 'hit') return { kind, version: Number(first), body: second, remainingMs: ttl }
  if (kind === 'tomb') return { kind: 'tombstone', version: Number(first), reason: second }
  return kind === 'lease' ? { kind, token, stamp: first } : { kind: 'wait' }
}

function flag(on: boolean): string {
  return on ? '1' : '0'
}
