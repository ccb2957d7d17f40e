import { generateKeyPairSync, randomUUID } from 'node:crypto'
import formBody from '@fastify/formbody'
import jwt from '@fastify/jwt'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Pool } from 'pg'
import { serve, setting } from './child.js'

/*
 * The minimum cost of any server here: Fastify alone, and with one question to one store. Each
 * route answers as ours does. Routes with a store ask it in the cheapest form, and parse nothing.
 */
const app = Fastify({ logger: { level: 'warn' } })
await app.register(formBody)
const { privateKey, publicKey } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' }
})
await app.register(jwt, {
  secret: { private: privateKey, public: publicKey },
  sign: { algorithm: 'ES256', expiresIn: 300 }
})
const identity = JSON.parse(setting('BENCH_IDENTITY')) as Record<string, string>
const [headers, introspection] = JSON.parse(setting('BENCH_INTROSPECTION')) as [
  Record<string, string>,
  Record<string, unknown>
]
const redis = new Redis(setting('REDIS_URL'), { enableAutoPipelining: true })
const pool = new Pool({
  connectionString: setting('DATABASE_URL'),
  max: Number(setting('DATABASE_POOL_SIZE'))
})

const select = `SELECT s.*, u."id" AS "u_id", u."name" AS "u_name", u."email" AS "u_email", u."emailVerified" AS "u_emailVerified", u."role" AS "u_role",
  u."banned" AS "u_banned", u."banExpires" AS "u_banExpires", clock_timestamp() AS "now"
  FROM "session" s LEFT JOIN "user" u ON u."id" = s."userId" WHERE s."id" = $1`
const update = `UPDATE "session" SET "refreshGeneration" = "refreshGeneration" + 1, "previousRefreshHash" = "refreshHash", "refreshHash" = $2,
  "rotatedAt" = clock_timestamp(), "version" = "version" + 1 WHERE "id" = $1 RETURNING *`

const event = `WITH updated AS (${update}) INSERT INTO "session_event" ("sessionId", "userId", "type") SELECT "id", "userId", 'refreshed' FROM updated RETURNING "sessionId", "userId"`
const copy = 'x'.repeat(600)

interface ById {
  Params: { id: string }
}

app.all('/verify', async (_request, reply) => reply.headers(identity).send())

app.post('/oauth2/introspect', async (_request, reply) => {
  reply.headers(headers)
  return introspection
})

app.get<ById>('/redis/:id', async (request, reply) => {
  if ((await redis.get(request.params.id)) === null) return reply.code(404).send()
  return reply.headers(identity).send()
})

app.get<ById>('/select/:id', async (request, reply) => {
  const { rows } = await pool.query({ name: 'select', text: select, values: [request.params.id] })
  return rows.length === 1 ? reply.headers(identity).send() : reply.code(404).send()
})

app.get<ById>('/update/:id', async (request, reply) => {
  const { rows } = await pool.query<{ id: string; refreshHash: string }>({
    name: 'update',
    text: update,
    values: [request.params.id, request.id]
  })
  const [row] = rows
  if (!row) return reply.code(404).send()
  return { session_id: row.id, refresh_token: row.refreshHash }
})

// The minimum of any refresh: a form, the row and its event, the copy in Redis, an access token. It
// does not check the token.
app.post<ById & { Body: { grant_type: string } }>('/refresh/:id', async (request, reply) => {
  const hash = request.id
  const { rows } = await pool.query<{ sessionId: string; userId: string }>({
    name: 'event',
    text: event,
    values: [request.params.id, hash]
  })
  const [row] = rows
  if (!row) return reply.code(404).send()
  redis.set(row.sessionId, copy).catch((error: unknown) => {
    request.log.error(error)
  })
  const claims = {
    iss: 'http://localhost:3000',
    aud: 'http://localhost:3000',
    sub: row.userId,
    client_id: request.body.grant_type,
    jti: randomUUID(),
    sid: row.sessionId,
    roles: ['user'],
    amr: ['pwd']
  }
  return { access_token: app.jwt.sign(claims), token_type: 'Bearer', refresh_token: hash }
})

await serve((at) => app.listen(at))
