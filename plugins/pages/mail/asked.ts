import { proofSeconds } from '../../../src/mail/proof.js'
import type { Page } from '../page.js'

/** For what a mail was asked for in this browser. Each is kept by itself. */
export type AskedFor = 'reset' | 'verify' | 'sign-in'

/** The parameters that say where a person wants to go back to. */
export type ReturnQuery = Page['returnQuery']

/** A mail that was asked for in this browser. */
export interface Asked {
  /** The address that was typed, in lower case. */
  email: string
  back: ReturnQuery
}

const cookieOf = (what: AskedFor) => `holdfast.asked-${what}`

/**
 * Keeps in the browser for which address a mail was asked for, as long as its code counts.
 *
 * @returns whether one was asked for before, for the same address
 */
export function keepAsked(page: Page, what: AskedFor, typed: string): boolean {
  // As the account has it.
  const email = typed.toLowerCase()
  const isAgain = askedIn(page, what)?.email === email
  const asked: Asked = { email, back: returnQueryOf(page, what) }
  page.keep(cookieOf(what), JSON.stringify(asked), proofSeconds[what])
  return isAgain
}

/** The mail that was asked for in this browser. Null where there is none. */
export function askedIn(page: Page, what: AskedFor): Asked | null {
  const kept = page.kept(cookieOf(what))
  return kept === null ? null : (JSON.parse(kept) as Asked)
}

/** Removes that. */
export function forgetAsked(page: Page, what: AskedFor): void {
  page.forget(cookieOf(what))
}

/** Where to go back to: as the address says, or as it was when the mail was asked for. */
export function returnQueryOf(page: Page, what: AskedFor): ReturnQuery {
  return page.returnTo === null ? (askedIn(page, what)?.back ?? {}) : page.returnQuery
}
