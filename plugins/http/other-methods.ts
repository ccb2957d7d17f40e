import type { FastifyInstance } from 'fastify'
import { AppError } from '../../src/errors.js'

const methods = ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT']

/**
 * Adds a 405 to the routes of a scope for the methods that they lack, with `Allow` (RFC 9110
 * 15.5.6). OPTIONS stays with CORS.
 *
 * @returns adds these answers; call it when every route of the scope has been added
 */
export function noteMethods(app: FastifyInstance): () => void {
  const allowed = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const known = allowed.get(url) ?? new Set()
    for (const each of [method].flat()) known.add(each)
    allowed.set(url, known)
  })
  return () => {
    for (const [url, known] of allowed) {
      const others = methods.filter((method) => !known.has(method))
      if (others.length === 0 || url.endsWith('*')) continue
      const allow = methods.filter((method) => known.has(method)).join(', ')
      app.route({
        url: url.slice(app.prefix.length),
        method: others,
        exposeHeadRoute: false,
        schema: { hide: true },
        // Before anything reads a body or looks for a session.
        onRequest: async (_request, reply) => {
          reply.header('allow', allow)
          throw new AppError('method_not_allowed')
        },
        handler: () => {
          throw new Error('answered before')
        }
      })
    }
  }
}
