import { Prisma, type PrismaClient } from '../database/database.js'
import type { Keys } from '../secrets/keys.js'
import { deviceFacts } from './device-facts.js'
import type { MailContent, MailFacts } from './mail.js'
import { codeOf, tokenOf } from './proof.js'
import { isTooMany, type ClaimedMail } from './queue.js'
import { findPendingSignUp, pinProof, readProof, type Proof } from './proofs.js'

export interface MailPreparerOptions {
  prisma: PrismaClient
  keys: Keys
  /** The name of the product. */
  brand: string
  /** The origin of BASE_URL. */
  origin: string
  /** The address below which the pages are. Null where there are none. */
  pages: string | null
  /** The sign-in page: ours, or the operator's. */
  signInPage: string | null
  signUpIsOpen: boolean
}

interface Account {
  id: string
  email: string
  emailVerified: boolean
}

/** A mail with everything that its texts need. */
export type PreparedMail = MailContent & { to: string }

/**
 * Finds out for a mail whether there is such an account, and makes its link and code. This is the
 * worker's part, so that the request that asks for a mail takes the same time for every address.
 */
export class MailPreparer {
  readonly #options: MailPreparerOptions

  constructor(options: MailPreparerOptions) {
    this.#options = options
  }

  /** @returns null where nothing is to be sent */
  async prepare(mail: ClaimedMail): Promise<PreparedMail | null> {
    const { prisma } = this.#options
    if (mail.proofId === null) return this.#notice(mail)
    const proof = await readProof(prisma, mail.proofId)
    if (!proof || (await isTooMany(prisma, mail))) return null
    return this.#byPurpose(mail, proof)
  }

  async #byPurpose(mail: ClaimedMail, proof: Proof): Promise<PreparedMail | null> {
    const account = await this.#accountOf(proof)
    switch (proof.purpose) {
      case 'reset':
      case 'change-confirm':
        return account && this.#withProof(mail, proof, account)
      case 'sign-in':
        if (!account && !this.#options.signUpIsOpen) return null
        return this.#withProof(mail, proof, account)
      case 'sign-up':
        return account ? this.#alreadyAccount(mail) : this.#withProof(mail, proof, null)
      case 'verify':
        return this.#verification(mail, proof, account)
      case 'change-verify':
        if (await this.#isTaken(proof)) return this.#alreadyAccount(mail)
        return account && this.#withProof(mail, proof, account)
      default:
        return account && this.#withNotMe(mail, proof, account)
    }
  }

  #alreadyAccount(mail: ClaimedMail): PreparedMail {
    return this.#content({ ...mail, kind: 'already-account' }, { link: this.#options.signInPage })
  }

  async #verification(
    mail: ClaimedMail,
    proof: Proof,
    account: Account | null
  ): Promise<PreparedMail | null> {
    if (account) return account.emailVerified ? null : this.#withProof(mail, proof, account)
    // The account may wait for the proof of its sign-up: that one is mailed again.
    const waiting = await findPendingSignUp(this.#options.prisma, proof)
    return waiting && this.#withProof(mail, waiting, null)
  }

  async #withProof(
    mail: ClaimedMail,
    proof: Proof,
    account: Account | null
  ): Promise<PreparedMail | null> {
    const { prisma, keys } = this.#options
    if (account) await pinProof(prisma, proof.id, account.id)
    const token = tokenOf(keys, proof)
    if (token === null) return null
    // A code counts only where it was asked for: an administrator asks for another person.
    const code = proof.handleHash === null ? null : codeOf(keys, proof)
    return this.#content(
      { ...mail, facts: factsFor(mail, proof, account) },
      { link: this.#linkOf(proof, token), code, validUntil: proof.expiresAt, account }
    )
  }

  async #withNotMe(mail: ClaimedMail, proof: Proof, account: Account): Promise<PreparedMail> {
    const token = tokenOf(this.#options.keys, proof)
    await pinProof(this.#options.prisma, proof.id, account.id)
    return this.#content(mail, {
      // After a change of address the notice goes to the old one, and is about it.
      account: { ...account, email: mail.recipient },
      notMeLink: token === null ? null : this.#page('/not-me', token),
      validUntil: proof.expiresAt
    })
  }

  async #notice(mail: ClaimedMail): Promise<PreparedMail | null> {
    const { prisma } = this.#options
    if (mail.userId === null) return this.#content(mail, {})
    const account = await this.#find(prisma, Prisma.sql`"id" = ${mail.userId}`)
    return account && this.#content(mail, { account })
  }

  #content(
    { kind, language, recipient, facts }: ClaimedMail,
    {
      account = null,
      link = null,
      code = null,
      validUntil = null,
      notMeLink = null
    }: Partial<Omit<MailContent, 'account'>> & { account?: Account | null }
  ): PreparedMail {
    const { brand, origin } = this.#options
    return {
      kind,
      to: recipient,
      language,
      brand,
      origin,
      account: account?.email ?? recipient,
      link,
      code,
      validUntil,
      notMeLink,
      facts: facts ?? {}
    }
  }

  #linkOf({ purpose, details }: Proof, token: string): string | null {
    if (purpose === 'reset') {
      const own = details?.redirectTo
      if (own !== undefined) return withToken(own, token)
      return this.#page('/reset-password', token)
    }
    return this.#page(purpose === 'sign-in' ? '/sign-in/code' : '/verify-email', token)
  }

  #page(path: string, token: string): string | null {
    const { pages } = this.#options
    return pages === null ? null : withToken(pages + path, token)
  }

  async #accountOf({ userId, email }: Proof): Promise<Account | null> {
    return this.#find(
      this.#options.prisma,
      userId === null ? Prisma.sql`"email" = ${email}` : Prisma.sql`"id" = ${userId}`
    )
  }

  async #isTaken({ email }: Proof): Promise<boolean> {
    return (await this.#find(this.#options.prisma, Prisma.sql`"email" = ${email}`)) !== null
  }

  async #find(prisma: PrismaClient, which: Prisma.Sql): Promise<Account | null> {
    const [account] = await prisma.$queryRaw<
      Account[]
    >`SELECT "id", "email", "emailVerified" FROM "user" WHERE ${which}`
    return account ?? null
  }
}

function withToken(address: string, token: string): string {
  const url = new URL(address)
  url.searchParams.set('token', token)
  return url.href
}

/**
 * What a mail says of its request. To an address that was never proven it says nothing that the
 * requester chose, and a browser's name is chosen: such a mail could be an advertisement.
 */
function factsFor(
  { facts, createdAt }: ClaimedMail,
  { details, purpose }: Proof,
  account: Account | null
): MailFacts {
  const at = createdAt.toISOString()
  if (!account?.emailVerified || purpose === 'change-verify') return { at }
  return {
    at,
    ...facts,
    ...deviceFacts(details?.from, details?.userAgent),
    ...(details?.newEmail === undefined ? {} : { newEmail: details.newEmail })
  }
}
