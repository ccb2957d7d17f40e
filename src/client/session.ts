/** A person, as the server shows them. */
export interface HoldfastUser {
  id: string
  email: string
  emailVerified: boolean
  name: string
  image: string | null
  roles: string[]
}

/** A session, as the server shows it. Times are RFC 3339. */
export interface HoldfastSession {
  id: string
  userId: string
  issuedAt: string
  expiresAt: string
  lastSeenAt: string
  name: string | null
  [field: string]: unknown
}

/** What a sign-in or sign-up leads to. */
export type SignedIn =
  | { status: 'signed_in' }
  /** The code of the second factor must follow: `verifySecondFactor`. */
  | { status: 'second_factor' }
  /** The address must be proven first: a mail is on its way. */
  | { status: 'verify_email' }
