import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { refusals } from '../../http/problem-schema.js'

const Status = Type.Object({ status: Type.String() })

/**
 * For orchestrators. `live` while the process runs. `ready` while it accepts requests and the store
 * answers and is compatible. Redis may be down.
 */
const health: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (app, { holdfast }) => {
  app.get(
    '/health/live',
    {
      schema: {
        summary: 'Whether the process runs',
        tags: ['Operation'],
        response: { 200: Status }
      }
    },
    async () => ({ status: 'live' })
  )

  app.get(
    '/health/ready',
    {
      schema: {
        summary: 'Whether the process takes requests',
        description:
          '`503` with the cause `draining` after SIGTERM, or `store_unavailable` while the database is away, takes no writes, or has an older schema.',
        tags: ['Operation'],
        response: { 200: Status, ...refusals(503) }
      }
    },
    async () => {
      if (!holdfast.accepting())
        throw new AppError(holdfast.draining ? 'draining' : 'store_unavailable')
      await holdfast.ping()
      return { status: 'ready' }
    }
  )
}

export default health
