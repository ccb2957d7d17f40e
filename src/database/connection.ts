import { Client, DatabaseError, type ClientConfig } from 'pg'
import type { Place } from './database-url.js'
import type { Openings } from './openings.js'

/** What each connection of a pool is given besides what pg knows. */
export interface ConnectionConfig extends ClientConfig {
  openings?: Openings
  /** Where this connection is to go; what `host`, `port` and `ssl` say without it. */
  place?: Place
  needsChannelBinding?: boolean
}

/** What a connection is set to once it is open, and what is asked of the server behind it. */
export interface SessionRules {
  statementTimeoutMs: number
  idleInTransactionTimeoutMs: number
  /** Whether a primary that takes no writes is refused as a standby is. */
  needsWritable: boolean
  /** Set where a pooler is known to stand between; found out otherwise. */
  pooled: boolean
  /** `off`: no statement is prepared under a name. `auto`: none behind a pooler. */
  preparedStatements: 'auto' | 'on' | 'off'
  /**
   * Where the tables are; null for the first schema of the search path, and the one that was found,
   * once it was.
   */
  schema: string | null
}

/**
 * The server answers, and may not be worked on: a standby, or one whose settings would falsify what
 * is read.
 */
export class UnfitServer extends Error {
  override readonly name = 'UnfitServer'
}

/**
 * Answers after which a connection is of no use: the server is going down, or has become one that
 * takes no writes. Whoever asks next gets a new connection, which may lead to another server.
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
 * A connection that ends when a statement on it got no answer, for the server may still be at it:
 * Prisma would give it back to the pool, where the next request's statements would run inside the
 * transaction that was given up, be answered, and never be committed. It ends as well when the
 * server has said that it is no use any more.
 */
export class Connection extends Client {
  readonly #openings: Openings | undefined
  #pooled = false
  #named = true
  #begin = ''

  constructor(given: ConnectionConfig) {
    const { openings, place, needsChannelBinding = false, ...rest } = given
    // pg's pool keeps the password where a copy of its options loses it.
    const config = given.password === undefined ? rest : { ...rest, password: given.password }
    super(place ? { ...config, host: place.host, port: place.port, ssl: place.ssl } : config)
    this.#openings = openings
    if (needsChannelBinding) refuseUnbound(this)
  }

  /**
   * Whether something stands between this process and the server that hands its connections to
   * others between transactions.
   */
  get pooled(): boolean {
    return this.#pooled
  }

  /**
   * Poolers take these two, and give them to whatever server connection they use. Any other setting
   * they refuse at the start.
   */
  getStartupConf(): Record<string, string> {
    return { ...client.getStartupConf.call(this), TimeZone: 'UTC' }
  }

  /** As the pool calls it, which never asks for a promise. */
  override connect(...args: never[]): never {
    const [opened] = args as unknown as [(error: Error | null) => void]
    const end = this.#openings?.begin()
    return super.connect((error: Error | null) => {
      end?.()
      opened(error)
    }) as never
  }

  /**
   * Looks at the server, and makes the session what the rules say, in one statement. Where a pooler
   * stands between, the session is not ours to change: another program's statements would run under
   * our settings. There each transaction sets them for itself.
   *
   * @throws UnfitServer when it must not be worked on
   */
  async prepare(rules: SessionRules): Promise<void> {
    // A pooler shows a process id of its own making.
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
    if (found.direct && found.schema === null) return // not there yet: `migrate` makes it
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

  /** What is sent where the next statement may reach another session of the server. */
  #withoutSession([query, ...rest]: unknown[]): unknown[] {
    if (typeof query !== 'object' || query === null || !('text' in query)) return [query, ...rest]
    const text = query.text === 'BEGIN' && this.#begin !== '' ? this.#begin : query.text
    return [{ ...query, text, ...(this.#named ? {} : { name: undefined }) }, ...rest]
  }
}

/**
 * Breaks a connection to a server that asks for the password in a way that does not prove whose
 * certificate was seen.
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
