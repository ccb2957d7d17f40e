import { AsyncLocalStorage } from 'node:async_hooks'
import { StoreUnavailable, type AppError } from '../errors.js'
import { disableWhenIdle } from '../async-local-storage-node20.js'

/**
 * Faults of one request that must become its answer. better-auth swallows errors; this does not.
 */
export interface FaultContext {
  /** The reason why the answer is not known: a fault of the store, or refused work. */
  fault: AppError | null
  /**
   * The store could not take a value. The client sent it, whatever better-auth makes of the error.
   */
  refusedValue: boolean
  onFault: (fault: AppError) => void
}

const scopes = disableWhenIdle(new AsyncLocalStorage<FaultContext>())

/**
 * Runs `work`. The first fault of the store inside it is kept and reported, even if the error is
 * swallowed.
 */
export function watchFaults<T>(scope: FaultContext, work: () => T): T {
  return scopes.run(scope, work)
}

/**
 * Makes a fault the answer of the running request, even if the error is swallowed. Further
 * statements of the request fail at once.
 */
export function reportFault(fault: AppError): void {
  const scope = scopes.getStore()
  if (!scope || scope.fault) return
  scope.fault = fault
  scope.onFault(fault)
}

/**
 * Runs `work` without making its faults the answer of the running request, because the caller may
 * try again. The caller passes the final failure to `callStore`.
 */
export function keepFaults<T>(work: () => Promise<T>): Promise<T> {
  // Awaited here: Prisma's promises start their statement only when they are awaited.
  return scopes.run({ fault: null, refusedValue: false, onFault: () => {} }, () =>
    watchStatements({ failure: null }, async () => await work())
  )
}

/**
 * Whether the database cancelled a statement that took too long, and rolled it back (SQLSTATE
 * 57014).
 */
export function isGivenUp(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, meta } = cause as Error & {
      code?: unknown
      meta?: { driverAdapterError?: { cause?: { originalCode?: unknown } } }
    }
    if (code === '57014' || meta?.driverAdapterError?.cause?.originalCode === '57014') return true
  }
  return false
}

/**
 * The first failed statement of a transaction. After one, PostgreSQL answers COMMIT with a silent
 * ROLLBACK.
 */
export interface StatementWatch {
  failure: unknown
}

const watches = disableWhenIdle(new AsyncLocalStorage<StatementWatch>())

/** Runs `work`, and keeps the first failed statement inside it, even if the error is swallowed. */
export function watchStatements<T>(watch: StatementWatch, work: () => T): T {
  return watches.run(watch, work)
}

// Prisma's codes for answers of a healthy database: bad values, broken constraints, missing rows.
// P2010, a statement of our own that failed, is not among them: it has not done its work, and
// better-auth would swallow that.
const answers = new Set([
  'P2000',
  'P2002',
  'P2003',
  'P2004',
  'P2005',
  'P2006',
  'P2007',
  'P2011',
  'P2012',
  'P2013',
  'P2014',
  'P2019',
  'P2020',
  'P2025'
])
// The answers that are about a value: its type, length, range or form.
const valueAnswers = new Set(['P2000', 'P2005', 'P2006', 'P2007', 'P2019', 'P2020'])

/**
 * Runs one database call. Any error that is not plainly an answer of a healthy database becomes
 * `StoreUnavailable`: treating an unknown error as an outage costs a retry, but treating it as an
 * answer could sign a user out. After a first fault the rest of the request fails at once, so that
 * an outage is reported after one time-out and not after ten.
 */
export async function callStore<T>(call: () => Promise<T>): Promise<T> {
  const scope = scopes.getStore()
  if (scope?.fault) throw scope.fault
  try {
    return await call()
  } catch (error) {
    const watch = watches.getStore()
    if (watch && !isNotFound(error)) watch.failure ??= error
    if (scope && isAboutValue(error)) scope.refusedValue = true
    if (isAnswer(error)) throw error
    const fault = error instanceof StoreUnavailable ? error : new StoreUnavailable(error)
    reportFault(fault)
    throw fault
  }
}

function isAnswer(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error.name === 'PrismaClientValidationError') return true
  const code = 'code' in error ? error.code : undefined
  return typeof code === 'string' && answers.has(code)
}

/** Whether a healthy database refused a row because of a unique constraint. */
export function isDuplicate(error: unknown): boolean {
  return hasCode(error, 'P2002')
}

/** Whether it refused a row because the row that it refers to is gone. */
export function isOrphan(error: unknown): boolean {
  return hasCode(error, 'P2003')
}

function isAboutValue(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error.name === 'PrismaClientValidationError') return true
  return 'code' in error && typeof error.code === 'string' && valueAnswers.has(error.code)
}

// Prisma's code for a statement that ran and matched no row.
function isNotFound(error: unknown): boolean {
  return hasCode(error, 'P2025')
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
