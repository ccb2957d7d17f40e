import { AsyncLocalStorage } from 'node:async_hooks'
import { StoreUnavailable, type AppError } from '../errors.js'
import { disableWhenIdle } from '../async-local-storage-node20.js'

/**
 * What happened during one request that must be its answer. better-auth swallows errors; this does
 * not.
 */
export interface FaultContext {
  /** Why nobody knows: a fault of the store, or a refusal of work that would have told. */
  fault: AppError | null
  /**
   * The store was given a value that it cannot take: the client sent it, whatever better-auth makes
   * of the error.
   */
  refusedValue: boolean
  onFault: (fault: AppError) => void
}

const scopes = disableWhenIdle(new AsyncLocalStorage<FaultContext>())

/**
 * Runs `work` so that the first fault of the store inside it is kept and told, whoever swallows the
 * error.
 */
export function watchFaults<T>(scope: FaultContext, work: () => T): T {
  return scopes.run(scope, work)
}

/**
 * Makes a fault the answer of the running request, whoever swallows the error; its further
 * statements fail at once.
 */
export function reportFault(fault: AppError): void {
  const scope = scopes.getStore()
  if (!scope || scope.fault) return
  scope.fault = fault
  scope.onFault(fault)
}

/**
 * Runs `work`, whose faults do not become the answer of the running request: the caller may try
 * again. What it gives up at last it passes to `callStore`.
 */
export function keepFaults<T>(work: () => Promise<T>): Promise<T> {
  // Awaited here: Prisma's promises begin their statement when somebody waits for it.
  return scopes.run({ fault: null, refusedValue: false, onFault: () => {} }, () =>
    watchStatements({ failure: null }, async () => await work())
  )
}

/**
 * Whether the database gave a statement up for taking too long, and did nothing of it (SQLSTATE
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
 * A transaction under way: the first statement that failed in it. PostgreSQL answers COMMIT with a
 * silent ROLLBACK after one.
 */
export interface StatementWatch {
  failure: unknown
}

const watches = disableWhenIdle(new AsyncLocalStorage<StatementWatch>())

/** Runs `work` so that a failed statement inside it is kept, whoever swallows the error. */
export function watchStatements<T>(watch: StatementWatch, work: () => T): T {
  return watches.run(watch, work)
}

// Prisma's codes for answers of a database that is well: bad values, broken constraints, missing
// rows. No statement of our own (P2010) has such an answer: one that fails has not done what it was
// for, and better-auth would swallow that.
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
// Those of the answers that are about a value: its type, length, range or form.
const valueAnswers = new Set(['P2000', 'P2005', 'P2006', 'P2007', 'P2019', 'P2020'])

/**
 * Runs one database call. Any error that is not plainly an answer of a healthy database becomes
 * `StoreUnavailable`: taking an unknown error for "nobody knows" costs a retry, taking it for an
 * answer could sign somebody out. After a first fault the rest of the request fails at once, so
 * that an outage is told in one time-out and not in ten.
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

/** Whether a database that is well refused a row because there is such a one already. */
export function isDuplicate(error: unknown): boolean {
  return hasCode(error, 'P2002')
}

/** Whether it did because what the row belongs to is gone. */
export function isOrphan(error: unknown): boolean {
  return hasCode(error, 'P2003')
}

function isAboutValue(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error.name === 'PrismaClientValidationError') return true
  return 'code' in error && typeof error.code === 'string' && valueAnswers.has(error.code)
}

// Prisma says this of a statement that ran and matched no row.
function isNotFound(error: unknown): boolean {
  return hasCode(error, 'P2025')
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
