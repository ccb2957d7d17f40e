import type { Config } from '../../src/config.js'
import { isSignedText, signText } from '../../src/secrets/signed-text.js'

/** Where a person may be sent back to after a sign-in. */
export interface ReturnPolicy {
  config: Pick<Config, 'baseUrl' | 'cookieDomain'>
  /** The origins that may be returned to: that of BASE_URL, and TRUSTED_ORIGINS. */
  trustedOrigins: readonly string[]
  /** One for each configured secret. The first one signs. */
  keys: readonly Buffer[]
}

/** The longest address that is returned to, in characters. */
const LONGEST = 4_096

/**
 * Addresses that a sign-in page returns to. Origins are compared exactly. An https host below
 * COOKIE_DOMAIN is returned to only where `/verify` has built the address and signed it.
 */
export class ReturnAddresses {
  readonly #policy: ReturnPolicy

  constructor(policy: ReturnPolicy) {
    this.#policy = policy
  }

  /**
   * The parameters with which a sign-in page is told of an address. Null for one that must not be
   * returned to.
   */
  parametersFor(url: URL): { return_to: string; return_mac?: string } | null {
    if (!isPlain(url)) return null
    if (this.#isTrusted(url)) return { return_to: url.href }
    if (!this.#isBelowCookieDomain(url)) return null
    return { return_to: url.href, return_mac: signText(this.#policy.keys, toText(url)) }
  }

  /**
   * The address to return to. A path is one of BASE_URL. Anything else is ignored: a foreign
   * origin, another scheme, an address with a user or password in it.
   *
   * @returns the address as the URL parser writes it, or null
   */
  parse(sent: string | undefined, mac = ''): string | null {
    const { baseUrl } = this.#policy.config
    if (!sent || sent.length > LONGEST || !URL.canParse(sent, baseUrl)) return null
    const url = new URL(sent, baseUrl)
    if (!isPlain(url)) return null
    return this.#isTrusted(url) ||
      (this.#isBelowCookieDomain(url) && isSignedText(this.#policy.keys, toText(url), mac))
      ? url.href
      : null
  }

  #isTrusted({ origin }: URL): boolean {
    return origin === this.#policy.config.baseUrl || this.#policy.trustedOrigins.includes(origin)
  }

  #isBelowCookieDomain({ protocol, hostname }: URL): boolean {
    const { cookieDomain } = this.#policy.config
    return (
      cookieDomain !== undefined &&
      protocol === 'https:' &&
      (hostname === cookieDomain || hostname.endsWith(`.${cookieDomain}`))
    )
  }
}

/** Every other scheme has the origin "null", which would equal that of another one. */
function isPlain({ protocol, username, password }: URL): boolean {
  return /^https?:$/.test(protocol) && username === '' && password === ''
}

function toText({ href }: URL): string {
  return `return to ${href}`
}
