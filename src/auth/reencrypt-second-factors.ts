import { createHmac, timingSafeEqual } from 'node:crypto'
import { symmetricDecrypt, symmetricEncrypt } from 'better-auth/crypto'
import type { PrismaClient } from '../database/database.js'
import type { Keys, SecretKeys } from '../secrets/keys.js'

/** Rows that are encrypted anew between two looks at the store. */
const BATCH = 200

/**
 * better-auth numbers its secrets, and names the number in what it encrypts:
 * "$ba$<number>$<ciphertext>". The same on every node.
 */
export function secretVersion({ id }: SecretKeys): number {
  return Number.parseInt(id, 16)
}

/**
 * Signs anew what a previous secret has signed as better-auth does, cookies and bearer tokens:
 * "<value>.<base64 HMAC-SHA256>". better-auth knows the current secret alone.
 *
 * @returns null where no previous secret has signed it
 */
export function resign({ auth, all }: Keys, signed: string): string | null {
  const dot = signed.lastIndexOf('.')
  if (dot === -1) return null
  const value = signed.slice(0, dot)
  const signature = Buffer.from(signed.slice(dot + 1))
  const isBy = (secret: string) => {
    const expected = Buffer.from(signatureOf(value, secret))
    return signature.length === expected.length && timingSafeEqual(signature, expected)
  }
  return all.slice(1).some((previous) => isBy(previous.auth))
    ? `${value}.${signatureOf(value, auth)}`
    : null
}

/**
 * Encrypts second factors anew that a previous secret has encrypted, so that it can be forgotten
 * some day. Of nodes that differ about which secret is the current one, only those do it that agree
 * with the store; else they would undo each other's work.
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
      // a code was used meanwhile, or the factors were removed: the row is read anew
      if (count === 0) break
      after = id
    }
  }
}

/** What no known secret has encrypted stays as it is. */
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

function signatureOf(value: string, secret: string): string {
  return createHmac('sha256', secret).update(value).digest('base64')
}
