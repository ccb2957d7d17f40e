import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import type { Check, Credential } from '../../../src/session/session.js'
import { credentialOf, type Asked } from '../../http/credential.js'
import { refuseForwardedForgery } from '../../http/csrf.js'
import type { Checker, FastResponse } from '../../fast-path/check-route.js'
import type { ForwardedRequest } from '../../http/forwarded-request.js'
import { identityHeaders, noIdentity } from './identity-headers.js'

/** What a proxy's configuration asks for. */
export interface VerifyPolicy {
  /** All of them are required. */
  roles: readonly string[]
  /** Where the credential must stand; anywhere where absent. */
  credential?: 'cookie' | 'bearer'
  /** Whether a CORS preflight passes, without identity. */
  preflight?: 'allow'
  /** Where a browser is sent to sign in. */
  redirect?: string
  /** What that is answered with; 302 where absent. nginx passes nothing but 401 and 403 on. */
  redirectStatus?: 302 | 401
}

/** A request that a proxy asks about, with what its configuration wants. */
export interface VerifyInput {
  request: Asked
  policy: VerifyPolicy
}

/**
 * Decides for proxies whether a request may pass. It knows nothing of Fastify's requests, for not
 * all that it judges become one.
 */
export class ForwardAuth implements Checker<VerifyInput> {
  readonly #holdfast: Holdfast
  readonly #forwardedRequest: (request: Asked) => ForwardedRequest

  /**
   * @param forwardedRequest what the proxy says of the request that it asks about; looked for where
   *   it counts
   */
  constructor(holdfast: Holdfast, forwardedRequest: (request: Asked) => ForwardedRequest) {
    this.#holdfast = holdfast
    this.#forwardedRequest = forwardedRequest
  }

  /**
   * The identity for a request that may pass, where this process knows it; null where only `check`
   * can tell.
   *
   * @throws AppError where the request may not pass
   */
  checkCached({ request, policy }: VerifyInput): FastResponse | null {
    if (this.#passesUnchecked(request, policy)) return noIdentity
    const check = this.#holdfast.reader.checkCached(this.#credentialFrom(request, policy))
    return check && identityFor(check, policy)
  }

  /**
   * As `checkCached`, and asks where it must.
   *
   * @throws AppError where the request may not pass; 503 where the store does not answer
   */
  async check({ request, policy }: VerifyInput): Promise<FastResponse> {
    if (this.#passesUnchecked(request, policy)) return noIdentity
    return identityFor(
      await this.#holdfast.reader.check(this.#credentialFrom(request, policy)),
      policy
    )
  }

  #passesUnchecked(request: Asked, policy: VerifyPolicy): boolean {
    return policy.preflight === 'allow' && this.#isPreflight(request)
  }

  #credentialFrom(request: Asked, policy: VerifyPolicy): Credential {
    const { auth } = this.#holdfast
    if (!this.#holdfast.ready()) throw new AppError('store_unavailable')
    const presented = credentialOf(request, auth.cookieName)
    if (!presented || (policy.credential && presented.from !== policy.credential))
      throw new AppError('credential_missing')
    if (presented.from === 'cookie')
      refuseForwardedForgery(request, this.#forwardedRequest(request), auth.trustedOrigins)
    return presented.credential
  }

  /**
   * Where a browser that opens a page shall sign in, and come back to; null where nobody is
   * looking.
   *
   * @throws Refusal 400 `invalid_input` for a page of an origin that is not trusted
   */
  signInPage(redirect: string, request: Asked): string | null {
    const { headers } = request
    const { address } = this.#forwardedRequest(request)
    const methods = this.#methodsOf(request)
    const { trustedOrigins } = this.#holdfast.auth
    const page = URL.canParse(redirect) ? new URL(redirect) : null
    if (!page || !trustedOrigins.includes(page.origin)) throw new AppError('invalid_input')
    if (
      !methods.every((method) => method === 'GET' || method === 'HEAD') ||
      !/\btext\/html\b/i.test(headers.accept ?? '')
    )
      return null
    if (address && trustedOrigins.includes(address.origin))
      page.searchParams.set('return_to', address.href)
    return page.href
  }

  /**
   * Where one of several methods that were named is another, it is no preflight: that passes
   * without a credential.
   */
  #isPreflight(request: Asked): boolean {
    const { origin, 'access-control-request-method': wanted } = request.headers
    return (
      Boolean(origin && wanted) && this.#methodsOf(request).every((method) => method === 'OPTIONS')
    )
  }

  /** How the application is asked: as the proxy says, and else as the proxy asks. */
  #methodsOf(request: Asked): readonly string[] {
    const { methods } = this.#forwardedRequest(request)
    return methods.length > 0 ? methods : [request.method ?? '']
  }
}

function identityFor(check: Check, { roles }: VerifyPolicy): FastResponse {
  if (!check.active) throw new AppError(check.cause)
  for (const role of roles) {
    if (!check.user.roles.includes(role)) throw new AppError('role_missing')
  }
  return identityHeaders(check)
}
