/** A call as the checker saw it, in milliseconds of its own monotonic clock. */
export interface Call {
  what: string
  node: string
  start: number
  end: number
  status: number
}

/**
 * A call that told something about a session: whether it is active. `unknown` is a 503 or no
 * answer, which are always allowed.
 */
export interface Check extends Call {
  says: 'active' | 'inactive' | 'unknown'
  /** Numbers that the answer showed of the user, by field. Each only ever grows. */
  shows?: Record<string, number>
}

export interface Violation {
  kind:
    | 'active after an acknowledged revocation'
    | 'inactive though nobody began to revoke it'
    | 'an older value after an acknowledged change'
    | 'a value that nobody wrote'
  subject: string
  /** The promise before the call, and from when on it held. Null where there was none. */
  promise: (Call & { finalAt: number }) | null
  check: Check
}

interface Register {
  /** Whether a revocation of it has begun. */
  begun: boolean
  promise: (Call & { finalAt: number }) | null
}

interface Value {
  written: number
  promises: (Call & { finalAt: number; value: number })[]
}

/**
 * The history of a run. Each session is a register that goes from active to revoked once. A check
 * that starts after a revocation was answered must not see "active". No check may see "inactive"
 * for a session that no call has begun to revoke. Each field of a user is a number that grows: a
 * check that starts after a change was answered must not see a smaller one.
 *
 * A start is noted before a call is sent and an end after its answer was read, so "starts after the
 * end" is never claimed falsely.
 */
export class History {
  readonly violations: Violation[] = []
  readonly counts = {
    calls: 0,
    checks: 0,
    active: 0,
    inactive: 0,
    unknown: 0,
    checksAfterRevocation: 0,
    changes: 0,
    revocations: 0,
    sessionsRevoked: 0,
    pending: 0
  }
  readonly #registers = new Map<string, Register>()
  readonly #values = new Map<string, Value>()

  /** Notes that a revocation of these sessions begins: "inactive" is allowed from now on. */
  beginRevocation(sessionIds: Iterable<string>): void {
    for (const id of sessionIds) this.#register(id).begun = true
  }

  /**
   * Notes that a revocation of these sessions was acknowledged.
   *
   * @param finalAt when it holds: the end of the call, or its `effective_by`
   */
  acknowledge(sessionIds: Iterable<string>, call: Call, finalAt = call.end): void {
    this.counts.revocations++
    if (finalAt > call.end) this.counts.pending++
    for (const id of sessionIds) {
      const register = this.#register(id)
      if (!register.promise) this.counts.sessionsRevoked++
      if (!register.promise || finalAt < register.promise.finalAt)
        register.promise = { ...call, finalAt }
    }
  }

  /** Whether a revocation of this session has been promised to hold. */
  isFinal(sessionId: string, now: number): boolean {
    const promise = this.#registers.get(sessionId)?.promise
    return promise ? promise.finalAt < now : false
  }

  /** The next number for a field of a user. */
  beginChange(userId: string, field: string): number {
    const value = this.#value(`${userId} ${field}`)
    return ++value.written
  }

  acknowledgeChange(
    userId: string,
    field: string,
    value: number,
    call: Call,
    finalAt = call.end
  ): void {
    this.counts.changes++
    this.#value(`${userId} ${field}`).promises.push({ ...call, finalAt, value })
  }

  /**
   * Notes what a call showed of a session and its user, and compares it with what was promised
   * before the call began.
   */
  check(sessionId: string, userId: string, check: Check): void {
    this.counts.checks++
    this.counts[check.says]++
    const { begun, promise } = this.#register(sessionId)
    if (promise && promise.finalAt < check.start) {
      this.counts.checksAfterRevocation++
      if (check.says === 'active')
        this.violations.push({
          kind: 'active after an acknowledged revocation',
          subject: sessionId,
          promise,
          check
        })
    }
    if (check.says === 'inactive' && !begun)
      this.violations.push({
        kind: 'inactive though nobody began to revoke it',
        subject: sessionId,
        promise: null,
        check
      })
    for (const [field, shown] of Object.entries(check.shows ?? {}))
      this.#compare(`${userId} ${field}`, shown, check)
  }

  #compare(subject: string, shown: number, check: Check): void {
    const { written, promises } = this.#value(subject)
    const broken = promises.find(
      (promise) => promise.finalAt < check.start && promise.value > shown
    )
    if (broken)
      this.violations.push({
        kind: 'an older value after an acknowledged change',
        subject: `${subject} = ${shown}, promised ${broken.value}`,
        promise: broken,
        check
      })
    if (shown > written)
      this.violations.push({
        kind: 'a value that nobody wrote',
        subject: `${subject} = ${shown}`,
        promise: null,
        check
      })
  }

  #register(sessionId: string): Register {
    let register = this.#registers.get(sessionId)
    if (!register) {
      register = { begun: false, promise: null }
      this.#registers.set(sessionId, register)
    }
    return register
  }

  #value(key: string): Value {
    let value = this.#values.get(key)
    if (!value) {
      value = { written: 0, promises: [] }
      this.#values.set(key, value)
    }
    return value
  }
}

/** A violation with its two events, for people. */
export function describeViolation({ kind, subject, promise, check }: Violation): string {
  const promised = promise
    ? `\n    promised  ${describeCall(promise)}${promise.finalAt > promise.end ? `, to hold from ${promise.finalAt.toFixed(1)} ms` : ''}`
    : ''
  return `${kind}: ${subject}${promised}\n    then      ${describeCall(check)}, says ${check.says}`
}

function describeCall({ what, node, start, end, status }: Call): string {
  return `${start.toFixed(1)}–${end.toFixed(1)} ms ${what} at ${node}: ${status || 'no answer'}`
}
