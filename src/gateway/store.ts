import type { Queryable } from '../database/database.js'
import type { Gateway } from './gateway.js'

/** What an authentication needs of a gateway. */
export interface GatewayKeys {
  id: string
  secretHashes: string[]
  disabledAt: Date | null
}

/** @returns whether it was created; false when the id is taken */
export async function insertGateway(
  db: Queryable,
  { id, name, hash }: { id: string; name: string; hash: string }
): Promise<boolean> {
  return (
    (await db.$executeRaw`
    INSERT INTO "gateway_client" ("id", "name", "secretHashes") VALUES (${id}, ${name}, ARRAY[${hash}]::text[]) ON CONFLICT DO NOTHING`) ===
    1
  )
}

/**
 * Inserts rows for gateways of the configuration, so that lists show them, their use is recorded
 * and they can be disabled.
 */
export async function registerConfigured(db: Queryable, ids: readonly string[]): Promise<void> {
  await db.$executeRaw`
    INSERT INTO "gateway_client" ("id", "name", "secretHashes")
    SELECT "id", "id", '{}'::text[] FROM unnest(${ids}::text[]) AS configured ("id") ON CONFLICT DO NOTHING`
}

/** All gateways with the hashes of their secrets. There are few, so one read answers for all. */
export async function findGatewayKeys(db: Queryable): Promise<GatewayKeys[]> {
  return db.$queryRaw<
    GatewayKeys[]
  >`SELECT "id", "secretHashes", "disabledAt" FROM "gateway_client"`
}

export async function listGateways(db: Queryable): Promise<Gateway[]> {
  return db.$queryRaw<Gateway[]>`
    SELECT "id", "name", "createdAt", "lastUsedAt", "disabledAt", cardinality("secretHashes") AS "secrets" FROM "gateway_client" ORDER BY "id"`
}

/**
 * Adds a secret in front. The previous one stays live, older ones are removed.
 *
 * @returns how many are live; null where there is no such enabled gateway
 */
export async function addSecret(db: Queryable, id: string, hash: string): Promise<number | null> {
  const [row] = await db.$queryRaw<{ secrets: number }[]>`
    UPDATE "gateway_client" SET "secretHashes" = ARRAY[${hash}]::text[] || "secretHashes"[1:1] WHERE "id" = ${id} AND "disabledAt" IS NULL
    RETURNING cardinality("secretHashes") AS "secrets"`
  return row?.secrets ?? null
}

/**
 * Removes every secret but the newest.
 *
 * @returns how many are live; null where there is no such gateway
 */
export async function keepNewestSecret(db: Queryable, id: string): Promise<number | null> {
  const [row] = await db.$queryRaw<{ secrets: number }[]>`
    UPDATE "gateway_client" SET "secretHashes" = "secretHashes"[1:1] WHERE "id" = ${id} RETURNING cardinality("secretHashes") AS "secrets"`
  return row?.secrets ?? null
}

/**
 * Disables a gateway for good. Safe to repeat.
 *
 * @returns when it was disabled; null where there is no such gateway
 */
export async function disableGateway(db: Queryable, id: string): Promise<Date | null> {
  const [row] = await db.$queryRaw<{ disabledAt: Date }[]>`
    UPDATE "gateway_client" SET "disabledAt" = COALESCE("disabledAt", clock_timestamp()) WHERE "id" = ${id} RETURNING "disabledAt"`
  return row?.disabledAt ?? null
}

/** Notes when gateways were last used, all in one statement. */
export async function touchGateways(
  db: Queryable,
  agesMs: ReadonlyMap<string, number>
): Promise<void> {
  await db.$executeRaw`
    UPDATE "gateway_client" g SET "lastUsedAt" = GREATEST(g."lastUsedAt", clock_timestamp() - used."ageMs" * interval '1 millisecond')
    FROM unnest(${[...agesMs.keys()]}::text[], ${[...agesMs.values()]}::int[]) AS used ("id", "ageMs") WHERE g."id" = used."id"`
}
