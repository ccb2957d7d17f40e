import { generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import type { Queryable } from '../database/database.js'

/** The public part of a signing key, as the JWKS shows it (RFC 7517). */
export interface PublicJwk {
  kid: string
  alg: string
  use: 'sig'
  kty: string
  crv: string
  x: string
  y: string
}

export type KeyState = 'current' | 'next' | 'retired'

/** A signing key without its private part. */
export interface KeyDescription {
  id: string
  algorithm: string
  state: KeyState
  createdAt: Date
  activatedAt: Date | null
  retiredAt: Date | null
  /** When the last token that a retired key can have signed expires. */
  expiresAt: Date | null
}

/** A row of `signing_key`. The private part is sealed. */
export interface SigningKeyRow extends KeyDescription {
  publicKey: PublicJwk
  privateKey: string
}

/** Generates a key pair: the public part as published, the private part as PEM. */
export async function generateSigningKey(
  kid: string,
  algorithm: string
): Promise<{ jwk: PublicJwk; privateKey: string }> {
  const pair = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  const { kty = '', crv = '', x = '', y = '' } = pair.publicKey.export({ format: 'jwk' })
  return {
    jwk: { kid, alg: algorithm, use: 'sig', kty, crv, x, y },
    privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  }
}

/** A key to be inserted. */
export interface NewSigningKey {
  jwk: PublicJwk
  /** Sealed. */
  privateKey: string
}

/**
 * The keys whose tokens may still be valid: the current one first, then the next, then the retired
 * ones.
 */
export async function findSigningKeys(db: Queryable): Promise<SigningKeyRow[]> {
  return db.$queryRaw<SigningKeyRow[]>`
    SELECT *, CASE WHEN "retiredAt" IS NOT NULL THEN 'retired' WHEN "activatedAt" IS NULL THEN 'next' ELSE 'current' END AS "state"
    FROM "signing_key" WHERE "expiresAt" IS NULL OR "expiresAt" > clock_timestamp()
    ORDER BY "retiredAt" IS NOT NULL, "activatedAt" IS NULL, "createdAt" DESC`
}

/**
 * Makes the current key and the next one where they are missing. When several nodes call it at
 * once, a unique index leaves one of each, and the later calls insert nothing.
 */
export async function insertMissingKeys(
  db: Queryable,
  current: NewSigningKey,
  next: NewSigningKey
): Promise<void> {
  await db.$executeRaw`
    INSERT INTO "signing_key" ("id", "algorithm", "publicKey", "privateKey", "createdAt", "activatedAt")
    VALUES (${current.jwk.kid}, ${current.jwk.alg}, ${JSON.stringify(current.jwk)}::jsonb, ${current.privateKey}, clock_timestamp(), clock_timestamp()),
      (${next.jwk.kid}, ${next.jwk.alg}, ${JSON.stringify(next.jwk)}::jsonb, ${next.privateKey}, clock_timestamp(), NULL)
    ON CONFLICT DO NOTHING`
}

/** Re-seals a private part, unless another node has already done so. */
export async function replacePrivateKey(
  db: Queryable,
  kid: string,
  before: string,
  after: string
): Promise<void> {
  await db.$executeRaw`UPDATE "signing_key" SET "privateKey" = ${after} WHERE "id" = ${kid} AND "privateKey" = ${before}`
}

/**
 * Takes the rotation lock and holds it until the transaction ends, so that only one node rotates.
 *
 * @returns how old the next key is, by the database's clock; null when there is none
 */
export async function lockForRotation(db: Queryable): Promise<number | null> {
  await db.$executeRaw`LOCK TABLE "signing_key" IN SHARE ROW EXCLUSIVE MODE`
  const [next] = await db.$queryRaw<{ ageSeconds: number }[]>`
    SELECT extract(epoch FROM clock_timestamp() - "createdAt")::float8 AS "ageSeconds" FROM "signing_key" WHERE "activatedAt" IS NULL AND "retiredAt" IS NULL`
  return next?.ageSeconds ?? null
}

/**
 * Retires the current key, makes the next one the current one, and inserts a new next one. Call it
 * under `lockForRotation`. The unique index needs this order. A retired key never signs again, so
 * its private part is deleted.
 */
export async function promoteNextKey(
  db: Queryable,
  retiredForSeconds: number,
  next: NewSigningKey
): Promise<void> {
  await db.$executeRaw`
    UPDATE "signing_key" SET "privateKey" = '', "retiredAt" = clock_timestamp(), "expiresAt" = clock_timestamp() + ${retiredForSeconds}::int * interval '1 second'
    WHERE "activatedAt" IS NOT NULL AND "retiredAt" IS NULL`
  await db.$executeRaw`UPDATE "signing_key" SET "activatedAt" = clock_timestamp() WHERE "activatedAt" IS NULL AND "retiredAt" IS NULL`
  await db.$executeRaw`
    INSERT INTO "signing_key" ("id", "algorithm", "publicKey", "privateKey", "createdAt")
    VALUES (${next.jwk.kid}, ${next.jwk.alg}, ${JSON.stringify(next.jwk)}::jsonb, ${next.privateKey}, clock_timestamp())`
}
