import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import type { ActiveCheck, Check, Credential } from '../../../src/session/session.js'
import { acceptsHtml } from '../../http/accepts-html.js'
import { credentialFrom, type Asked } from '../../http/credential.js'
import { refuseForwardedForgery } from '../../http/csrf.js'
import type { FastResponse } from '../../fast-path/fast-path.js'
import type { ForwardedRequest } from '../../http/forwarded-request.js'
import { ReturnAddresses } from '../../http/return-address.js'

/** What a proxy's configuration asks for. */
export interface VerifyPolicy {
  /** All of them are required. */
  roles: readonly string[]
  /** Where the credential must be sent. Absent: anywhere. */
  credential?: 'cookie' | 'bearer'
  /** Whether a CORS preflight passes, without identity. */
  preflight?: 'allow'
  /** Where a browser is sent to sign in. */
  redirect?: string
  /** The status of that redirect; 302 where absent. nginx passes only 401 and 403 on. */
  redirectStatus?: 302 | 401
}

/**
 * Decides for proxies whether a request may pass. It does not use Fastify's requests, because the
 * fast path has none.
 */
export class ForwardAuth {
  readonly #holdfast: Holdfast
  readonly #forwardedRequest: (request: Asked) => ForwardedRequest
  readonly #returnAddresses: ReturnAddresses

  /**
   * @param forwardedRequest reads what the proxy says about the request that it asks about; called
   *   only where that matters
   */
  constructor(holdfast: Holdfast, forwardedRequest: (request: Asked) => ForwardedRequest) {
    this.#holdfast = holdfast
    this.#forwardedRequest = forwardedRequest
    this.#returnAddresses = new ReturnAddresses({
      config: holdfast.config,
      trustedOrigins: holdfast.auth.trustedOrigins,
      keys: holdfast.pageKeys
    })
  }

  /**
   * Reads which credential of a request counts. A CORS preflight may pass without one.
   *
   * @throws AppError where it has none, or another site made the browser send it; 503 until the
   *   store has been found fit
   */
  read(request: Asked, policy: VerifyPolicy): Credential | 'preflight' {
    if (policy.preflight && this.#isPreflight(request)) return 'preflight'
    const { auth } = this.#holdfast
    if (!this.#holdfast.ready()) throw new AppError('store_unavailable')
    const credential = credentialFrom(request, auth.cookieName)
    if (!credential) throw new AppError('credential_missing')
    const isCookie = credential.kind === 'cookie'
    if (policy.credential && isCookie !== (policy.credential === 'cookie'))
      throw new AppError('credential_missing')
    if (isCookie)
      refuseForwardedForgery(request, this.#forwardedRequest(request), auth.trustedOrigins)
    return credential
  }

  /**
   * The identity for a request that may pass, where this process knows it. Null where only `check`
   * can tell.
   *
   * @throws AppError where the request may not pass
   */
  checkCached(credential: Credential | 'preflight', policy: VerifyPolicy): FastResponse | null {
    if (credential === 'preflight') return noIdentity
    const check = this.#holdfast.reader.checkCached(credential)
    return check && identityHeaders(passing(check, policy))
  }

  /**
   * As `checkCached`, with I/O where it is needed.
   *
   * @throws AppError where the request may not pass; 503 where the store does not answer
   */
  async check(credential: Credential | 'preflight', policy: VerifyPolicy): Promise<FastResponse> {
    if (credential === 'preflight') return noIdentity
    return identityHeaders(passing(await this.#holdfast.reader.check(credential), policy))
  }

  /**
   * The sign-in page for a browser that opens a page, with the address to come back to. Null where
   * the request is not a page load. Our own page would only lead on to that of SIGN_IN_URL, so a
   * browser is sent there at once.
   *
   * @throws AppError 400 `invalid_input` for a page of an origin that is not trusted
   */
  signInPage(redirect: string, request: Asked): string | null {
    const { address } = this.#forwardedRequest(request)
    const methods = this.#methodsOf(request)
    const { trustedOrigins } = this.#holdfast.auth
    const page = URL.canParse(redirect) ? new URL(redirect) : null
    if (!page || !trustedOrigins.includes(page.origin)) throw new AppError('invalid_input')
    if (
      !methods.every((method) => method === 'GET' || method === 'HEAD') ||
      !acceptsHtml(request.headers)
    )
      return null
    const wanted = address && this.#returnAddresses.parametersFor(address)
    const signIn = this.#isOurSignInPage(page)
      ? new URL(this.#holdfast.config.signInUrl ?? page)
      : page
    for (const [name, value] of Object.entries(wanted ?? {})) signIn.searchParams.set(name, value)
    return signIn.href
  }

  #isOurSignInPage({ origin, pathname }: URL): boolean {
    const { config, prefix } = this.#holdfast
    return origin === config.baseUrl && pathname === `${prefix}/sign-in`
  }

  /**
   * Whether every named method is that of a preflight. A preflight passes without a credential, so
   * one other method is enough to refuse it.
   */
  #isPreflight(request: Asked): boolean {
    const { origin, 'access-control-request-method': wanted } = request.headers
    return (
      Boolean(origin && wanted) && this.#methodsOf(request).every((method) => method === 'OPTIONS')
    )
  }

  /**
   * The methods with which the application is called: as the proxy says, or else the proxy's own.
   */
  #methodsOf(request: Asked): readonly string[] {
    const { methods } = this.#forwardedRequest(request)
    return methods.length > 0 ? methods : [request.method ?? '']
  }
}

/** @throws AppError for a check that is not active, or lacks a role */
function passing(check: Check, { roles }: VerifyPolicy): ActiveCheck {
  if (!check.active) throw new AppError(check.cause)
  for (const role of roles) {
    if (!check.user.roles.includes(role)) throw new AppError('role_missing')
  }
  return check
}

/** Caches must not keep the answer, because it is valid only now. There is no body. */
const always = { 'cache-control': 'no-store', 'content-length': '0' }

/**
 * The five identity headers, empty. Every 200 has all of them: a proxy that copies only those it
 * finds would let the client's own headers through.
 */
const noIdentity: FastResponse = {
  headers: {
    'remote-user': '',
    'remote-email': '',
    'remote-name': '',
    'remote-groups': '',
    'x-session-id': '',
    ...always
  },
  body: ''
}

/** The identity headers of a check. An unverified e-mail address is left out. */
function identityHeaders({ session, user }: ActiveCheck): FastResponse {
  const headers = {
    'remote-user': user.id,
    'remote-email': user.emailVerified ? encode(user.email) : '',
    'remote-name': encode(user.name),
    'remote-groups': user.roles.map(encode).join(','),
    'x-session-id': session.id,
    ...always
  }
  return { headers, body: '' }
}

/**
 * Percent-encodes as UTF-8 what a header cannot carry, or a proxy might cut: control characters,
 * non-ASCII, outer spaces, and the percent sign itself.
 */
function encode(value: string): string {
  if (/^[!-$&-~]([ -$&-~]*[!-$&-~])?$/.test(value)) return value
  return Array.from(Buffer.from(value), (byte, index) => {
    const isPlain =
      byte > 0x20
        ? byte < 0x7f && byte !== 0x25
        : byte === 0x20 && index > 0 && index < Buffer.byteLength(value) - 1
    return isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }).join('')
}
