import { hash } from 'node:crypto'
import { types, type Pool } from 'pg'
import { Prisma, type PrismaClient } from './database.js'
import { callStore } from './fault.js'

/** Statements that a connection keeps prepared. Others are planned at each call. */
const PREPARED = 100
const INT8 = 20
const TIMESTAMPTZ = 1184

/**
 * pg's parsers, except for bigint, which pg returns as text, and for times, which V8 parses in a
 * third of the time.
 */
const parsers = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === INT8
      ? BigInt
      : oid === TIMESTAMPTZ
        ? readTime
        : types.getTypeParser(oid, format)) as typeof types.getTypeParser
}
const readAnyTime: (text: string) => Date = types.getTypeParser(TIMESTAMPTZ)

/**
 * Names a statement by its text. Behind a pooler that does not know prepared statements a
 * connection may have those of another process, and a name by order of use would run that process's
 * statement.
 */
export function statementName(text: string): string {
  return `holdfast_${hash('sha256', text, 'hex').slice(0, 32)}`
}

/**
 * @param text of this era and in the ISO style (`2026-01-31 12:00:00.123+00`); pg reads any other
 */
function readTime(text: string): Date {
  const time = new Date(text)
  const isPlain = text[4] === '-' && text[0] !== '0' && !Number.isNaN(time.getTime())
  return isPlain ? time : readAnyTime(text)
}

/**
 * A client whose own SQL, outside transactions, goes straight to the pool, prepared once per
 * connection. Prisma compiles, validates and converts each call again, which costs several times
 * what PostgreSQL needs for a row by its key. Everything else, above all transactions, stays
 * Prisma's.
 */
export function withDirectQueries(prisma: PrismaClient, pool: Pool): PrismaClient {
  const names = new Map<string, string>()
  const nameFrom = (text: string): string | undefined => {
    if (!names.has(text) && names.size < PREPARED) names.set(text, statementName(text))
    return names.get(text)
  }
  const queryRaw = (
    query: TemplateStringsArray | Prisma.Sql,
    ...values: unknown[]
  ): Promise<unknown[]> => {
    const { text, values: bound } =
      query instanceof Prisma.Sql ? query : Prisma.sql(query, ...values)
    return callStore(
      async () =>
        (
          await pool.query<Record<string, unknown>>({
            name: nameFrom(text),
            text,
            values: bound,
            types: parsers
          })
        ).rows
    )
  }
  return new Proxy(prisma, {
    get: (target, key) => (key === '$queryRaw' ? queryRaw : (Reflect.get(target, key) as unknown))
  })
}
