/** A change of the built code. */
export interface Edit {
  /** The module, by its path in the build. */
  file: string
  /**
   * The code to replace. White space between words and signs does not count, nor does the kind of a
   * quotation mark, because compilers print the same code differently.
   */
  find: string
  replace: string
}

/** A step that keeps the caches from a stale answer. */
export interface Protection {
  /** What the product does. */
  what: string
  /** What takes it out of the build. */
  edits: readonly Edit[]
}

const SHARED_CACHE = 'src/cache/shared-cache.js'
const SESSION_CACHE = 'src/cache/session-cache.js'
const NODE_LEASE = 'src/cluster/node-lease.js'
const LEASE_SCRIPTS = 'src/cluster/lease-scripts.js'

const definitions = {
  fillLease: {
    what: 'A load fills the shared cache only while it holds the fill lease that it got before it read the store.',
    edits: [
      {
        file: SHARED_CACHE,
        find: "redis.pcall('GET', fill) == token .. '|' .. leased",
        replace: 'true'
      }
    ]
  },
  versionCompare: {
    what: 'An older copy never replaces a newer one. A node that has heard of a newer version does not take an older copy from Redis.',
    edits: [
      {
        file: SHARED_CACHE,
        find: 'isTaken = not (e[2] or (e[1] and e[3] == leased and (tonumber(e[1]) or 0) > tonumber(version)))',
        replace: ''
      },
      {
        file: SHARED_CACHE,
        find: 'if (tonumber(e[1]) or 0) >= tonumber(ARGV[1]) then return 0 end',
        replace: ''
      },
      {
        file: SESSION_CACHE,
        find: '!this.#floors.isAbove(answer.version, sessionId)',
        replace: 'true'
      }
    ]
  },
  stamp: {
    what: 'A copy counts only on the Redis history on which it was written.',
    edits: [
      {
        file: SHARED_CACHE,
        find: "e[2] == now and (ARGV[1] == '' or ARGV[1] == now)",
        replace: 'true'
      },
      { file: SHARED_CACHE, find: 'now == leased', replace: 'true' },
      { file: SHARED_CACHE, find: 'if e[3] ~= now then return 0 end', replace: '' },
      { file: SHARED_CACHE, find: 'if ARGV[2] ~= now then return now end', replace: '' }
    ]
  },
  acknowledgements: {
    what: 'A revocation waits until every node has applied it or has lost its lease.',
    edits: [
      {
        file: NODE_LEASE,
        find: 'this.#options.onInvalidation(changes);',
        replace: 'this.#options.onInvalidation(changes); return;'
      }
    ]
  },
  leaseCheck: {
    what: 'A node answers from its caches only while it holds its lease.',
    edits: [
      {
        file: NODE_LEASE,
        find: 'if (now >= this.#heldUntil) return false;',
        replace: "return this.stamp !== '';"
      },
      {
        file: SESSION_CACHE,
        find: 'cacheLease.isHeld() && cacheLease.epoch === beginning.epoch',
        replace: 'true'
      },
      {
        file: SESSION_CACHE,
        find: 'if (cacheLease.epoch !== beginning.epoch) return;',
        replace: ''
      }
    ]
  },
  heartbeatBySubscription: {
    what: 'A heartbeat counts when it arrives through the subscription that carries the invalidations.',
    edits: [
      {
        file: LEASE_SCRIPTS,
        find: 'redis.call(ARGV[5], ARGV[3], beat) return 1',
        replace: 'redis.call(ARGV[5], ARGV[3], beat) return beat'
      },
      {
        file: NODE_LEASE,
        find: 'await breaker.run(() => this.#redis.hfRenew(',
        replace: 'const beat = await breaker.run(() => this.#redis.hfRenew('
      },
      {
        file: NODE_LEASE,
        find: 'this.#hearOrReconnect();',
        replace: 'this.#hearOrReconnect(); this.#beat(JSON.parse(beat));'
      },
      { file: NODE_LEASE, find: 'this.#beat(message);', replace: ';' },
      {
        file: NODE_LEASE,
        find: 'const missed = seq !== this.#seq;',
        replace: 'const missed = false;'
      }
    ]
  },
  youngTableWait: {
    what: 'A revocation waits until the lease table is as old as a lease lasts.',
    edits: [
      {
        file: NODE_LEASE,
        find: 'answered + Math.min(leaseMs, leaseMs - Number(age)) + CLOCK_STEP_MS',
        replace: '0'
      }
    ]
  },
  overtakenLoads: {
    what: 'A load that an invalidation has overtaken is not stored.',
    edits: [
      {
        file: SESSION_CACHE,
        find: 'if (beginning.overtaken || this.#floors.isAbove(version, sessionId)) return;',
        replace: ''
      }
    ]
  },
  joinNext: {
    what: 'A read that arrives while a load is running waits for the next load.',
    edits: [
      {
        file: SESSION_CACHE,
        find: '#reads =',
        replace: '#running = new Set(); #reads ='
      },
      {
        file: SESSION_CACHE,
        find: 'if (!shared || !cacheLease.isHeld()) return this.#load(claim, null, show);',
        replace:
          'for (const { ids, records } of this.#running) if (ids.has(claim.sessionId)) return records.then((known) => show(known.get(claim.sessionId) ?? null)); if (!shared || !cacheLease.isHeld()) return this.#load(claim, null, show);'
      },
      {
        file: SESSION_CACHE,
        find: '#readStore(ids, leases, checks) {',
        replace:
          '#readStore(ids, leases, checks) { const read = { ids, records: this.#readAlone(ids, leases, checks) }; this.#running.add(read); return read.records.finally(() => this.#running.delete(read)); } #readAlone(ids, leases, checks) {'
      }
    ]
  }
} satisfies Record<string, Protection>

export type ProtectionName = keyof typeof definitions

/** All protections, by name. */
export const protections: Readonly<Record<ProtectionName, Protection>> = definitions

export const protectionNames = Object.keys(definitions) as ProtectionName[]

/** @throws Error for a name that is no protection's */
export function parseProtections(names: readonly string[]): ProtectionName[] {
  return names.map((name) => {
    const known = protectionNames.find((each) => each === name)
    if (known === undefined) throw new Error(`there is no protection ${name}`)
    return known
  })
}

/**
 * The text of a built module without some protections.
 *
 * @param file its path in the build
 * @throws Error when the code of an edit is not there exactly once
 */
export function weaken(file: string, text: string, without: readonly ProtectionName[]): string {
  let weakened = text
  for (const name of without)
    for (const edit of protections[name].edits)
      if (edit.file === file) weakened = apply(edit, weakened, name)
  return weakened
}

function apply({ file, find, replace }: Edit, text: string, name: string): string {
  const found = [...text.matchAll(toPattern(find))]
  const [match] = found
  if (!match || found.length > 1)
    throw new Error(`the code of ${name} is ${found.length} times in ${file}: ${find}`)
  return text.slice(0, match.index) + replace + text.slice(match.index + match[0].length)
}

function toPattern(find: string): RegExp {
  const wordsAndSigns = find.match(/\w+|[^\w\s]/g) ?? []
  const pattern = wordsAndSigns.map((part) => {
    if (/\w/.test(part)) return part
    return /['"]/.test(part) ? `['"]` : `\\${part}`
  })
  return new RegExp(pattern.join('\\s*'), 'g')
}
