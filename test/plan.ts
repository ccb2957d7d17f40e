/** When a test file runs, and on which stores. */
export interface Plan {
  /**
   * - `quick`: also in `npm run test:quick`. Embedded store, no faults, seconds.
   * - `standard`: in `npm test`.
   * - `long`: only in `npm run test:long`, with faults that take their time.
   */
  suite: 'quick' | 'standard' | 'long'
  /**
   * - `none`: it asks no store, and runs once.
   * - `either`: what it shows is above the stores. `npm test` runs it on PostgreSQL and Redis where
   *   these are here, `npm run test:long` on the embedded store as well.
   * - `both`: `npm test` runs it on each.
   */
  stores: 'none' | 'either' | 'both'
  /** Whether it also runs behind PgBouncer, in another schema and time zone. */
  pooled?: true
}

const plans: Record<string, Partial<Plan>> = {}

/** The plan of a test file, by its path below `test/` without `.test.js`. */
export function planFor(file: string): Plan {
  return { suite: 'standard', stores: 'both', ...plans[file] }
}
