import type { Server, ServerResponse } from 'node:http'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

interface Answer {
  method: string
  path: string
  status: number
  type: string
  body: string
}

/** The part of an OpenAPI document that answers are checked against. */
export interface Described {
  components?: object
  paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema?: object }> }> }>
  >
}

/** Routes that serve documents, numbers or pages, and are not part of the API. */
const notDescribed =
  /^\/$|^\/(openapi\.json|docs|metrics|sign-in|sign-up|sign-out|second-factor|forgot-password|reset-password|verify-email|not-me|account|admin|error)(\/|$)/

/** Other methods, for example WebDAV's, cannot occur in an OpenAPI document. */
const describable = new Set(['get', 'put', 'post', 'delete', 'patch', 'trace'])

/** Longest body that is checked. */
const LONGEST = 200_000

/** Records everything that a server answers, as sent on the wire. */
export class Answers {
  readonly #answers: Answer[] = []

  constructor(server: Server) {
    server.prependListener('request', (request, response: ServerResponse) => {
      const chunks: Buffer[] = []
      const keep = (chunk: unknown) => {
        if (typeof chunk === 'string' || chunk instanceof Uint8Array)
          chunks.push(Buffer.from(chunk as string))
      }
      let type = ''
      spy(response, 'write', ([chunk]) => keep(chunk))
      spy(response, 'end', ([chunk]) => keep(chunk))
      // Node does not keep headers that are only given here.
      spy(response, 'writeHead', (args) => {
        const headers = args.at(-1)
        if (typeof headers === 'object' && headers !== null)
          type = (headers as Record<string, string>)['content-type'] ?? ''
      })
      response.once('finish', () => {
        const path = (request.url ?? '').replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] ?? ''
        type ||= String(response.getHeader('content-type') ?? '')
        this.#answers.push({
          method: request.method?.toLowerCase() ?? '',
          path,
          status: response.statusCode,
          type: type.split(';', 1)[0] ?? '',
          body: Buffer.concat(chunks).toString()
        })
      })
    })
  }

  /** Answers that the document does not describe: a route, a status, a media type, a body. */
  undocumented(document: Described): string[] {
    const routes = Object.entries(document.paths)
      .map(([path, operations]) => ({ path, operations, pattern: patternOf(path) }))
      // Named paths come before those with a parameter.
      .toSorted((a, b) => Number(a.path.includes('{')) - Number(b.path.includes('{')))
    const ajv = formats.default(new Ajv2020({ strict: false, allErrors: false }))
    const validators = new Map<string, ValidateFunction>()
    const wrong = new Set<string>()
    for (const { method, path, status, type, body } of this.#answers) {
      // GET /sessions/check is a method that this path lacks, and not GET /sessions/{id}.
      const isNamed = path in document.paths
      const route = routes.find(
        ({ path: template, pattern, operations }) =>
          (isNamed ? template === path : pattern.test(path)) && method in operations
      )
      if (!route) {
        // Without a route, only the plain refusals are possible. That also holds for the routes
        // that proxies ask.
        if (
          status < 400 &&
          !notDescribed.test(path) &&
          method !== 'options' &&
          method !== 'head' &&
          describable.has(method)
        )
          wrong.add(`${method} ${path} answered ${status} and is not described`)
        continue
      }
      // without a body, or not that path after all
      if (status === 304 || ((status === 404 || status === 405) && path.endsWith('/'))) continue
      const name = `${method} ${route.path} ${status}`
      const described = route.operations[method]?.responses[status]
      if (!described) {
        // A proxy's request with a redirect, or a refusal before there was a route.
        if (status !== 500 && status !== 431 && status !== 414)
          wrong.add(`${name}: the status is not described`)
        continue
      }
      if (body === '' || body.length > LONGEST || !type.includes('json')) continue
      const schema = described.content?.[type]?.schema
      if (!schema) {
        wrong.add(`${name}: ${type} is not described`)
        continue
      }
      let validate = validators.get(name + type)
      if (!validate)
        validators.set(
          name + type,
          (validate = ajv.compile({ ...schema, components: document.components }))
        )
      if (!validate(JSON.parse(body)))
        wrong.add(`${name}: ${ajv.errorsText(validate.errors)} in ${body.slice(0, 300)}`)
    }
    return [...wrong]
  }
}

function spy(
  response: ServerResponse,
  method: 'write' | 'end' | 'writeHead',
  see: (args: unknown[]) => void
): void {
  const original = response[method].bind(response) as (...args: unknown[]) => never
  response[method] = (...args: unknown[]) => {
    see(args)
    return original(...args)
  }
}

function patternOf(path: string): RegExp {
  return new RegExp(
    `^${path
      .replaceAll(/[.*+?^$()|[\]\\]/g, String.raw`\$&`)
      .replaceAll('{rest}', '.*')
      .replaceAll(/\{[^}]+\}/g, '[^/]+')}/?$`
  )
}
