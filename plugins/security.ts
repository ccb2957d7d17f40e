import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.js'

/** A year, in seconds. */
export const YEAR_SECONDS = 31_536_000

/** The headers of an answer that a page may read, beside those it always may. */
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
 * Security headers for answers to browsers: strict ones on every answer, and CORS only for
 * TRUSTED_ORIGINS. The check routes are outside of this scope: gateways call them, and do not need
 * these headers.
 */
async function security(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const isHttps = config.baseUrl.startsWith('https:')
  await app.register(fastifyHelmet, {
    // Answers are data. The only document here is better-auth's error page, which has an inline
    // style sheet.
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
    // Whether the domain's other hosts have https is for their operator to decide.
    strictTransportSecurity: isHttps ? { maxAge: YEAR_SECONDS, includeSubDomains: false } : false,
    referrerPolicy: { policy: 'no-referrer' },
    xFrameOptions: { action: 'deny' }
  })
  if (config.trustedOrigins.length === 0) return
  await app.register(fastifyCors, {
    origin: [...config.trustedOrigins],
    credentials: true,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    // `allowedHeaders` is absent, so a trusted page may send any header: its tracing and libraries
    // add their own, and a header name gives no right.
    exposedHeaders,
    maxAge: 600,
    // An OPTIONS request that is not a preflight asks for the allowed methods, and is not an error.
    strictPreflight: false
  })
}

/** Replaces an answer's CORS headers by ours, where the application has answered in our place. */
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
