import type { IncomingMessage } from 'node:http'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  onRequestAsyncHookHandler
} from 'fastify'
import fp from 'fastify-plugin'
import { AppError } from '../src/errors.js'
import type { Holdfast } from '../src/holdfast.js'
import { limits } from '../src/limits.js'
import { hashToken } from '../src/session/session-token.js'
import { clientNetwork } from './limits/budgets.js'
import { countHeaders } from './http/credential.js'
import type { FastRequest } from './fast-path/fast-path.js'

/** An id with a secret, as a form may contain them. */
export interface ClientCredentials {
  id: string
  secret: string
}

/** A gateway's credentials. The secret is compared by its hash only. */
export interface PresentedGateway {
  id: string
  hash: string
}

/**
 * The requests that may be answered ahead of Fastify: by POST, to this route, with a body of this
 * type and at most this many bytes.
 */
export interface GatewayHead {
  route: string
  type: RegExp
  limit: number
}

/** A gateway's request that may be answered ahead of Fastify. */
export interface GatewayRequest extends FastRequest {
  gateway: PresentedGateway
}

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * The id of the gateway that asks. `form` has the credentials of the body, for routes that take
     * them there.
     *
     * @throws AppError 401 `gateway_unknown`; 429 with the headers set, after many wrong secrets
     *   from one address
     */
    authenticateGateway: (
      request: FastifyRequest,
      reply: FastifyReply,
      form?: Partial<ClientCredentials>
    ) => Promise<string>
    /**
     * An `onRequest` hook that lets only gateways with HTTP Basic pass, before their body is read.
     * Sets `request.gateway`.
     */
    requireGateway: onRequestAsyncHookHandler
    /**
     * Matches a gateway's request with valid HTTP Basic and a body of `form`. Undefined for any
     * other request. Costs no I/O.
     */
    matchGateway: (request: IncomingMessage, form: GatewayHead) => GatewayRequest | undefined
    /**
     * Whether a copy says that the credentials are still valid. False where only the store can
     * tell.
     */
    isStillRight: (gateway: PresentedGateway) => boolean
  }
  interface FastifyRequest {
    gateway: string | null
  }
}

/** Authenticates gateways. */
async function gateway(app: FastifyInstance, { holdfast }: { holdfast: Holdfast }): Promise<void> {
  app.decorateRequest('gateway', null)
  async function authenticate(
    request: FastifyRequest,
    reply: FastifyReply,
    form: Partial<ClientCredentials> = {}
  ): Promise<string> {
    if (!holdfast.ready()) throw new AppError('store_unavailable')
    const presented = presentedBy(request, form)
    // Not counted as a guess: some clients send credentials only after a challenge, at every
    // request.
    if (!presented) throw new AppError('gateway_unknown')
    if (await holdfast.gateways.authenticate(presented.id, presented.hash)) return presented.id
    // Counted only after a wrong secret, so that the right secret is never limited, whatever else
    // comes from its address.
    await app.budgets?.take(reply, limits.gatewayByAddress, clientNetwork(request))
    throw new AppError('gateway_unknown')
  }
  app.decorate('authenticateGateway', authenticate)
  app.decorate(
    'matchGateway',
    (request: IncomingMessage, { route, type, limit }: GatewayHead): GatewayRequest | undefined => {
      if (request.method !== 'POST' || request.url !== route || !holdfast.ready()) return undefined
      const {
        authorization,
        'content-type': sentType = '',
        'content-length': length = NaN,
        'content-encoding': encoding
      } = request.headers
      if (
        authorization === undefined ||
        encoding !== undefined ||
        countHeaders(request, 'authorization') > 1 ||
        !type.test(sentType) ||
        !(Number(length) <= limit)
      )
        return undefined
      const gateway = parseBasic(authorization)
      // Any other is refused before its body is read.
      return gateway && holdfast.gateways.authenticateCached(gateway.id, gateway.hash)
        ? { route, hasBody: true, gateway }
        : undefined
    }
  )
  app.decorate('isStillRight', ({ id, hash: secretHash }: PresentedGateway): boolean =>
    holdfast.gateways.authenticateCached(id, secretHash)
  )
  app.decorate('requireGateway', async (request: FastifyRequest, reply: FastifyReply) => {
    request.gateway = await authenticate(request, reply)
  })
}

/**
 * The credentials of a request. RFC 6749 2.3 allows only one method: a proxy and this server that
 * read different ones would see different gateways.
 */
function presentedBy(
  request: FastifyRequest,
  { id, secret }: Partial<ClientCredentials>
): PresentedGateway | null {
  const { authorization } = request.headers
  if (authorization !== undefined && countHeaders(request.raw, 'authorization') > 1)
    throw new AppError('credential_ambiguous')
  if (authorization === undefined)
    return id === undefined || secret === undefined ? null : { id, hash: hashToken(secret) }
  const basic = parseBasic(authorization)
  if (secret !== undefined || (id !== undefined && id !== basic?.id))
    throw new AppError('credential_ambiguous', 'Client credentials were sent in more than one way.')
  return basic
}

/** Parses HTTP Basic (RFC 7617). Its two parts are form-encoded first (RFC 6749 2.3.1). */
function parseBasic(authorization: string): PresentedGateway | null {
  const encoded = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization)?.[1]
  if (encoded === undefined) return null
  const pair = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  const [id, secret] = [formDecode(pair.slice(0, colon)), formDecode(pair.slice(colon + 1))]
  return colon < 0 || id === null || secret === null ? null : { id, hash: hashToken(secret) }
}

function formDecode(text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return null
  }
}

export default fp(gateway, { name: 'gateway' })
