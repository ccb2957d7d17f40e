import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.js'

const YEAR_SECONDS = 31_536_000

/**
 * Headers for whatever a browser may ask for: strict ones on every answer, and CORS for the origins of TRUSTED_ORIGINS alone. The
 * check plane is asked by gateways, which neither need nor get them: it stands outside the scope that registers this.
 */
async function security(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const isHttps = config.baseUrl.startsWith('https:')
  await app.register(fastifyHelmet, {
    // Answers are data. better-auth's error page, the only document here, has a style sheet inside.
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], styleSrc: ["'unsafe-inline'"], frameAncestors: ["'none'"], baseUri: ["'none'"], formAction: ["'none'"] }
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
    // Whatever names a trusted page asks for (`allowedHeaders` absent): its tracing and its libraries add headers of their own, and a name gives no right.
    exposedHeaders: ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'retry-after', 'session-revocation', 'set-auth-token', 'set-device-token'],
    maxAge: 600,
    // An OPTIONS that is no preflight asks what may be done here: it is no mistake.
    strictPreflight: false
  })
}

export default fp(security, { name: 'security' })
