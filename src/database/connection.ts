import { Client, DatabaseError, type ClientConfig } from 'pg'
import type { ServerAddress } from './database-url.js'
import type { Openings } from './openings.js'

/** The configuration of a pool's connection, beyond what pg knows. */
export interface ConnectionConfig extends ClientConfig {
  openings?: Openings
  /** The place to connect to. Without it, what `host`, `port` and `ssl` say. */
  place?: ServerAddress
  needsChannelBinding?: boolean
}

/** How a new connection's session is set up, and what its server is checked for. */
export interface SessionRules {
  statementTimeoutMs: number
  idleInTransactionTimeoutMs: number
  /** Whether a primary that takes no writes is refused like a standby. */
  needsWritable: boolean
  /** Set where a pooler is known to be in between. Otherwise it is detected. */
  pooled: boolean
  /** `off`: no statement is prepared under a name. `auto`: none behind a pooler. */
  preparedStatements: 'auto' | 'on' | 'off'
  /**
   * The schema of the tables. Null for the first schema of the search path; the one that was found
   * is set later.
   */
  schema: string | null
}

/**
 * The server answers, but must not be used: a standby, or one whose settings would falsify what is
 * read.
 */
export class UnfitServer extends Error {
  override readonly name = 'UnfitServer'
}

/**
 * Errors after which a connection is useless: the server is shutting down, or takes no writes any
 * more. The next caller gets a new connection, which may lead to another server.
 */
const ending = new Set(['25006', '57P01', '57P02', '57P03', '57P05', '08000', '08003', '08006'])

/** The methods of pg's client that its types do not name. */
const client = Client.prototype as unknown as {
  getStartupConf(this: Client): Record<string, string>
}

interface Checked {
  direct: boolean
  standby: boolean
  readOnly: boolean
  timeZone: string
  schema: string | null
}

/**
 * A connection that ends when a statement on it got no answer, because the server may still be
 * working on it. Prisma would return such a connection to the pool. The next request's statements
 * would run inside the abandoned transaction, be answered, and never be committed. It also ends
 * after an error of `ending`.
 */
export class Connection extends Client {
  readonly #openings: Openings | undefined
  #pooled = false
  #named = true
  #begin = ''

  constructor(given: ConnectionConfig) {
    const { openings, place, needsChannelBinding = false, ...rest } = given
    // pg's pool keeps the password, where a copy of its options loses it.
    const config = given.password === undefined ? rest : { ...rest, password: given.password }
    super(place ? { ...config, host: place.host, port: place.port, ssl: place.ssl } : config)
    this.#openings = openings
    if (needsChannelBinding) refuseUnbound(this)
  }

  /**
   * Whether a pooler gives this connection's server session to other clients between transactions.
   */
  get pooled(): boolean {
    return this.#pooled
  }

  /**
   * Poolers accept these two settings, and apply them to whatever server connection they use. They
   * refuse any other at the start.
   */
  getStartupConf(): Record<string, string> {
    return { ...client.getStartupConf.call(this), TimeZone: 'UTC' }
  }

  /** As the pool calls it, with a callback and never for a promise. */
  override connect(...args: never[]): never {
    const [opened] = args as unknown as [(error: Error | null) => void]
    const end = this.#openings?.begin()
    return super.connect((error: Error | null) => {
      end?.()
      opened(error)
    }) as never
  }

  /**
   * Checks the server and sets up the session by the rules, in one statement. Behind a pooler the
   * session is shared: other programs' statements would run under our settings. There each
   * transaction sets them for itself.
   *
   * @throws UnfitServer when it must not be used
   */
  async prepare(rules: SessionRules): Promise<void> {
    // A pooler reports a process id of its own.
    const { processID } = this as unknown as { processID: number | null }
    const direct = rules.pooled ? 'false' : `pg_backend_pid() = ${processID ?? 0}`
    const schema =
      rules.schema === null ? 'current_schema()::text' : this.escapeLiteral(rules.schema)
    const {
      rows: [found]
    } = await super.query<Checked>(`
      SELECT ${direct} AS "direct",
        CASE WHEN ${direct} THEN set_config('statement_timeout', '${rules.statementTimeoutMs}', false) END,
        CASE WHEN ${direct} THEN set_config('idle_in_transaction_session_timeout', '${rules.idleInTransactionTimeoutMs}', false) END,
        CASE WHEN ${direct} AND ${schema} IS NOT NULL THEN set_config('search_path', quote_ident(${schema}), false) END,
        pg_is_in_recovery() AS "standby", current_setting('transaction_read_only') = 'on' AS "readOnly",
        current_setting('TimeZone') AS "timeZone", current_schema()::text AS "schema"`)
    if (!found) throw new UnfitServer('the server said nothing of itself')
    this.#pooled = !found.direct
    this.#named =
      rules.preparedStatements === 'on' || (rules.preparedStatements === 'auto' && found.direct)
    this.#begin = found.direct
      ? ''
      : `BEGIN; SET LOCAL statement_timeout = ${rules.statementTimeoutMs}; SET LOCAL idle_in_transaction_session_timeout = ${rules.idleInTransactionTimeoutMs}`
    if (found.standby)
      throw new UnfitServer(
        `the server at ${this.host}:${this.port} is a standby, which may not know yet what has been revoked`
      )
    if (found.readOnly && rules.needsWritable)
      throw new UnfitServer(
        `the server at ${this.host}:${this.port} takes no writes (target_session_attrs=read-write)`
      )
    if (found.timeZone !== 'UTC')
      throw new UnfitServer(
        `the pooler before the server keeps TimeZone at ${found.timeZone}: it must pass on TimeZone=UTC, or the role must have it`
      )
    if (found.direct && found.schema === null) return // not there yet: `migrate` creates it
    rules.schema ??= found.schema
    if (rules.schema !== found.schema) {
      throw new UnfitServer(
        `behind a pooler the schema cannot be chosen for a connection: it is ${found.schema ?? 'none'}, and must be ${rules.schema} (ALTER ROLE … SET search_path = ${rules.schema})`
      )
    }
  }

  override query(...args: never[]): never {
    const result: unknown = super.query(
      ...((this.#named && this.#begin === '' ? args : this.#withoutSession(args)) as [never])
    )
    if (result instanceof Promise) {
      result.catch((error: unknown) => {
        if (!(error instanceof DatabaseError) || ending.has(error.code ?? ''))
          this.end().catch(() => {})
      })
    }
    return result as never
  }

  /**
   * The query in a form that is safe where the next statement may reach another session of the
   * server: without a statement name, and with a BEGIN that sets up its transaction.
   */
  #withoutSession([query, ...rest]: unknown[]): unknown[] {
    if (typeof query !== 'object' || query === null || !('text' in query)) return [query, ...rest]
    const text = query.text === 'BEGIN' && this.#begin !== '' ? this.#begin : query.text
    return [{ ...query, text, ...(this.#named ? {} : { name: undefined }) }, ...rest]
  }
}

/**
 * Breaks off a connection to a server whose password request does not prove whose certificate was
 * seen (channel binding).
 */
function refuseUnbound(connection: Connection): void {
  const { connection: wire } = connection as unknown as {
    connection: NodeJS.EventEmitter & { stream: { destroy(error: Error): void } }
  }
  const refuse = () =>
    wire.stream.destroy(
      new UnfitServer(
        'the server offers no channel binding, which channel_binding=require asks for'
      )
    )
  let bound = false
  for (const way of ['authenticationCleartextPassword', 'authenticationMD5Password'])
    wire.prependListener(way, refuse)
  wire.prependListener('authenticationSASL', ({ mechanisms }: { mechanisms: string[] }) => {
    bound = mechanisms.includes('SCRAM-SHA-256-PLUS')
    if (!bound) refuse()
  })
  wire.prependListener('authenticationOk', () => {
    if (!bound) refuse()
  })
}
