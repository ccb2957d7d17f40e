import { hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  onRequestAsyncHookHandler
} from 'fastify'
import fp from 'fastify-plugin'
import { LRUCache } from 'lru-cache'
import { AppError } from '../src/errors.js'
import type { Holdfast } from '../src/holdfast.js'
import { limits } from '../src/limits.js'
import { hashToken } from '../src/session/session-token.js'
import { clientNetwork } from './limits/budgets.js'
import { countHeaders } from './http/credential.js'
import type { FastRequest } from './fast-path/check-route.js'

/** An id with a secret, as a form may have them. */
export interface ClientCredentials {
  id: string
  secret: string
}

/** What a gateway shows: its secret is looked at by its hash alone. */
interface Presented {
  id: string
  hash: string
  /** Under what it is remembered once it was found right; absent where it came in a form. */
  key?: string
}

/** What a header shows that was found right before. */
export type KnownGateway = Required<Presented>

/** Headers that are remembered at most. */
const REMEMBERED = 1_000

/**
 * How a question must be sent to be answered ahead of Fastify: by POST, to this route, with a body
 * of this type and of so many bytes at most.
 */
export interface GatewayHead {
  route: string
  type: RegExp
  limit: number
}

/** A question of a gateway that is answered ahead of Fastify. */
export interface GatewayRequest extends FastRequest {
  gateway: KnownGateway
}

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Who asks: the gateway's id. `form` has the credentials of the body, for routes that take them
     * there.
     *
     * @throws Refusal 401 `gateway_unknown`; 429 with the headers set, after many wrong secrets
     *   from one address
     */
    authenticateGateway: (
      request: FastifyRequest,
      reply: FastifyReply,
      form?: Partial<ClientCredentials>
    ) => Promise<string>
    /**
     * An `onRequest` hook that lets only gateways with HTTP Basic pass, before their body is read,
     * and sets `request.gateway`.
     */
    requireGateway: onRequestAsyncHookHandler
    /**
     * What a gateway asks with a body of `form`, whose very same header was found right before;
     * undefined says nothing. Asks nobody.
     */
    matchGateway: (request: IncomingMessage, form: GatewayHead) => GatewayRequest | undefined
    /** Whether a copy says that it still is right; false where only the store can tell. */
    isStillRight: (gateway: KnownGateway) => boolean
  }
  interface FastifyRequest {
    gateway: string | null
  }
}

/** Tells which gateway sent a request. */
async function gateway(app: FastifyInstance, { holdfast }: { holdfast: Holdfast }): Promise<void> {
  app.decorateRequest('gateway', null)
  // What was right, by the hash of the header: to read HTTP Basic costs more than the check behind
  // it. No secret is kept, and each is asked about anew.
  const known = new LRUCache<string, KnownGateway>({ max: REMEMBERED })

  async function authenticate(
    request: FastifyRequest,
    reply: FastifyReply,
    form: Partial<ClientCredentials> = {}
  ): Promise<string> {
    if (!holdfast.ready()) throw new AppError('store_unavailable')
    const presented = presentedBy(request, form, known)
    // No guess: some clients send nothing until they are challenged, with every request anew.
    if (!presented) throw new AppError('gateway_unknown')
    if (await holdfast.gateways.authenticate(presented.id, presented.hash)) {
      if (presented.key !== undefined && !known.get(presented.key))
        known.set(presented.key, {
          id: presented.id,
          hash: presented.hash,
          key: presented.key
        })
      return presented.id
    }
    // Only after the fact: who shows the right secret is never limited, whatever else comes from
    // that address.
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
      const gateway = known.get(hash('sha256', authorization, 'base64'))
      return gateway && { route, hasBody: true, gateway }
    }
  )
  app.decorate('isStillRight', ({ id, hash: secretHash }: KnownGateway): boolean =>
    holdfast.gateways.authenticateCached(id, secretHash)
  )
  app.decorate('requireGateway', async (request: FastifyRequest, reply: FastifyReply) => {
    request.gateway = await authenticate(request, reply)
  })
}

/**
 * The one way in which a request shows who asks. RFC 6749 2.3 allows no second: two parties that
 * look at different ones would see different gateways.
 */
function presentedBy(
  request: FastifyRequest,
  { id, secret }: Partial<ClientCredentials>,
  known: LRUCache<string, KnownGateway>
): Presented | null {
  const { authorization } = request.headers
  if (authorization !== undefined && countHeaders(request.raw, 'authorization') > 1)
    throw new AppError('credential_ambiguous')
  if (authorization === undefined)
    return id === undefined || secret === undefined ? null : { id, hash: hashToken(secret) }
  const key = hash('sha256', authorization, 'base64')
  const basic = known.get(key) ?? parseBasic(authorization, key)
  if (secret !== undefined || (id !== undefined && id !== basic?.id))
    throw new AppError('credential_ambiguous', 'Client credentials were sent in more than one way.')
  return basic
}

/** HTTP Basic (RFC 7617), whose two parts are form-encoded first (RFC 6749 2.3.1). */
function parseBasic(authorization: string, key: string): Presented | null {
  const encoded = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization)?.[1]
  if (encoded === undefined) return null
  const pair = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  const [id, secret] = [formDecode(pair.slice(0, colon)), formDecode(pair.slice(colon + 1))]
  return colon < 0 || id === null || secret === null ? null : { id, hash: hashToken(secret), key }
}

function formDecode(text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return null
  }
}

export default fp(gateway, { name: 'gateway' })
