import type { ProtectionName } from '../../support/protections.js'

/*
 * The session cache's protocol as steps on a small state: one session, one Redis, a node with both
 * caches ("node"), a load on another node that only fills the shared cache ("other"), a revoker,
 * and the check that starts after the revoker's 200. Steps have the names of the code. The search
 * may delay any step: that models a paused node and a late message.
 *
 * Left out, because it only makes copies end sooner: times to live (a fault that evicts stands for
 * them), the drift margin (all clocks here run alike), the limits of the local cache.
 */

/** The rule: every protection, and five that the consistency checker does not leave out. */
export interface Rule extends Record<ProtectionName, boolean> {
  /**
   * A copy is compared with the stamp of the server that answers, not only with that of the lease
   * (the protection `stamp`).
   */
  serverStamp: boolean
  /**
   * A copy is compared with the stamp of the lease as well. Not in a cluster, where the lease is on
   * another shard.
   */
  leaseStamp: boolean
  /** A gap in the count of announcements begins a new epoch. */
  counter: boolean
  /** A write replaces existing copies, and creates none. */
  putReplaces: boolean
  /**
   * For a while after an invalidation a node refuses older versions from anywhere. Part of
   * `overtakenLoads` in the code.
   */
  floor: boolean
}

export type Fault =
  | 'lose subscription'
  | 'lose message'
  | 'FLUSHALL'
  | 'failover'
  | 'evict entry'
  | 'evict fill'
  | 'evict table'

export interface Bounds {
  /** The clock ends here; a lease lasts LEASE. */
  ticks: number
  renewals: number
  loads: number
  /** Loads on the other node. */
  others: number
  /** Writes on the node (a rotation), committed before the change, whose puts may be late. */
  writes: number
  /** How often each fault may strike. */
  faults: Partial<Record<Fault, number>>
  /**
   * The committed change: a revocation, which writes a tombstone, or a change of what a check
   * shows, which drops the copy.
   */
  change: 'tombstone' | 'drop'
  /**
   * Two primaries at once: the node does not see the revoker's. Then only the outbox's tail reaches
   * the node, and is waited for.
   */
  split: boolean
}

/** How long a lease lasts, in ticks. */
export const LEASE = 2
const LONG_AGO = -9
const LOST = -1

/**
 * Versions in order: the original, the one that a write left, the one that the change leaves. The
 * first two are stale after the change.
 */
const [NOTHING, OLD, WRITTEN, NEW, TOMBSTONE] = [0, 1, 2, 3, 4]
const isStale = (version: number) => version === OLD || version === WRITTEN
const [FREE, NODE, OTHER] = [0, 1, 2]
const [IDLE, HIT, LEASED, PLAIN, READ] = [0, 1, 2, 3, 4]
const [WAITING, COMMITTED, BURIED, ANNOUNCED, ANSWERED] = [0, 1, 2, 3, 4]

/** Only numbers and strings, so that two states are the same when their values are. */
export type State = ReturnType<typeof initial>

export function initial(entry: number) {
  return {
    time: 0,
    // The revoker, the end of the leases that it waits for, and which nodes have acknowledged.
    revoker: WAITING,
    until: 0,
    acknowledged: 0,
    // Redis: its stamp, the session's entry with the stamp on it, the fill lease with its stamp;
    // what the replica has of them; the lease table.
    stamp: 0,
    entry,
    entryStamp: 0,
    fill: FREE,
    fillStamp: 0,
    replicaEntry: entry,
    replicaEntryStamp: 0,
    replicaFill: FREE,
    replicaFillStamp: 0,
    birth: LONG_AGO,
    lease: LOST,
    seq: 0,
    // The node: its lease, the subscription with what is on its way, renewals. `strandedEntry`:
    // what the demoted server shows that it still talks to.
    heldUntil: LOST,
    history: '',
    leaseStamp: LOST,
    nodeSeq: 0,
    subscribed: 0,
    queue: '',
    renewal: LOST,
    reply: '',
    renewals: 0,
    stranded: 0,
    strandedEntry: NOTHING,
    strandedStamp: 0,
    // Its local copy, floor and one load with the fill that it sends; the tail of the outbox.
    local: NOTHING,
    floor: 0,
    load: IDLE,
    loaded: NOTHING,
    sameEpoch: 0,
    overtaken: 0,
    mayFill: LOST,
    loads: 0,
    filling: NOTHING,
    fillingStamp: 0,
    tail: 0,
    // A write: whether it is committed, and its puts into the local cache and on the way to the
    // shared one.
    written: 0,
    putLocal: 0,
    putShared: 0,
    // The load on the other node.
    other: IDLE,
    otherLoaded: NOTHING,
    otherStamp: 0,
    others: 0,
    faults: ''
  }
}

/** The state before anything happened, with and without a copy in the shared cache. */
export const beginnings = (): State[] => [initial(NOTHING), initial(OLD)]

const held = (rule: Rule, s: State) => (rule.leaseCheck ? s.time < s.heldUntil : s.history !== '')

function newEpoch(s: State): void {
  s.local = NOTHING
  s.sameEpoch = 0
}

function lapse(s: State): void {
  s.heldUntil = LOST
  newEpoch(s)
}

/** The first script that touches an empty or foreign lease table sets its birth. */
function touchTable(s: State): void {
  if (s.birth !== LOST) return
  s.birth = s.time
  s.seq = 0
}

/** The answer of the script READ to the node, on the server that it is connected to. */
function readShared(
  rule: Rule,
  s: State
): 'tombstone' | 'old' | 'written' | 'new' | 'lease' | 'wait' {
  const [entry, entryStamp, serverStamp] = s.stranded
    ? [s.strandedEntry, s.strandedStamp, 0]
    : [s.entry, s.entryStamp, s.stamp]
  if (entry === TOMBSTONE) return 'tombstone'
  const fits =
    !rule.stamp ||
    ((!rule.leaseStamp || entryStamp === s.leaseStamp) &&
      (!rule.serverStamp || entryStamp === serverStamp))
  if (entry !== NOTHING && fits)
    return entry === OLD ? 'old' : entry === WRITTEN ? 'written' : 'new'
  return s.stranded || s.fill !== FREE ? 'wait' : 'lease'
}

/** The script FILL. */
function fillShared(rule: Rule, s: State, who: number, version: number, stamp: number): void {
  if (rule.fillLease && (s.fill !== who || s.fillStamp !== stamp)) return
  if (rule.stamp && s.stamp !== stamp) return
  if (
    rule.versionCompare &&
    (s.entry === TOMBSTONE || (s.entry > version && s.entryStamp === stamp))
  )
    return
  Object.assign(s, { entry: version, entryStamp: stamp, fill: FREE, fillStamp: 0 })
}

/** The script PUT. */
function putShared(rule: Rule, s: State): void {
  Object.assign(s, { fill: FREE, fillStamp: 0 })
  if (s.entry === TOMBSTONE || (rule.putReplaces && s.entry === NOTHING)) return
  if (s.entry !== NOTHING && rule.stamp && s.entryStamp !== s.stamp) return
  if (s.entry !== NOTHING && rule.versionCompare && s.entry >= WRITTEN) return
  Object.assign(s, { entry: WRITTEN, entryStamp: s.entry === NOTHING ? s.stamp : s.entryStamp })
}

function writeTombstone(s: State, change: Bounds['change']): void {
  if (change === 'tombstone') Object.assign(s, { entry: TOMBSTONE, entryStamp: 0 })
  else if (isStale(s.entry)) Object.assign(s, { entry: NOTHING, entryStamp: 0 })
  Object.assign(s, { fill: FREE, fillStamp: 0 })
}

function invalidate(s: State): void {
  s.local = NOTHING
  s.floor = 1
  s.overtaken = 1
}

function beat(rule: Rule, s: State, message: string): void {
  const [, sent = '', stamp = '', birth = '', seq = ''] = message.split('/')
  const history = `${stamp} ${birth}`
  const missed = rule.heartbeatBySubscription && rule.counter && Number(seq) !== s.nodeSeq
  if (history !== s.history || missed || s.time >= s.heldUntil) {
    newEpoch(s)
    Object.assign(s, { history, nodeSeq: Number(seq), leaseStamp: Number(stamp) })
  }
  s.heldUntil = Math.max(s.heldUntil, Number(sent) + LEASE)
}

/** Why a check that starts now would get a stale answer. Null when it would not. */
export function staleCheck(rule: Rule, bounds: Bounds, s: State): string | null {
  if (s.revoker !== ANSWERED || (bounds.split && s.tail !== 2)) return null
  if (isStale(s.local) && held(rule, s)) return 'check: the local cache says active'
  if (isStale(s.loaded) && !rule.joinNext) return 'check: joins a load that says active'
  if (
    held(rule, s) &&
    ['old', 'written'].includes(readShared(rule, s)) &&
    !isBelowFloor(rule, s, OLD)
  )
    return 'check: the shared cache says active'
  return null
}

const isBelowFloor = (rule: Rule, s: State, version: number) =>
  rule.overtakenLoads && rule.floor && s.floor === 1 && isStale(version)

type Step = (name: string, change: (s: State) => void) => void

/** Calls `step` for everything that may happen next. */
export function steps(rule: Rule, bounds: Bounds, s: State, step: Step): void {
  if (s.time < bounds.ticks)
    step('tick', (x) => {
      x.time++
    })
  revoker(rule, bounds, s, step)
  lease(rule, bounds, s, step)
  load(rule, bounds, s, step)
  write(rule, bounds, s, step)
  other(rule, bounds, s, step)
  faults(bounds, s, step)
}

function revoker(rule: Rule, bounds: Bounds, s: State, step: Step): void {
  if (s.revoker === WAITING)
    step('revoker: commit', (x) => {
      x.revoker = COMMITTED
    })
  if (s.revoker === COMMITTED) {
    step(`revoker: ${bounds.change}`, (x) => {
      x.revoker = BURIED
      if (!bounds.split) writeTombstone(x, bounds.change)
    })
  }
  if (s.revoker === BURIED) {
    step('revoker: announce', (x) => {
      x.revoker = ANNOUNCED
      x.until = bounds.split ? x.time + LEASE : 0
      if (bounds.split) return
      touchTable(x)
      x.seq++
      if (x.subscribed) x.queue += `announcement/${x.seq};`
      // The table's age and the live leases, as the script reads them.
      x.until = (rule.youngTableWait ? Math.max(0, x.birth + LEASE) : 0) * 10 + Math.max(0, x.lease)
    })
  }
  if (s.revoker === ANNOUNCED) {
    const [young, leases] = bounds.split ? [s.until, 0] : [Math.floor(s.until / 10), s.until % 10]
    const heard = s.time >= young && (s.time >= leases || s.acknowledged === 1)
    if (heard || !rule.acknowledgements)
      step('revoker: answer 200', (x) => {
        Object.assign(x, { revoker: ANSWERED, until: 0 })
      })
  }
  if (s.revoker >= COMMITTED && bounds.split && s.tail < 2) {
    if (s.tail === 0)
      step('node: tail, invalidate', (x) => {
        invalidate(x)
        x.tail = 1
      })
    else
      step('node: tail, tombstone', (x) => {
        writeTombstone(x, bounds.change)
        x.tail = 2
      })
  }
}

function lease(rule: Rule, bounds: Bounds, s: State, step: Step): void {
  if (s.renewal === LOST && s.reply === '' && s.renewals < bounds.renewals)
    step('node: renew', (x) => {
      x.renewal = x.time
      x.renewals++
    })
  if (s.renewal !== LOST && !s.stranded) {
    step('Redis: renew, publish heartbeat', (x) => {
      touchTable(x)
      x.lease = x.time + LEASE
      const message = `heartbeat/${x.renewal}/${x.stamp}/${x.birth}/${x.seq}`
      if (!rule.heartbeatBySubscription) x.reply = message
      else if (x.subscribed) x.queue += `${message};`
      x.renewal = LOST
    })
  }
  if (s.renewal !== LOST && s.stranded)
    step('demoted Redis: refuse to renew', (x) => {
      x.renewal = LOST
    })
  if (s.reply !== '')
    step('node: renewal is answered', (x) => {
      beat(rule, x, x.reply)
      x.reply = ''
    })
  if (s.queue !== '' && s.subscribed) {
    const message = s.queue.slice(0, s.queue.indexOf(';'))
    step(message.startsWith('h') ? 'node: heartbeat' : 'node: invalidate, acknowledge', (x) => {
      x.queue = x.queue.slice(message.length + 1)
      if (message.startsWith('h')) return beat(rule, x, message)
      const seq = Number(message.split('/')[1])
      if (rule.counter && seq !== x.nodeSeq + 1) lapse(x)
      x.nodeSeq = seq
      invalidate(x)
      x.acknowledged = 1
    })
  }
  // A node that joins, and one that notices that its subscription is lost.
  if (!s.subscribed)
    step('node: lapse, subscribe', (x) => {
      lapse(x)
      Object.assign(x, { subscribed: 1, queue: '' })
    })
  if (s.stranded)
    step('node: connect to the new primary', (x) => {
      Object.assign(x, { stranded: 0, strandedEntry: NOTHING, strandedStamp: 0 })
    })
}

function load(rule: Rule, bounds: Bounds, s: State, step: Step): void {
  const end = { load: IDLE, loaded: NOTHING, sameEpoch: 0, overtaken: 0, mayFill: LOST }
  const isHeld = held(rule, s)
  if (s.load === IDLE && s.loads < bounds.loads && !(s.local !== NOTHING && isHeld)) {
    const answer = isHeld ? readShared(rule, s) : 'wait'
    if (answer !== 'tombstone') {
      step(`node: load, read the shared cache${isHeld ? `: ${answer}` : ' not'}`, (x) => {
        Object.assign(x, { load: PLAIN, sameEpoch: 1, overtaken: 0, loads: x.loads + 1 })
        if (answer === 'old' || answer === 'written' || answer === 'new')
          Object.assign(x, { load: HIT, loaded: { old: OLD, written: WRITTEN, new: NEW }[answer] })
        if (answer === 'lease')
          Object.assign(x, { load: LEASED, mayFill: x.stamp, fill: NODE, fillStamp: x.stamp })
      })
    }
  }
  if (s.load === PLAIN || s.load === LEASED) {
    step('node: load, read the store', (x) => {
      if (x.revoker === WAITING) Object.assign(x, { load: READ, loaded: x.written ? WRITTEN : OLD })
      else if (bounds.change === 'drop') Object.assign(x, { load: READ, loaded: NEW })
      else Object.assign(x, end)
    })
  }
  if (s.load === HIT || s.load === READ) {
    const inLease = isHeld && (!rule.leaseCheck || s.sameEpoch === 1)
    const refused = isBelowFloor(rule, s, s.loaded)
    if (s.load === HIT && (!inLease || refused))
      step('node: load, refuse the copy', (x) => {
        Object.assign(x, { load: PLAIN, loaded: NOTHING })
      })
    else {
      step('node: load, keep', (x) => {
        if (inLease && !refused && !(rule.overtakenLoads && x.overtaken)) x.local = x.loaded
        if (x.load === READ && x.mayFill !== LOST)
          Object.assign(x, { filling: x.loaded, fillingStamp: x.mayFill })
        Object.assign(x, end)
      })
    }
  }
  if (s.filling !== NOTHING) {
    step('node: fill', (x) => {
      if (!x.stranded) fillShared(rule, x, NODE, x.filling, x.fillingStamp)
      Object.assign(x, { filling: NOTHING, fillingStamp: 0 })
    })
  }
}

function write(rule: Rule, bounds: Bounds, s: State, step: Step): void {
  // The row's lock orders them: no write to a session follows its revocation.
  if (s.written < bounds.writes && s.revoker === WAITING)
    step('node: write, commit', (x) => {
      Object.assign(x, { written: 1, putLocal: 1 })
    })
  if (s.putLocal) {
    step('node: put', (x) => {
      Object.assign(x, { putLocal: 0 })
      if (!held(rule, x)) return
      if (
        (x.local !== NOTHING || !rule.putReplaces) &&
        x.local < WRITTEN &&
        !isBelowFloor(rule, x, WRITTEN)
      )
        x.local = WRITTEN
      x.putShared = 1
    })
  }
  if (s.putShared) {
    step('Redis: put', (x) => {
      if (!x.stranded) putShared(rule, x)
      x.putShared = 0
    })
  }
}

function other(rule: Rule, bounds: Bounds, s: State, step: Step): void {
  const end = { other: IDLE, otherLoaded: NOTHING, otherStamp: 0 }
  const missing = s.entry === NOTHING || (s.entry !== TOMBSTONE && s.entryStamp !== s.stamp)
  if (s.other === IDLE && s.others < bounds.others && missing && s.fill === FREE) {
    step('other: load, read the shared cache: lease', (x) => {
      Object.assign(x, {
        other: LEASED,
        otherStamp: x.stamp,
        fill: OTHER,
        fillStamp: x.stamp,
        others: x.others + 1
      })
    })
  }
  if (s.other === LEASED) {
    step('other: load, read the store', (x) => {
      if (x.revoker === WAITING)
        Object.assign(x, { other: READ, otherLoaded: x.written ? WRITTEN : OLD })
      else if (bounds.change === 'drop') Object.assign(x, { other: READ, otherLoaded: NEW })
      else Object.assign(x, end)
    })
  }
  if (s.other === READ)
    step('other: fill', (x) => {
      fillShared(rule, x, OTHER, x.otherLoaded, x.otherStamp)
      Object.assign(x, end)
    })
}

function faults(bounds: Bounds, s: State, step: Step): void {
  const fault = (name: Fault, change: (x: State) => void) => {
    const struck = s.faults.split(';').filter((past) => past === name).length
    if (struck < (bounds.faults[name] ?? 0))
      step(`fault: ${name}`, (x) => {
        x.faults = [...x.faults.split(';'), name].toSorted().join(';')
        change(x)
      })
  }
  if (s.subscribed)
    fault('lose subscription', (x) => {
      Object.assign(x, { subscribed: 0, queue: '' })
    })
  if (s.queue !== '')
    fault('lose message', (x) => {
      x.queue = x.queue.slice(x.queue.indexOf(';') + 1)
    })
  if (s.entry !== NOTHING)
    fault('evict entry', (x) => {
      Object.assign(x, { entry: NOTHING, entryStamp: 0 })
    })
  if (s.fill !== FREE)
    fault('evict fill', (x) => {
      Object.assign(x, { fill: FREE, fillStamp: 0 })
    })
  const loseTable = { birth: LOST, lease: LOST, seq: 0 }
  fault('evict table', (x) => {
    Object.assign(x, loseTable)
  })
  fault('FLUSHALL', (x) => {
    Object.assign(x, loseTable, { entry: NOTHING, entryStamp: 0, fill: FREE, fillStamp: 0 })
  })
  // One failover only: the stamp goes from 0 to 1.
  if (!bounds.faults.failover || s.stamp === 1) return
  if (
    s.replicaEntry !== s.entry ||
    s.replicaFill !== s.fill ||
    s.replicaFillStamp !== s.fillStamp ||
    s.replicaEntryStamp !== s.entryStamp
  ) {
    step('Redis: replicate', (x) => {
      Object.assign(x, {
        replicaEntry: x.entry,
        replicaEntryStamp: x.entryStamp,
        replicaFill: x.fill,
        replicaFillStamp: x.fillStamp
      })
    })
  }
  fault('failover', (x) => {
    // The node's connections stay with the demoted server, which answers reads but receives no
    // announcement, until they are opened again.
    Object.assign(x, {
      stranded: 1,
      strandedEntry: x.entry,
      strandedStamp: x.entryStamp,
      subscribed: 0,
      queue: ''
    })
    Object.assign(x, loseTable, {
      stamp: 1,
      entry: x.replicaEntry,
      entryStamp: x.replicaEntryStamp,
      fill: x.replicaFill,
      fillStamp: x.replicaFillStamp
    })
    Object.assign(x, {
      replicaEntry: NOTHING,
      replicaEntryStamp: 0,
      replicaFill: FREE,
      replicaFillStamp: 0
    })
  })
}
