import type { LoadRequest } from '../drive.js'
import { loading, share, type Family } from '../figure.js'
import { makeSessions, parts } from '../sessions.js'
import { gateway } from '../stage.js'
import { issueElsewhere } from '../peers.js'

const SESSIONS = 1_000
const CONNECTIONS = 16

const basic = `Basic ${Buffer.from(`${gateway.id}:${gateway.secret}`).toString('base64')}`
const isActive = (body: string) => body.startsWith('{"active":true') && body.includes('"client_id"')

/**
 * The cost of a gateway's introspection, compared with a route that parses the same form and gives
 * the same answer, and with oidc-provider.
 */
export const introspection: Family = {
  name: 'introspection, warm',
  async prepare(stage) {
    const databaseUrl = await stage.database('introspection')
    const tickets = await makeSessions(databaseUrl, SESSIONS)
    const requests = tickets.map(({ bearer }) => asking('/oauth2/introspect', bearer))
    const holdfast = await stage.start('holdfast', databaseUrl)
    const bare = await stage.bare(databaseUrl, holdfast, tickets[0]?.bearer ?? '')
    const provider = await stage.start('oidc-provider', databaseUrl)
    const theirs = asking('/token/introspection', await issueElsewhere(provider.url, basic))
    const common = {
      connections: CONNECTIONS,
      requests: parts(requests, CONNECTIONS),
      isRight: isActive
    }
    return {
      floor: await loading(stage, { ...common, server: bare }),
      introspection: await loading(stage, { ...common, server: holdfast }),
      'oidc-provider': await loading(stage, { ...common, server: provider, requests: [theirs] })
    }
  },
  figures: [
    {
      name: 'POST /oauth2/introspect, warm ÷ floor with the same body parsing and answer',
      bound: { atLeast: 0.8 },
      value: share('introspection', 'floor')
    },
    {
      name: 'POST /oauth2/introspect, warm ÷ oidc-provider on Redis',
      bound: null,
      value: share('introspection', 'oidc-provider')
    }
  ]
}

function asking(path: string, token: string): LoadRequest {
  return {
    method: 'POST',
    path,
    headers: { authorization: basic, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ token }).toString()
  }
}
