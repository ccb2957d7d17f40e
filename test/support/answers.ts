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

/** The part of an OpenAPI document that answers are held against. */
export interface Described {
  components?: object
  paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema?: object }> }> }>
  >
}

/** Routes that serve documents or numbers, and are not part of the interface. */
const notDescribed = /^\/(openapi\.json|docs|metrics)(\/|$)/

/** Others, WebDAV's say, cannot stand in an OpenAPI document. */
const describable = new Set(['get', 'put', 'post', 'delete', 'patch', 'trace'])

/** Longest body that is looked at. */
const LONGEST = 200_000

/** Listens to everything that a server answers, as it goes out on the wire. */
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
      // Headers that are given here and not before are not kept by Node.
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

  /**
   * What was answered and the document does not describe: a route, a status, a type of content, a
   * body.
   */
  undocumented(document: Described): string[] {
    const routes = Object.entries(document.paths)
      .map(([path, operations]) => ({ path, operations, pattern: patternOf(path) }))
      // What is named counts before what is a parameter.
      .toSorted((a, b) => Number(a.path.includes('{')) - Number(b.path.includes('{')))
    const ajv = formats.default(new Ajv2020({ strict: false, allErrors: false }))
    const validators = new Map<string, ValidateFunction>()
    const wrong = new Set<string>()
    for (const { method, path, status, type, body } of this.#answers) {
      const route = routes.find(
        ({ pattern, operations }) => pattern.test(path) && method in operations
      )
      if (!route) {
        // Where there is no route, and on what asks about one, only the plain refusals are left.
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
      // no body of its own, and not that path after all
      if (status === 304 || ((status === 404 || status === 405) && path.endsWith('/'))) continue
      const name = `${method} ${route.path} ${status}`
      const described = route.operations[method]?.responses[status]
      if (!described) {
        // Asked with a redirect, or refused before there was a route.
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
