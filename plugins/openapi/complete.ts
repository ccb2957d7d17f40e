import type { ApiDescription } from '../../src/auth/auth.js'
import { refusals } from '../http/problem-schema.js'
import { readBetterAuth } from './better-auth.js'
import {
  schemaRef,
  type ApiDocument,
  type Components,
  type Located,
  type Operation,
  type Paths,
  type Schema
} from './document.js'
import { giveExamples } from './examples.js'
import { authErrorSchema, describeRefusals } from './refusals.js'
import { describeSignIn, describeTokens, signInComponents } from './sign-in.js'
import { nameBetterAuths, nameOurs, tags } from './words.js'

/** The paths of the two parts of the document. */
export interface Places {
  /** The prefix of our routes. Empty for none. */
  prefix: string
  /** The prefix of better-auth's. */
  basePath: string
}

/** Merges Fastify's description of our routes and better-auth's own, and adds what both lack. */
export function completeDocument(
  ours: ApiDocument,
  theirs: ApiDescription,
  { prefix, basePath }: Places
): ApiDocument {
  const { operations, schemas } = readBetterAuth(theirs)
  const components: Components = {
    ...ours.components,
    ...signInComponents,
    schemas: {
      ...ours.components?.schemas,
      ...schemas,
      AuthError: authErrorSchema(theirs.errorCodes)
    }
  }
  const paths: Paths = describable(ours.paths ?? {})
  for (const [path, byMethod] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(byMethod))
      describeOurs({ path: path.slice(prefix.length), method, operation }, components)
  }
  for (const located of operations) {
    describeBetterAuths(located, components)
    const { path, method, operation } = located
    paths[basePath + path] = { ...paths[basePath + path], [method]: operation }
  }
  nameSchemas(paths, prefix, components)
  return {
    ...ours,
    tags,
    paths,
    components: { ...components, schemas: referenced(components.schemas ?? {}, paths) }
  }
}

function describeOurs(located: Located, components: Components): void {
  const { path, operation } = located
  nameOurs(located)
  giveExamples(path, operation)
  describeTokens(located)
  if (operation.responses['200']?.description === 'Default Response')
    operation.responses['200'].description = 'Success.'
  // Two Host headers are refused everywhere with 400; two content types and a compressed body with
  // 415.
  const isEmpty = path.startsWith('/verify')
  for (const status of [400, 415] as const) {
    const refusal = JSON.parse(
      JSON.stringify(refusals(status)[status])
    ) as Operation['responses'][string]
    operation.responses[status] ??= isEmpty ? { description: refusal.description } : refusal
  }
  const isGateways = operation.security?.some((scheme) => 'gateway' in scheme)
  describeRefusals(
    operation,
    path.startsWith('/oauth2/') ? 'oauth' : isGateways ? 'gateway' : 'ours',
    components
  )
}

function describeBetterAuths(located: Located, components: Components): void {
  nameBetterAuths(located)
  giveExamples(located.path, located.operation)
  describeSignIn(located)
  describeRefusals(located.operation, 'better-auth', components)
}

const describedMethods = new Set([
  'get',
  'put',
  'post',
  'delete',
  'options',
  'head',
  'patch',
  'trace'
])

/**
 * OpenAPI cannot describe WebDAV's methods, nor a path of any length, which is called `rest` here.
 */
function describable(paths: Paths): Paths {
  return Object.fromEntries(
    Object.entries(paths).map(([path, operations]) => [
      path.replace('{*}', '{rest}'),
      Object.fromEntries(
        Object.entries(operations)
          .filter(([method]) => describedMethods.has(method))
          .map(([method, operation]) => [
            method,
            JSON.parse(
              JSON.stringify(operation, (key, value: unknown) =>
                key === 'name' && value === '*' ? 'rest' : value
              )
            ) as Operation
          ])
      )
    ])
  )
}

/** Schemas of our routes that get a name for clients, with their place in the document. */
const named: Record<
  string,
  { path: string; method: string; at: (answer: Schema) => Schema | undefined }
> = {
  Tokens: { path: '/oauth2/token', method: 'post', at: (answer) => answer },
  ActiveSession: {
    path: '/session',
    method: 'get',
    at: (answer) => answer.properties?.['session']
  },
  SessionUser: { path: '/session', method: 'get', at: (answer) => answer.properties?.['user'] },
  ListedSession: {
    path: '/sessions',
    method: 'get',
    at: (answer) => answer.properties?.['sessions']?.['items'] as Schema | undefined
  },
  SessionEvent: {
    path: '/sessions/{id}/events',
    method: 'get',
    at: (answer) => answer.properties?.['events']?.['items'] as Schema | undefined
  },
  Revoked: { path: '/sessions', method: 'delete', at: (answer) => answer }
}

/** Moves them into the components, and puts a reference wherever the same schema occurs. */
function nameSchemas(paths: Paths, prefix: string, components: Components): void {
  for (const [name, { path, method, at }] of Object.entries(named)) {
    const media = paths[prefix + path]?.[method]?.responses['200']?.content?.['application/json']
    const schema = media?.schema && at(media.schema)
    if (!media?.schema || !schema)
      throw new Error(`the schema ${name} is not where ${method} ${path} had it`)
    components.schemas = { ...components.schemas, [name]: { ...schema } }
    const text = JSON.stringify(schema)
    for (const operation of Object.values(paths).flatMap((byMethod) => Object.values(byMethod))) {
      for (const { content = {} } of Object.values(operation.responses)) {
        for (const each of Object.values(content))
          each.schema = replaced(each.schema, text, schemaRef(name)) as Schema
      }
    }
  }
}

function replaced(part: unknown, text: string, reference: object): unknown {
  if (typeof part !== 'object' || part === null) return part
  if (JSON.stringify(part) === text) return reference
  if (Array.isArray(part)) return part.map((each) => replaced(each, text, reference))
  return Object.fromEntries(
    Object.entries(part).map(([key, value]) => [key, replaced(value, text, reference)])
  )
}

/**
 * The schemas that are referenced. better-auth also describes tables that it never answers with.
 */
function referenced(schemas: Record<string, unknown>, paths: Paths): Record<string, unknown> {
  const found = new Set<string>()
  const look = (part: unknown) => {
    for (const [, name = ''] of JSON.stringify(part).matchAll(
      /"#\/components\/schemas\/([^"]+)"/g
    )) {
      if (found.has(name)) continue
      found.add(name)
      look(schemas[name] ?? null)
    }
  }
  look(paths)
  return Object.fromEntries(Object.entries(schemas).filter(([name]) => found.has(name)))
}
