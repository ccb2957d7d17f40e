import { randomBytes } from 'node:crypto'
import type { Breaker } from '../redis/breaker.js'
import type { CopyMac } from './copy-mac.js'
import { chunk } from '../chunk.js'
import { isCluster, type RedisConnection } from '../redis/redis.js'

/*
 * The shared cache (L2). Two keys for a session, in one hash slot:
 *   holdfast:<store>:{id}:session   hash: v (version), stamp, body; or v, tomb (the reason) for a revoked session
 *   holdfast:<store>:{id}:fill      the fill lease: the one reader that may fill, and the stamp it was given
 * The stamp is master_replid. It changes with every failover and restart, so a copy counts only on
 * the Redis history on which it was written. The scripts compare it with that of the server that
 * answers: just after a failover a node may still hold the lease of the old primary while its
 * commands reach the new one, which may have lost a tombstone. Every check-and-change is one
 * script.
 *
 * `body` and `tomb` are sealed (copy-mac.ts), because others may write to Redis. A value that does
 * not verify is a miss. The scripts verify nothing. A forged key can keep them from filling, but
 * cannot make them fail (hence `pcall`).
 */
const STAMP = `local function stamp() return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') end\n`

// KEYS entry, fill, entry, fill, … ARGV stamp of the node's lease (empty in a cluster, where the
// lease is on another shard), token, lease ms. Answers for each a hit, a tombstone, a lease, or
// "none": another reader fills, or there is no room. It reads the stamp once, because INFO costs
// Redis more than a read.
const READ = `${STAMP}
local now = stamp()
local answers = {}
for i = 1, #KEYS, 2 do
  local e = redis.pcall('HMGET', KEYS[i], 'v', 'stamp', 'body', 'tomb')
  local answer = {'none'}
  if e[4] then answer = {'tomb', e[1], e[4]}
  elseif e[1] and e[2] == now and (ARGV[1] == '' or ARGV[1] == now) then answer = {'hit', e[1], e[3], e[2]}
  else
    local set = redis.pcall('SET', KEYS[i + 1], ARGV[2] .. '|' .. now, 'NX', 'PX', ARGV[3])
    if set and not set.err then answer = {'lease', now} end
  end
  answers[#answers + 1] = answer
end
return answers`

// KEYS entry, fill, entry, fill, … ARGV for each entry: token, stamp of the lease, version, body,
// ttl ms. Answers for each whether it was taken.
const FILL = `${STAMP}
local now = stamp()
local answers = {}
for i = 1, #KEYS, 2 do
  local entry, fill = KEYS[i], KEYS[i + 1]
  local at = 1 + (i - 1) / 2 * 5
  local token, leased, version, body, ttl = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local isTaken = redis.pcall('GET', fill) == token .. '|' .. leased and now == leased
  if isTaken then
    local e = redis.pcall('HMGET', entry, 'v', 'tomb', 'stamp')
    isTaken = not (e[2] or (e[1] and e[3] == leased and (tonumber(e[1]) or 0) > tonumber(version)))
  end
  if isTaken then
    redis.call('DEL', entry, fill)
    redis.call('HSET', entry, 'v', version, 'stamp', leased, 'body', body)
    redis.call('PEXPIRE', entry, ttl)
  end
  answers[#answers + 1] = isTaken and 1 or 0
end
return answers`

// KEYS entry, fill. ARGV version, ttl ms, reason. Overwrites any version. Deletes first: at
// maxmemory Redis allows writes only to a script that began with a delete.
const BURY = `
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'tomb', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`

// KEYS entry, fill. ARGV version. Drops an older copy, and the fill lease of a reader that may have
// read one. A tombstone stays.
const DROP = `
local e = redis.pcall('HMGET', KEYS[1], 'v', 'tomb')
if e[2] then return 0 end
redis.call('DEL', KEYS[2])
if e.err or (e[1] and (tonumber(e[1]) or 0) < tonumber(ARGV[1])) then redis.call('DEL', KEYS[1]) end
return 1`

// KEYS entry, fill. ARGV version, stamp, body. Replaces an older copy of this history and keeps its
// remaining time. It never creates one: a copy that was evicted or flushed may have been a revoked
// session's. It deletes the fill lease, because its reader has read before the change. Answers 1,
// or 0, or the stamp with which the body must be sealed.
const PUT = `${STAMP}
redis.call('DEL', KEYS[2])
local e = redis.pcall('HMGET', KEYS[1], 'v', 'tomb', 'stamp')
if not e[1] or e[2] then return 0 end
local now = stamp()
if e[3] ~= now then return 0 end
if (tonumber(e[1]) or 0) >= tonumber(ARGV[1]) then return 0 end
if ARGV[2] ~= now then return now end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'stamp', ARGV[2], 'body', ARGV[3])
return 1`

/** The answer of the shared cache for one session. */
export type SharedAnswer =
  | { kind: 'hit'; version: number; text: string }
  | { kind: 'tombstone'; version: number; reason: string }
  /** A copy or a tombstone that no node of this store has written. */
  | { kind: 'forged' }
  /** Nothing. This reader may fill. */
  | { kind: 'lease'; token: string; stamp: string }
  /** Nothing that counts. This reader may not fill. */
  | { kind: 'none' }

/** A copy to store, with the fill lease of its reader. */
export interface Fill {
  sessionId: string
  lease: { token: string; stamp: string }
  version: number
  text: string
  ttlMs: number
}

type Reply = [kind: string, first?: string | null, second?: string | null, third?: string | null]

type Scripts = RedisConnection & {
  hfRead(count: number, ...args: (string | number)[]): Promise<Reply[]>
  hfFill(count: number, ...args: (string | number)[]): Promise<number[]>
  hfBury(entry: string, fill: string, ...args: (string | number)[]): Promise<number>
  hfPut(entry: string, fill: string, ...args: (string | number)[]): Promise<number | string>
  hfDrop(entry: string, fill: string, ...args: (string | number)[]): Promise<number>
}

/** Sessions in one command. Redis does nothing else during it: about 10 ms. */
const TOGETHER = 500
const none: SharedAnswer = { kind: 'none' }
const forged: SharedAnswer = { kind: 'forged' }

/** How long a reader may hold a fill lease, in milliseconds. */
const FILL_LEASE_MS = 2_000

/**
 * The shared cache's protocol on one connection. Writes reject when Redis does not answer, and the
 * caller decides what that means.
 */
export class SharedCache {
  readonly #redis: Scripts
  readonly #breaker: Breaker
  readonly #mac: CopyMac
  /**
   * Names the store, because several stores may share one Redis. It is set once the store has
   * answered. No command is sent before.
   */
  namespace = ''
  readonly #name = randomBytes(12).toString('base64url')
  #attempts = 0
  /** In a cluster each command is about one session, because each session has its own slot. */
  readonly isCluster: boolean
  readonly #together: number

  constructor(redis: RedisConnection, breaker: Breaker, mac: CopyMac) {
    this.#breaker = breaker
    this.#mac = mac
    for (const [name, lua] of Object.entries({ hfBury: BURY, hfDrop: DROP, hfPut: PUT }))
      redis.defineCommand(name, { numberOfKeys: 2, lua })
    redis.defineCommand('hfRead', { lua: READ })
    redis.defineCommand('hfFill', { lua: FILL })
    this.#redis = redis as Scripts
    this.isCluster = isCluster(redis)
    this.#together = this.isCluster ? 1 : TOGETHER
  }

  /**
   * Reads any number of sessions in few commands. In a cluster it sends one command for each. A
   * command that fails answers "none" for its sessions and does not affect the others: this method
   * alone never rejects.
   *
   * @param stamp the history on which the reader's lease was granted; in a cluster each shard has
   *   its own
   */
  async readAll(sessionIds: readonly string[], stamp: string): Promise<SharedAnswer[]> {
    const answers = chunk(sessionIds, this.#together).map((ids) =>
      this.#read(ids, this.isCluster ? '' : stamp).catch(() => ids.map(() => none))
    )
    return (await Promise.all(answers)).flat()
  }

  async #read(sessionIds: readonly string[], stamp: string): Promise<SharedAnswer[]> {
    const token = this.#nextToken()
    const keys = sessionIds.flatMap((id) => this.#keysOf(id))
    const replies = await this.#breaker.run(() =>
      this.#redis.hfRead(keys.length, ...keys, stamp, token, FILL_LEASE_MS)
    )
    return replies.map((reply, i) => this.#open(sessionIds[i] ?? '', reply, token))
  }

  /**
   * Fills any number of entries, in as few commands as `readAll`.
   *
   * @returns for each whether it was taken
   */
  async fillAll(fills: readonly Fill[]): Promise<boolean[]> {
    return (
      await Promise.all(chunk(fills, this.#together).map((piece) => this.#fill(piece)))
    ).flat()
  }

  async #fill(fills: readonly Fill[]): Promise<boolean[]> {
    const keys = fills.flatMap(({ sessionId }) => this.#keysOf(sessionId))
    const values = fills.flatMap(({ sessionId, lease, version, text, ttlMs }) => [
      lease.token,
      lease.stamp,
      version,
      this.#seal(sessionId, version, lease.stamp, text),
      Math.max(1, Math.floor(ttlMs))
    ])
    const answers = await this.#breaker.run(() =>
      this.#redis.hfFill(keys.length, ...keys, ...values)
    )
    return answers.map((answer) => answer === 1)
  }

  /**
   * Replaces an older copy by what a write has just committed.
   *
   * @param stamp the history on which the writer's lease was granted
   * @returns whether there was one
   */
  async put(sessionId: string, version: number, text: string, stamp: string): Promise<boolean> {
    const answer = await this.#put(sessionId, version, text, stamp)
    // In a cluster the session's shard has its own stamp. The script returned it and has written
    // nothing yet.
    return typeof answer === 'string' && this.isCluster
      ? (await this.#put(sessionId, version, text, answer)) === 1
      : answer === 1
  }

  #put(sessionId: string, version: number, text: string, stamp: string): Promise<number | string> {
    const body = this.#seal(sessionId, version, stamp, text)
    return this.#breaker.run(() =>
      this.#redis.hfPut(...this.#keysOf(sessionId), version, stamp, body)
    )
  }

  /** Writes the tombstone of a revoked session. */
  async writeTombstone(
    sessionId: string,
    version: number,
    reason: string,
    ttlMs: number
  ): Promise<void> {
    const tombstone = this.#mac.seal(
      { kind: 'tombstone', storeId: this.namespace, sessionId, version, stamp: '' },
      reason
    )
    await this.#breaker.run(() =>
      this.#redis.hfBury(...this.#keysOf(sessionId), version, ttlMs, tombstone)
    )
  }

  /** Drops copies older than `version`. */
  async drop(sessionId: string, version: number): Promise<void> {
    await this.#breaker.run(() => this.#redis.hfDrop(...this.#keysOf(sessionId), version))
  }

  #seal(sessionId: string, version: number, stamp: string, text: string): string {
    return this.#mac.seal(
      { kind: 'copy', storeId: this.namespace, sessionId, version, stamp },
      text
    )
  }

  #open(sessionId: string, [kind, first, second, third]: Reply, token: string): SharedAnswer {
    if (kind === 'lease') return { kind, token, stamp: first ?? '' }
    if (kind === 'none') return none
    const place = { storeId: this.namespace, sessionId, version: Number(first) }
    if (kind === 'tomb') {
      const reason = this.#mac.open({ kind: 'tombstone', ...place, stamp: '' }, second ?? '')
      return reason === null ? forged : { kind: 'tombstone', version: place.version, reason }
    }
    const text = this.#mac.open({ kind: 'copy', ...place, stamp: third ?? '' }, second ?? '')
    return text === null ? forged : { kind: 'hit', version: place.version, text }
  }

  /** Names one attempt to fill, unique among all processes. */
  #nextToken(): string {
    return `${this.#name}-${++this.#attempts}`
  }

  #keysOf(sessionId: string): [entry: string, fill: string] {
    if (this.namespace === '') throw new Error('the store is not known yet')
    const slot = `holdfast:${this.namespace}:{${sessionId}}`
    return [`${slot}:session`, `${slot}:fill`]
  }
}
