import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.js'

const YEAR_SECONDS = 31_536_000

/** What a page may read of an answer, beside what it always may. */
const exposedHeaders = [
  'ratelimit-limit',
  'ratelimit-remaining',
  'ratelimit-reset',
  'retry-after',
  'session-revocation',
  'set-auth-token',
  'set-device-token'
]

/**
 * Headers for whatever a browser may ask for: strict ones on every answer, and CORS for the origins
 * of TRUSTED_ORIGINS alone. The check plane is asked by gateways, which neither need nor get them:
 * it stands outside the scope that registers this.
 */
async function security(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const isHttps = config.baseUrl.startsWith('https:')
  await app.register(fastifyHelmet, {
    // Answers are data. better-auth's error page, the only document here, has a style sheet inside.
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        styleSrc: ["'unsafe-inline'"],
        frameAncestors: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'none'"]
      }
    },
    // Whether other hosts of a domain have https is for their operator to say.
    strictTransportSecurity: isHttps ? { maxAge: YEAR_SECONDS, includeSubDomains: false } : false,
    referrerPolicy: { policy: 'no-referrer' },
    xFrameOptions: { action: 'deny' }
  })
  if (config.trustedOrigins.length === 0) return
  await app.register(fastifyCors, {
    origin: [...config.trustedOrigins],
    credentials: true,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    // Whatever names a trusted page asks for (`allowedHeaders` absent): its tracing and its
    // libraries add headers of their own, and a name gives no right.
    exposedHeaders,
    maxAge: 600,
    // An OPTIONS that is no preflight asks what may be done here: it is no mistake.
    strictPreflight: false
  })
}

/** Replaces what an answer says of CORS by what we say: somebody else has given it in our place. */
export function restateCors(
  { headers: { origin } }: FastifyRequest,
  reply: FastifyReply,
  trustedOrigins: readonly string[]
): void {
  for (const name of Object.keys(reply.getHeaders())) {
    if (name.startsWith('access-control-')) reply.removeHeader(name)
  }
  if (origin === undefined || !trustedOrigins.includes(origin)) return
  const vary = String(reply.getHeader('vary') ?? '')
  reply.headers({
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': exposedHeaders.join(', '),
    vary:
      /\borigin\b/i.test(vary) || vary === '*' ? vary : [vary, 'Origin'].filter(Boolean).join(', ')
  })
}

export default fp(security, { name: 'security' })
