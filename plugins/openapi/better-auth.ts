import { languages } from '../../src/language.js'
import { recordKinds } from '../../src/user/person-export.js'
import type { ApiDescription } from '../../src/auth/auth.js'
import { isOff, endpointRule } from '../routes/auth/endpoint-rules.js'
import { refusals } from '../http/problem-schema.js'
import { eventAnswers } from './events.js'
import { knowingSession, mailAnswers, withoutSession } from './mail.js'
import {
  headerRef,
  schemaRef,
  type ApiResponse,
  type Components,
  type Located,
  type Operation,
  type Schema
} from './document.js'

const statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503] as const

/** The operations of better-auth that this server answers, and its schemas, in their wire form. */
export function readBetterAuth(described: ApiDescription): {
  operations: Located[]
  schemas: NonNullable<Components['schemas']>
} {
  const operations = Object.entries(described.paths).flatMap(([path, byMethod]) =>
    Object.entries(byMethod).map(([method, operation]) => ({ path, method, operation }))
  )
  return {
    operations: operations
      .filter(
        ({ path, method }) =>
          !isOff(asRouted(path), method.toUpperCase()) && !alwaysRefused.has(`${method} ${path}`)
      )
      .map(({ path, method, operation }) => ({
        path,
        method,
        operation: bridged({ path, method }, modern(operation) as unknown as Operation)
      })),
    schemas: nullable(withoutInternals(modern(described.components.schemas))) as Record<
      string,
      unknown
    >
  }
}

/** Removes the columns that no answer has. */
function withoutInternals(schemas: object): object {
  return JSON.parse(
    JSON.stringify(schemas, (key, value: unknown) =>
      key === 'credentialEpoch' || key === 'language' ? undefined : value
    )
  ) as object
}

const asRouted = (path: string) => path.replaceAll(/\{(\w+)\}/g, ':$1')

/** A POST would refresh the session, which is off: 405. */
const alwaysRefused = new Set(['post /get-session'])

/**
 * Fields that better-auth calls required but does not always send, for example when a second factor
 * is pending.
 */
const notAlways: Record<string, string[]> = {
  '/sign-in/email': ['redirect', 'token', 'user'],
  '/two-factor/verify-backup-code': ['session'],
  '/two-factor/verify-otp': ['token']
}

const object = (properties: Record<string, Schema>): Schema => ({ type: 'object', properties })
const signedIn = object({
  token: { type: ['string', 'null'], description: 'Authenticates nobody.' },
  user: schemaRef('User')
})

const exportPage: Schema = {
  ...object({
    records: {
      type: 'array',
      items: {
        ...object({
          kind: {
            type: 'string',
            enum: [...recordKinds],
            description: 'What the record is about.'
          },
          record: {
            type: 'object',
            description: 'What is stored, without hashes, secrets and tokens.'
          }
        }),
        required: ['kind', 'record']
      }
    },
    next: {
      type: ['string', 'null'],
      description: 'For `after`: where the export goes on; null at its end.'
    }
  }),
  required: ['records', 'next']
}

/** Answers that better-auth does not describe, or describes wrongly. */
const answers: Record<string, Schema> = {
  ...mailAnswers,
  '/two-factor/verify-totp': signedIn,
  '/export-account': exportPage,
  '/admin/export-user': exportPage,
  '/admin/erase-user': {
    ...object({
      success: { type: 'boolean' },
      erased: {
        type: 'boolean',
        description: 'Whether it is done; else the server goes on behind the answer.'
      }
    }),
    required: ['success', 'erased']
  },
  '/recent-sign-in': {
    ...object({
      recent: {
        type: 'boolean',
        description:
          'Whether a credential was shown within ten minutes, with the second factor where there is one.'
      },
      secondFactor: { type: 'boolean' },
      password: { type: 'boolean', description: 'Whether the user has a password.' }
    }),
    required: ['recent', 'secondFactor', 'password']
  },
  '/admin/find-users': {
    ...object({
      users: {
        type: 'array',
        items: {
          ...object({
            id: { type: 'string' },
            email: { type: 'string' },
            name: { type: 'string' },
            emailVerified: { type: 'boolean' },
            roles: { type: 'array', items: { type: 'string' } },
            banned: { type: 'boolean' },
            secondFactor: { type: 'boolean' },
            createdAt: { type: 'string', format: 'date-time' }
          })
        }
      },
      next: {
        type: ['string', 'null'],
        description:
          'For `after`: where the list goes on; null at its end. A page may be short, or empty, and still have a next one.'
      }
    }),
    required: ['users', 'next']
  },
  '/admin/become-first-administrator': {
    ...object({ status: { type: 'boolean' } }),
    required: ['status']
  },
  '/one-time-token/generate': { ...object({ token: { type: 'string' } }), required: ['token'] },
  '/one-time-token/verify': object({ session: { type: 'object' }, user: schemaRef('User') })
}

type Security = Record<string, string[]>[]

const anonymous: Security = []
const session: Security = [{ cookie: [] }, { bearer: [] }]

/** The credentials of operations that need others than a session. */
const securityOf: Record<string, Security> = {
  ...Object.fromEntries(
    [
      '/ok',
      '/error',
      '/sign-in/email',
      '/sign-up/email',
      '/one-time-token/verify',
      ...withoutSession
    ].map((path) => [path, anonymous])
  ),
  ...Object.fromEntries(
    [
      '/get-session',
      '/sign-out',
      '/two-factor/verify-totp',
      '/two-factor/verify-otp',
      '/two-factor/verify-backup-code',
      '/two-factor/send-otp',
      ...knowingSession
    ].map((path) => [path, [...session, {}]])
  ),
  // Any service that receives an access token could use it, so it must not make a token that lives
  // longer.
  '/one-time-token/generate': [{ cookie: [] }, { sessionToken: [] }],
  '/export-account': [{ cookie: [] }, { sessionToken: [] }],
  '/admin/export-user': [{ cookie: [] }, { sessionToken: [] }],
  '/admin/erase-user': [{ cookie: [] }, { sessionToken: [] }],
  '/admin/find-users': [{ cookie: [] }, { sessionToken: [] }],
  '/admin/send-password-reset': [{ cookie: [] }, { sessionToken: [] }],
  '/admin/become-first-administrator': [{ cookie: [] }, { sessionToken: [] }],
  '/admin/impersonate-user': [{ cookie: [] }, { sessionToken: [] }],
  ...Object.fromEntries(
    Object.keys(eventAnswers).map((path) => [path, [{ cookie: [] }, { sessionToken: [] }]])
  ),
  '/admin/stop-impersonating': [{ cookie: [] }]
}

// better-auth describes only successes. Its refusals are the same everywhere, and so are the
// bridge's.
function bridged(
  { path, method }: Pick<Located, 'path' | 'method'>,
  operation: Operation
): Operation {
  const kept = Object.fromEntries(
    Object.entries(operation.responses).filter(([status]) => Number(status) < 400)
  )
  const success = nullable(
    without(
      Object.keys(kept).length > 0
        ? kept
        : { 200: { description: 'Done.', content: { 'application/json': { schema: {} } } } },
      notAlways[path] ?? []
    )
  )
  const responses = success as Operation['responses']
  const media = responses['200']?.content?.['application/json']
  const answer = answers[path]
  if (media && answer) media.schema = answer
  if (media) Object.assign(media, eventAnswers[path])
  for (const status of statuses) responses[status] = refusal(status)
  const routed = { path: asRouted(path), methods: [method.toUpperCase()] }
  if (endpointRule(routed).kind !== 'open') countsDown(responses)
  setLanguages(operation)
  const { requestBody } = operation
  if (
    Object.values(requestBody?.content ?? {}).some(
      ({ schema }) => (schema?.required ?? []).length > 0
    )
  )
    Object.assign(requestBody ?? {}, { required: true })
  return { ...operation, security: securityOf[path] ?? session, responses }
}

/** Names the languages that a user may choose. */
function setLanguages({ requestBody }: Operation): void {
  const fields = requestBody?.content['application/json']?.schema?.properties
  if (fields?.['language'] === undefined) return
  fields['language'] = {
    type: 'string',
    enum: languages.map(({ code }) => code),
    description: 'The language of mails.'
  }
}

function refusal(status: (typeof statuses)[number]): ApiResponse {
  const { description, content } = JSON.parse(
    JSON.stringify(refusals(status)[status])
  ) as ApiResponse
  return {
    description,
    content: { ...content, 'application/json': { schema: schemaRef('AuthError') } }
  }
}

/** Adds the headers that say how many more requests are allowed. */
function countsDown(responses: Operation['responses']): void {
  for (const status of ['200', '429']) {
    const response = responses[status]
    if (response)
      response.headers = {
        ...response.headers,
        ...Object.fromEntries(
          ['RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'].map((name) => [
            name,
            headerRef(name)
          ])
        )
      }
  }
}

/** The same description, with these fields required nowhere. */
function without(responses: object, optional: readonly string[]): object {
  return JSON.parse(
    JSON.stringify(responses, (key, value: unknown) =>
      key === 'required' && Array.isArray(value)
        ? value.filter((name: string) => !optional.includes(name))
        : value
    )
  ) as object
}

/** OpenAPI 3.1 has no `nullable`: null is a type. */
function modern(part: unknown): Schema {
  return JSON.parse(
    JSON.stringify(part, (_key, value: unknown) => {
      if (
        typeof value !== 'object' ||
        value === null ||
        !('nullable' in value) ||
        typeof value.nullable !== 'boolean'
      )
        return value
      const { nullable: isNullable, ...schema } = value as Schema & { nullable: boolean }
      return isNullable ? orNull(schema) : schema
    })
  ) as Schema
}

/**
 * better-auth sends null for optional values that are absent, but does not describe it. So any
 * property that is not required may be null.
 */
function nullable(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(nullable)
  if (typeof part !== 'object' || part === null) return part
  const schema = Object.fromEntries(
    Object.entries(part).map(([key, value]) => [key, nullable(value)])
  ) as Schema
  // Where better-auth names only one value of a flag, it also sends the other.
  if (schema.type === 'boolean') delete schema['enum']
  const { properties, required } = schema
  if (typeof properties !== 'object') return schema
  const isRequired = (name: string) => Array.isArray(required) && required.includes(name)
  return {
    ...schema,
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, value]) => [
        name,
        isRequired(name) ? value : orNull(value)
      ])
    )
  }
}

function orNull(schema: Schema): Schema {
  const { type } = schema
  if (schema.$ref !== undefined) return { anyOf: [{ $ref: schema.$ref }, { type: 'null' }] }
  if ('enum' in schema) return { anyOf: [schema, { type: 'null' }] }
  if (Array.isArray(type))
    return type.includes('null') ? schema : { ...schema, type: [...type, 'null'] }
  return type === undefined ? schema : { ...schema, type: [type, 'null'] }
}
