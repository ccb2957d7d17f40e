import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { ApiDescription } from '../src/auth/auth.js'
import type { Holdfast } from '../src/holdfast.js'
import { AuthProblemSchema, refusals } from './problem-schema.js'
import { isOff } from './routes/auth-rules.js'

type Paths = ApiDescription['paths']

interface ApiDocument {
  paths?: Paths
  components?: { schemas?: Record<string, unknown> }
}

const description = `Sessions that hold: sign-in and accounts (better-auth), sessions and their revocation.

A session is shown by its cookie, or as a bearer token: the value of \`set-auth-token\` in the answer to a sign-in that sent no cookie.
\`401\` means that the credential is no good; \`503\` that nobody knows, and that the same request is worth repeating.`

// The page's own script and style; what it shows comes from /openapi.json's source, and from nowhere else.
const PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

/** Collects the schemas of every route registered after it, and serves them with better-auth's as `/openapi.json` and as a page, `/docs`. */
async function openapi(app: FastifyInstance, { holdfast, prefix }: { holdfast: Holdfast, prefix: string }): Promise<void> {
  let described: ApiDescription | null = null
  // When somebody wants to read it, and not when the server starts: better-auth makes all of it, which a node that only gateways ask never needs.
  const describe = async () => { described ??= await holdfast.auth.describe() }
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Holdfast', version: '0.1.0', description },
      servers: [{ url: holdfast.config.baseUrl }],
      components: {
        securitySchemes: {
          cookie: { type: 'apiKey', in: 'cookie', name: holdfast.auth.cookieName },
          bearer: { type: 'http', scheme: 'bearer' },
          gateway: { type: 'http', scheme: 'basic', description: "A gateway's client id and secret." }
        }
      }
    }
  })
  const complete = (document: ApiDocument) => (described ? merge(document, described, holdfast.auth.basePath) : document)
  let text: string | null = null
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    await describe()
    text ??= JSON.stringify(complete(app.swagger() as ApiDocument))
    return reply.type('application/json').send(text)
  })
  await app.register(async (page) => {
    page.addHook('onRequest', describe)
    await page.register(fastifySwaggerUi, {
      routePrefix: '/docs',
      indexPrefix: prefix,
      staticCSP: PAGE_POLICY,
      theme: { title: 'Holdfast' },
      uiConfig: { tryItOutEnabled: false, persistAuthorization: false },
      transformSpecification: (document) => complete(document as ApiDocument) as Record<string, unknown>,
      transformSpecificationClone: true
    })
  })
}

/** Our document with better-auth's in it: its paths below its base path, its answers with what the bridge may answer in its stead. */
function merge(ours: ApiDocument, theirs: ApiDescription, basePath: string): ApiDocument {
  const answered = Object.entries(theirs.paths).filter(([path]) => !isOff(path.replaceAll(/\{(\w+)\}/g, ':$1')))
  const paths = Object.fromEntries(answered.map(([path, operations]) => [basePath + path, Object.fromEntries(
    Object.entries(operations).map(([method, operation]) => [method, bridged(operation, notAlways[path] ?? [], alsoAnswered[path] ?? {})])
  )]))
  return { ...ours, paths: { ...describable(ours.paths ?? {}), ...paths }, components: { ...ours.components, schemas: { ...ours.components?.schemas, ...nullable(theirs.components.schemas) as object } } }
}

const describedMethods = new Set(['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'])

/** OpenAPI has no words for WebDAV's methods, and none for a path that goes on as it likes: that is called `rest`. */
function describable(paths: Paths): Paths {
  return Object.fromEntries(Object.entries(paths).map(([path, operations]) => [path.replace('{*}', '{rest}'), Object.fromEntries(
    Object.entries(operations)
      .filter(([method]) => describedMethods.has(method))
      .map(([method, operation]) => [method, JSON.parse(JSON.stringify(operation, (key, value: unknown) => (key === 'name' && value === '*' ? 'rest' : value))) as Record<string, unknown>])
  )]))
}

const AuthError = { type: 'object', properties: { message: { type: 'string' }, code: { type: 'string' } } }

/** What better-auth calls required and does not always send: a pending second factor answers otherwise. */
const notAlways: Record<string, string[]> = {
  '/sign-in/email': ['redirect', 'token', 'user'],
  '/two-factor/verify-backup-code': ['session']
}

const redirect = { 302: { description: 'To the page that asked, or to one that shows the error.' } }

/** What better-auth answers and does not say. */
const alsoAnswered: Record<string, object> = {
  '/reset-password/{token}': redirect,
  '/verify-email': redirect
}

const statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503] as const
const authRefusals = Object.fromEntries(statuses.map((status) => {
  const { description } = refusals(status)[status]
  return [status, { description, content: { 'application/problem+json': { schema: AuthProblemSchema }, 'application/json': { schema: AuthError } } }]
}))

// better-auth describes what goes well; how it refuses is the same everywhere, and so is how the bridge does.
function bridged(operation: Record<string, unknown>, optional: readonly string[], more: object): Record<string, unknown> {
  const kept = Object.entries(operation['responses'] as Record<string, unknown>).filter(([status]) => Number(status) < 400)
  const success = kept.length > 0 ? nullable(without(Object.fromEntries(kept), optional)) as object : { 200: { description: 'Success', content: { 'application/json': { schema: {} } } } }
  return { ...operation, security: [{ cookie: [] }, { bearer: [] }], responses: { ...success, ...more, ...authRefusals } }
}

/** The same description, with these fields required nowhere. */
function without(responses: object, optional: readonly string[]): object {
  return JSON.parse(JSON.stringify(responses, (key, value: unknown) => (key === 'required' && Array.isArray(value) ? value.filter((name: string) => !optional.includes(name)) : value))) as object
}

/** better-auth sends null for what is optional and absent, and does not say so: any property that is not required may be null. */
function nullable(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(nullable)
  if (typeof part !== 'object' || part === null) return part
  const schema = Object.fromEntries(Object.entries(part).map(([key, value]) => [key, nullable(value)]))
  // Where better-auth names one value of a flag, it answers the other as well.
  if (schema['type'] === 'boolean') delete schema['enum']
  const { properties, required } = schema
  if (typeof properties !== 'object' || properties === null) return schema
  const isRequired = (name: string) => Array.isArray(required) && required.includes(name)
  return { ...schema, properties: Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, isRequired(name) ? value : orNull(value)])) }
}

function orNull(schema: Record<string, unknown>): unknown {
  const { type } = schema
  if (typeof type === 'string' && !('enum' in schema)) return { ...schema, type: [type, 'null'] }
  return '$ref' in schema || 'enum' in schema ? { anyOf: [schema, { type: 'null' }] } : schema
}

export default fp(openapi, { name: 'openapi' })
