import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Holdfast } from '../src/holdfast.js'
import { completeDocument } from './openapi/complete.js'
import type { ApiDocument } from './openapi/document.js'

const description = `Sessions that hold: sign-in and accounts (better-auth), sessions and their revocation.

**An app without cookies** sends \`Token-Transport: body\` with its sign-up or sign-in and is answered \`tokens\`. Where a second factor is pending the answer has a \`challenge\`
instead: it goes back as \`Two-Factor-Challenge\` with the code (\`verifyTotp\`, \`verifyBackupCode\`). The access token is a bearer token everywhere here. The refresh token is
exchanged at \`/oauth2/token\`, with an \`Idempotency-Key\` where answers may be lost, and ends its session at \`/oauth2/revoke\`. \`device_token\` is kept past any sign-out and sent as
\`Device-Token\` with the next one. The links of each answer say which value goes where.

**A browser** is given a cookie. A program that wants neither cookies nor refresh tokens reads the session token in \`set-auth-token\`.

**Refusals** are problem details (RFC 9457) with a stable \`cause\`; below \`/api/auth\` they have \`code\` and \`message\` as well, and better-auth's own errors only those; \`/oauth2/*\` answers
OAuth errors with \`cause\`. \`401\` means that the credential is no good; \`503\` that nobody knows (\`store_unavailable\`) or that the server is busy (\`overloaded\`), and that the same request is
worth repeating. Another method than a path has is answered \`405\`. Before there is a route: \`408\` request_timeout, \`414\` uri_too_long, \`431\` headers_too_large.`

// The page may load its own script and style. What it shows is from /openapi.json, and from nowhere
// else.
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

/**
 * Collects the schemas of every route registered after it. Serves them with better-auth's as
 * `/openapi.json`, and as a page, `/docs`.
 */
async function openapi(
  app: FastifyInstance,
  { holdfast, prefix }: { holdfast: Holdfast; prefix: string }
): Promise<void> {
  let whole: ApiDocument | null = null
  // On the first request and not at the start: better-auth generates most of it, and a node that
  // only gateways call never needs it.
  const describe = async () => {
    whole ??= completeDocument(app.swagger() as ApiDocument, await holdfast.auth.describe(), {
      prefix,
      basePath: holdfast.auth.basePath
    })
    return whole
  }
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Holdfast', version: '0.1.0', description },
      servers: [{ url: holdfast.config.baseUrl }],
      components: {
        securitySchemes: {
          cookie: {
            type: 'apiKey',
            in: 'cookie',
            name: holdfast.auth.cookieName,
            description:
              'The session cookie. With it, requests that change something must come from a trusted origin.'
          },
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description: 'An access token, or a session token.'
          },
          sessionToken: {
            type: 'http',
            scheme: 'bearer',
            description:
              'A session token, as `set-auth-token` gave it: an access token is not enough.'
          },
          gateway: {
            type: 'http',
            scheme: 'basic',
            description: "A gateway's client id and secret."
          }
        }
      }
    }
  })
  let text: string | null = null
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    text ??= JSON.stringify(await describe())
    return reply.type('application/json').send(text)
  })
  await app.register(async (page) => {
    page.addHook('onRequest', async () => {
      await describe()
    })
    await page.register(fastifySwaggerUi, {
      routePrefix: '/docs',
      indexPrefix: prefix,
      staticCSP: PAGE_POLICY,
      theme: { title: 'Holdfast' },
      uiConfig: { tryItOutEnabled: false, persistAuthorization: false },
      transformSpecification: (document) => (whole ?? document) as Record<string, unknown>,
      transformSpecificationClone: true
    })
  })
}

export default fp(openapi, { name: 'openapi' })
