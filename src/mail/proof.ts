import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Keys } from '../secrets/keys.js'

/*
 * A proof is asked for, mailed, and used once: by its link, which carries a token, or by its code of
 * six digits. Both are derived from the row with a key of AUTH_SECRET. So a mail that is sent twice
 * carries the same, and the store alone holds nothing that proves anything: a code in it, hashed or
 * not, would be found in a million tries.
 */

/** What a proof is for. */
export type ProofPurpose = keyof typeof proofSeconds

/** How long a proof lives, in seconds. */
export const proofSeconds = {
  /** Proves the address of an account. */
  verify: 86_400,
  /** Begins an account whose sign-up waits for it. */
  'sign-up': 86_400,
  reset: 7_200,
  'sign-in': 900,
  /** At the old address: the change of address is wanted. */
  'change-confirm': 7_200,
  /** At the new address. */
  'change-verify': 7_200,
  'not-me': 259_200
} as const

/** How long an invitation may be taken up, in seconds. It is a `reset` with more time. */
export const INVITATION_SECONDS = 259_200

/** Codes that may be tried at one proof. The fifth wrong one ends it. */
export const MAX_CODES = 5

/** The part of a proof from which its token and code are derived. */
export interface ProofIdentity {
  id: string
  purpose: string
  email: string
  keyId: string
}

const ID_BYTES = 16
const MAC_BYTES = 24
const TOKEN = /^[A-Za-z0-9_-]{54}$/
const HANDLE = /^[A-Za-z0-9_-]{32}$/

/** The code of a proof: six digits. Null where the secret that it derives from is gone. */
export function codeOf(keys: Keys, proof: ProofIdentity): string | null {
  const mac = derive(keys, proof, 'code')
  // 64 bits modulo a million: no digit is likelier than another by more than 10^-13.
  return mac === null ? null : String(mac.readBigUInt64BE() % 1_000_000n).padStart(6, '0')
}

/** The token of a proof's link: its id, and a MAC. Null where the secret is gone. */
export function tokenOf(keys: Keys, proof: ProofIdentity): string | null {
  const mac = derive(keys, proof, 'link')?.subarray(0, MAC_BYTES)
  if (mac === undefined) return null
  const id = Buffer.from(proof.id.replaceAll('-', ''), 'hex')
  return Buffer.concat([id, mac]).toString('base64url')
}

/** The id of the proof that a token names. Null for what is no token. */
export function proofIdFrom(token: string): string | null {
  if (!TOKEN.test(token)) return null
  const hex = Buffer.from(token, 'base64url').subarray(0, ID_BYTES).toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Whether a token is that of this proof. */
export function isTokenOf(keys: Keys, proof: ProofIdentity, token: string): boolean {
  return isEqual(tokenOf(keys, proof), token)
}

/** Whether a code is that of this proof. */
export function isCodeOf(keys: Keys, proof: ProofIdentity, code: string): boolean {
  return isEqual(codeOf(keys, proof), code)
}

/** A new handle, which the browser or app keeps that asked for a proof: 192 random bits. */
export function newHandle(): string {
  return randomBytes(24).toString('base64url')
}

export function isHandle(text: string): boolean {
  return HANDLE.test(text)
}

/** A handle as it is stored. It has full entropy, so that a plain hash reveals nothing. */
export function hashHandle(handle: string): string {
  return createHash('sha256').update(handle).digest('base64url')
}

function derive(
  { all }: Keys,
  { id, purpose, email, keyId }: ProofIdentity,
  use: 'code' | 'link'
): Buffer | null {
  const key = all.find((keys) => keys.id === keyId)?.mail
  if (key === undefined) return null
  return createHmac('sha256', key)
    .update(JSON.stringify([use, id, purpose, email]))
    .digest()
}

function isEqual(right: string | null, sent: string): boolean {
  if (right === null) return false
  const [one, other] = [Buffer.from(right), Buffer.from(sent)]
  return one.length === other.length && timingSafeEqual(one, other)
}
