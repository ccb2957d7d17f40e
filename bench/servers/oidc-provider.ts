import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { Provider, type Adapter, type AdapterPayload } from 'oidc-provider'
import { serve, setting } from './child.js'

const redis = new Redis(setting('REDIS_URL'), { enableAutoPipelining: true })

/**
 * The part of oidc-provider's store interface that introspection and the client credentials grant
 * use.
 */
class RedisAdapter implements Adapter {
  readonly #model: string

  constructor(model: string) {
    this.#model = model
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn: number): Promise<void> {
    await redis.set(this.#keyOf(id), JSON.stringify(payload), 'EX', expiresIn)
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const text = await redis.get(this.#keyOf(id))
    return text === null ? undefined : (JSON.parse(text) as AdapterPayload)
  }

  async destroy(id: string): Promise<void> {
    await redis.del(this.#keyOf(id))
  }

  async consume(): Promise<void> {}
  async revokeByGrantId(): Promise<void> {}
  async findByUid(): Promise<undefined> {
    return undefined
  }
  async findByUserCode(): Promise<undefined> {
    return undefined
  }

  #keyOf(id: string): string {
    return `oidc:${this.#model}:${id}`
  }
}

const [id = '', secret = ''] = setting('GATEWAY_CLIENTS').split(':')
const provider = new Provider('http://localhost:3000', {
  adapter: RedisAdapter,
  clients: [
    {
      client_id: id,
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: []
    }
  ],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    devInteractions: { enabled: false }
  }
})

await serve(async ({ host, port }) => {
  const server = provider.listen(port, host)
  await once(server, 'listening')
  return `http://${host}:${(server.address() as AddressInfo).port}`
})
