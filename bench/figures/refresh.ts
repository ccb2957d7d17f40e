import type { Load, LoadRequest } from '../drive.js'
import { loading, share, type Family } from '../figure.js'
import type { BenchServer } from '../server.js'
import { makeSessions, parts, type Ticket } from '../sessions.js'

const CONNECTIONS = 16

const form = { 'content-type': 'application/x-www-form-urlencoded' }
const isTokenSet = (body: string) => body.startsWith('{"access_token":"ey')
const isUpdated = (body: string) => body.startsWith('{"session_id":"')

/**
 * The cost of a refresh, compared with a route that only updates the row, and one that does the
 * minimum of any refresh.
 */
export const refresh: Family = {
  name: 'refresh',
  async prepare(stage) {
    const databaseUrl = await stage.database('refresh')
    const tickets = await makeSessions(databaseUrl, 2 * CONNECTIONS)
    const server = await stage.start('holdfast', databaseUrl)
    const bare = await stage.bare(databaseUrl, server, tickets[0]?.bearer ?? '')
    const [ours, theirs] = [tickets.slice(0, CONNECTIONS), tickets.slice(CONNECTIONS)]
    const load = (on: BenchServer, requests: LoadRequest[], isRight: Load['isRight']) =>
      loading(stage, {
        server: on,
        connections: CONNECTIONS,
        requests: parts(requests, CONNECTIONS),
        isRight,
        warmUpMs: 4_000
      })
    const updates = theirs.map(({ sessionId }): LoadRequest => ({
      method: 'GET',
      path: `/update/${sessionId}`
    }))
    const least = theirs.map(({ sessionId }): LoadRequest => ({
      method: 'POST',
      path: `/refresh/${sessionId}`,
      headers: form,
      body: 'grant_type=refresh_token'
    }))
    return {
      'bare UPDATE … RETURNING': await load(bare, updates, isUpdated),
      'bare form, UPDATE, event, copy and token': await load(bare, least, isTokenSet),
      refresh: await load(server, ours.map(chain), isTokenSet)
    }
  },
  figures: [
    {
      name: 'refreshes per second ÷ a bare route with one UPDATE … RETURNING',
      bound: { atLeast: 0.6 },
      value: share('refresh', 'bare UPDATE … RETURNING')
    },
    // The rest of the time.
    {
      name: 'the same of a bare route with form, UPDATE, event, copy in Redis and access token',
      bound: null,
      value: share('bare form, UPDATE, event, copy and token', 'bare UPDATE … RETURNING')
    }
  ]
}

/**
 * The refreshes of one session, each with the token from the one before. A run that ends early
 * leaves its last token used, and it is answered again.
 */
function chain({ refreshToken: first }: Ticket): LoadRequest {
  let refreshToken = first
  return {
    method: 'POST',
    path: '/oauth2/token',
    headers: form,
    setupRequest: (request) => ({
      ...request,
      body: new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: refreshToken
      }).toString()
    }),
    onResponse: (status, body) => {
      if (status === 200)
        refreshToken = (JSON.parse(body) as { refresh_token: string }).refresh_token
    }
  }
}
