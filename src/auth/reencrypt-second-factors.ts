import { createHmac, timingSafeEqual } from 'node:crypto'
import { symmetricDecrypt, symmetricEncrypt } from 'better-auth/crypto'
import type { PrismaClient } from '../database/database.js'
import type { Keys, SecretKeys } from '../secrets/keys.js'

/** Rows that are re-encrypted between two reads of the store. */
const BATCH = 200

/**
 * The number of a secret, which better-auth puts into what it encrypts:
 * "$ba$<number>$<ciphertext>". It is the same on every node.
 */
export function secretVersion({ id }: SecretKeys): number {
  return Number.parseInt(id, 16)
}

/**
 * Re-signs a cookie or bearer token that a previous secret has signed as better-auth does:
 * "<value>.<base64 HMAC-SHA256>". better-auth knows only the current secret.
 *
 * @returns null where no previous secret has signed it
 */
export function resign({ auth, all }: Keys, signed: string): string | null {
  const dot = signed.lastIndexOf('.')
  if (dot === -1) return null
  const value = signed.slice(0, dot)
  const signature = Buffer.from(signed.slice(dot + 1))
  const isBy = (secret: string) => {
    const expected = Buffer.from(sign(value, secret))
    return signature.length === expected.length && timingSafeEqual(signature, expected)
  }
  return all.slice(1).some((previous) => isBy(previous.auth))
    ? `${value}.${sign(value, auth)}`
    : null
}

/**
 * Re-encrypts second factors that a previous secret has encrypted, so that it can be removed some
 * day. Where nodes differ about the current secret, only those that agree with the store do it.
 * Otherwise they would undo each other's work.
 */
export async function reencryptSecondFactors(prisma: PrismaClient, keys: Keys): Promise<void> {
  const check = await prisma.keyCheck.findUnique({ where: { purpose: 'auth_secret' } })
  if (check?.value !== keys.check) return
  const prefix = `$ba$${secretVersion(keys)}$`
  for (let after = ''; ;) {
    const rows = await prisma.$queryRaw<{ id: string; secret: string; backupCodes: string }[]>`
      SELECT "id", "secret", "backupCodes" FROM "two_factor"
      WHERE "id" > ${after} AND NOT (starts_with("secret", ${prefix}) AND starts_with("backupCodes", ${prefix})) ORDER BY "id" LIMIT ${BATCH}`
    if (rows.length === 0) return
    for (const { id, ...before } of rows) {
      const [secret, backupCodes] = [
        await reencrypt(keys, before.secret),
        await reencrypt(keys, before.backupCodes)
      ]
      const { count } = await prisma.twoFactor.updateMany({
        where: { id, ...before },
        data: { secret, backupCodes }
      })
      // A code was used at the same time, or the factors were removed: read the row again.
      if (count === 0) break
      after = id
    }
  }
}

/** Data that no known secret has encrypted stays unchanged. */
async function reencrypt(keys: Keys, data: string): Promise<string> {
  const ciphertext = /^\$ba\$\d+\$(.*)$/.exec(data)?.[1] ?? data
  for (const { auth } of keys.all) {
    const text = await symmetricDecrypt({ key: auth, data: ciphertext }).catch(() => null)
    const version = secretVersion(keys)
    if (text !== null)
      return symmetricEncrypt({
        key: { keys: new Map([[version, keys.auth]]), currentVersion: version },
        data: text
      })
  }
  return data
}

function sign(value: string, secret: string): string {
  return createHmac('sha256', secret).update(value).digest('base64')
}
