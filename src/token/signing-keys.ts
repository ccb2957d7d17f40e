import { createHash, createHmac, createPublicKey, randomBytes, timingSafeEqual } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { originOutsideRequests } from '../account/origin.js'
import { writeAccountEvents } from '../account/store.js'
import type { Keys } from '../secrets/keys.js'
import { isSealedByPrevious, seal, unseal } from '../secrets/seal.js'
import { ConfigError, StoreUnavailable } from '../errors.js'
import { LONGEST_ACCESS_TOKEN_SECONDS } from '../limits.js'
import type { PrismaClient } from '../database/database.js'
import { withTransaction } from '../database/transaction.js'
import { ALGORITHM, createCodec, type Codec, type TokenParties } from './codec.js'
import {
  findSigningKeys,
  generateSigningKey,
  insertMissingKeys,
  lockForRotation,
  promoteNextKey,
  replacePrivateKey,
  type KeyDescription,
  type KeyState,
  type NewSigningKey,
  type PublicJwk,
  type SigningKeyRow
} from './signing-key-store.js'

/** How long clients may keep a copy of the JWKS, in seconds. */
export const JWKS_MAX_AGE_SECONDS = 300

/** How often a serving node reads the keys, in milliseconds. */
export const KEYS_POLL_MS = 5_000

/**
 * A next key must be published for this long before it signs, because a gateway may still have a
 * JWKS without it: the life of JWKS copies, and two polls of the nodes.
 */
const PUBLISHED_SECONDS = JWKS_MAX_AGE_SECONDS + (2 * KEYS_POLL_MS) / 1_000

/** A node that cannot read the keys goes on signing for this long with those it has. */
const SIGNS_UNREAD_MS = 600_000

/**
 * How long a retired key stays published: another node may sign with it until it has read the
 * rotation, tokens live as long as the settings allow, and clocks differ.
 */
const RETIRED_SECONDS = SIGNS_UNREAD_MS / 1_000 + LONGEST_ACCESS_TOKEN_SECONDS + 60

/**
 * Unknown key ids cause at most one read of the store in this time, however many tokens carry one.
 */
const UNKNOWN_READ_MS = 1_000

const KID_RANDOM_BYTES = 12
const KID_MAC_BYTES = 6

/** A key in memory. */
export interface HeldKey {
  kid: string
  state: KeyState
  codec: Codec
}

/** The published keys (RFC 7517), and the ETag of this version. */
export interface PublishedKeys {
  keys: PublicJwk[]
  etag: string
  /** For how long clients may cache it. 0 when this node could not read the keys lately. */
  maxAgeSeconds: number
}

export interface SigningKeysOptions {
  prisma: PrismaClient
  keys: Keys
  parties: TokenParties
  /** Monotonic milliseconds. */
  now: () => number
  /** Called when keys have gone: tokens that they verified must be verified again. */
  onForgotten?: () => void
}

/** The signing keys, as this node last read them. */
export class SigningKeys {
  readonly #options: SigningKeysOptions
  readonly #codecs = new Map<string, Codec>()
  #ring = new Map<string, HeldKey>()
  #published: PublicJwk[] = []
  #etag = ''
  /** When the newest applied read began. */
  #readAt = -Infinity
  #unknownReadAt = -Infinity
  #nextRead: Promise<void> | null = null

  constructor(options: SigningKeysOptions) {
    this.#options = options
  }

  /**
   * Makes the keys where there are none, reads them, and re-seals what a previous secret has
   * sealed.
   *
   * @throws ConfigError when a key was sealed under a secret that is not configured
   */
  async open(): Promise<void> {
    const rows = await this.read()
    for (const { id, state, privateKey } of rows) {
      const text =
        isSealedByPrevious(this.#options.keys, privateKey) && state !== 'retired'
          ? unseal(this.#options.keys, privateKey, id)
          : null
      if (text !== null)
        await replacePrivateKey(
          this.#options.prisma,
          id,
          privateKey,
          seal(this.#options.keys, text, id)
        )
    }
  }

  /**
   * Reads the keys. If that fails, the keys of the last read stay in use.
   *
   * @throws StoreUnavailable when the store does not answer
   */
  async read(): Promise<SigningKeyRow[]> {
    const { prisma, now } = this.#options
    const begun = now()
    let rows = await findSigningKeys(prisma)
    if (
      !rows.some(({ state }) => state === 'current') ||
      !rows.some(({ state }) => state === 'next')
    ) {
      await insertMissingKeys(prisma, await this.#generate(), await this.#generate())
      rows = await findSigningKeys(prisma)
    }
    for (const row of rows) {
      if (!this.#codecs.has(row.id)) this.#codecs.set(row.id, this.#createCodec(row))
    }
    // A read that began later has already been applied.
    if (begun >= this.#readAt) this.#apply(rows, begun)
    return rows
  }

  holds(kid: string): boolean {
    return this.#ring.has(kid)
  }

  /**
   * Whether this server can have made the key id. The id carries a MAC, so that an attacker cannot
   * cause reads of the store with invented ids.
   */
  isOurs(kid: string): boolean {
    const bytes = Buffer.from(kid, 'base64url')
    // Compared with its own encoding: the decoder ignores what is not base64, so many texts would
    // decode to one id.
    if (bytes.length !== KID_RANDOM_BYTES + KID_MAC_BYTES || bytes.toString('base64url') !== kid)
      return false
    const random = bytes.subarray(0, KID_RANDOM_BYTES)
    return this.#options.keys.all.some(({ keyId }) =>
      timingSafeEqual(bytes.subarray(KID_RANDOM_BYTES), kidMac(keyId, random))
    )
  }

  /**
   * The key with this id. An unknown one may just have been made by another node, so the answer
   * waits for a read of the store that begins now or within a second. An id that this server cannot
   * have made costs no read.
   *
   * @throws StoreUnavailable when the store does not answer
   */
  async find(kid: string): Promise<HeldKey | null> {
    const held = this.#ring.get(kid)
    if (held) return held
    if (!this.isOurs(kid)) return null
    await this.#readSoon()
    return this.#ring.get(kid) ?? null
  }

  /**
   * The key that signs.
   *
   * @throws StoreUnavailable when the keys have not been read for so long that it may have been
   *   retired
   */
  async signer(): Promise<HeldKey> {
    if (this.#options.now() - this.#readAt > SIGNS_UNREAD_MS) await this.#readSoon()
    for (const key of this.#ring.values()) {
      if (key.state === 'current') return key
    }
    throw new StoreUnavailable(new Error('the signing keys have not been read yet'))
  }

  published(): PublishedKeys {
    const isFresh = this.#options.now() - this.#readAt <= 4 * KEYS_POLL_MS
    return {
      keys: this.#published,
      etag: this.#etag,
      maxAgeSeconds: isFresh ? JWKS_MAX_AGE_SECONDS : 0
    }
  }

  /**
   * Promotes the next key to the current one, and retires the current one.
   *
   * @param force also when a gateway may not know the next key yet
   * @returns null when it is done; else how many seconds the next key must still be published
   */
  async rotate({ force }: { force: boolean }): Promise<number | null> {
    const next = await this.#generate()
    const waitSeconds = await withTransaction(this.#options.prisma, async (transaction) => {
      const db = await transaction.forWrite()
      const ageSeconds = (await lockForRotation(db)) ?? 0
      if (ageSeconds < PUBLISHED_SECONDS && !force) return Math.ceil(PUBLISHED_SECONDS - ageSeconds)
      await promoteNextKey(db, RETIRED_SECONDS, next)
      await writeAccountEvents(db, originOutsideRequests(), [
        { userId: null, kind: 'signing_key_rotated' }
      ])
      return null
    })
    if (waitSeconds === null) await this.read()
    return waitSeconds
  }

  /** The keys as an operator may see them: without private parts. */
  async list(): Promise<KeyDescription[]> {
    const rows = await findSigningKeys(this.#options.prisma)
    return rows.map(({ publicKey: _publicKey, privateKey: _privateKey, ...shown }) => shown)
  }

  #apply(rows: readonly SigningKeyRow[], begun: number): void {
    this.#readAt = begun
    const before = this.#ring
    this.#ring = new Map()
    for (const { id, state } of rows) {
      const codec = this.#codecs.get(id)
      if (codec) this.#ring.set(id, { kid: id, state, codec })
    }
    this.#published = rows.map(({ publicKey: { kid, alg, use, kty, crv, x, y } }) => ({
      kty,
      crv,
      x,
      y,
      kid,
      alg,
      use
    }))
    this.#etag = `"${createHash('sha256').update(JSON.stringify(this.#published)).digest('base64url').slice(0, 22)}"`
    const gone = [...before.keys()].filter((kid) => !this.#ring.has(kid))
    for (const kid of gone) this.#codecs.delete(kid)
    if (gone.length > 0) this.#options.onForgotten?.()
  }

  /**
   * A call that arrives before the next read begins shares it. A call that arrives during a read
   * waits for the next one.
   */
  #readSoon(): Promise<void> {
    this.#nextRead ??= (async () => {
      const { now } = this.#options
      await sleep(Math.max(0, this.#unknownReadAt + UNKNOWN_READ_MS - now()))
      this.#unknownReadAt = now()
      this.#nextRead = null
      await this.read()
    })()
    return this.#nextRead
  }

  #createCodec({ id, state, publicKey, privateKey }: SigningKeyRow): Codec {
    const { keys, parties } = this.#options
    const text = state === 'retired' ? null : unseal(keys, privateKey, id)
    if (text === null && state !== 'retired') {
      throw new ConfigError(
        'AUTH_SECRET_PREVIOUS: a signing key in the store was encrypted under a secret that is not configured'
      )
    }
    const pem = createPublicKey({ key: { ...publicKey }, format: 'jwk' })
      .export({ type: 'spki', format: 'pem' })
      .toString()
    return createCodec({ kid: id, publicKey: pem, privateKey: text }, parties)
  }

  async #generate(): Promise<NewSigningKey> {
    const { keys } = this.#options
    const random = randomBytes(KID_RANDOM_BYTES)
    const kid = Buffer.concat([random, kidMac(keys.keyId, random)]).toString('base64url')
    const { jwk, privateKey } = await generateSigningKey(kid, ALGORITHM)
    return { jwk, privateKey: seal(keys, privateKey, kid) }
  }
}

function kidMac(key: Buffer, random: Buffer): Buffer {
  return createHmac('sha256', key).update(random).digest().subarray(0, KID_MAC_BYTES)
}
