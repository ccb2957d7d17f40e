import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { password } from '../../support/server.js'

/** An answer as it came over the wire. */
export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  cookies: string[]
  body: string
}

/** A request as it goes over the wire. */
export interface WireRequest {
  method: string
  /** The path with its query. */
  path: string
  headers: Record<string, string>
  body?: string
}

/** A user with a browser, who may have an account. */
export interface Actor {
  name: string
  email: string
  id: string
  /** The signed session token, as `set-auth-token` gave it. */
  bearer: string
  /** The `token` of the sign-up's session in the list of sessions. */
  listedToken: string
  accountId: string
  cookies: Map<string, string>
  /** Codes, tokens and ids from earlier answers. */
  notes: Record<string, string>
}

/** One of the two servers that are compared. */
export class Side {
  readonly url: string
  /** The prefix of its cookie names. */
  readonly cookiePrefix: string
  readonly #agent = new Agent({ keepAlive: true })
  readonly #makeAdmin: (userId: string) => Promise<void>

  constructor({
    url,
    cookiePrefix,
    makeAdmin
  }: Pick<Side, 'url' | 'cookiePrefix'> & { makeAdmin: (userId: string) => Promise<void> }) {
    this.url = url
    this.cookiePrefix = cookiePrefix
    this.#makeAdmin = makeAdmin
  }

  /** Sends a request with only these headers, beside those that HTTP requires. */
  send({ method, path, headers, body }: WireRequest): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      const outgoing = request(new URL(path, this.url), {
        agent: this.#agent,
        method,
        headers: { ...headers, ...length }
      })
      outgoing.on('error', reject)
      outgoing.on('response', (response) => {
        const { statusCode = 0, headers } = response
        text(response).then(
          (body) =>
            resolve({ status: statusCode, headers, cookies: headers['set-cookie'] ?? [], body }),
          reject
        )
      })
      outgoing.end(body)
    })
  }

  /** A user without an account and without cookies. */
  visitor(name: string): Actor {
    const email = `${name}@example.com`
    return {
      name,
      email,
      id: '',
      bearer: '',
      listedToken: '',
      accountId: '',
      cookies: new Map(),
      notes: {}
    }
  }

  /** A user who has just signed up. */
  async person(name: string): Promise<Actor> {
    const actor = this.visitor(name)
    const answer = await this.post('/sign-up/email', {
      name: 'Ada Lovelace',
      email: actor.email,
      password
    })
    const { user } = JSON.parse(answer.body) as { user: { id: string } }
    keepCookies(actor, answer)
    const [sessions, accounts] = [
      await this.get(actor, '/list-sessions'),
      await this.get(actor, '/list-accounts')
    ]
    return {
      ...actor,
      id: user.id,
      bearer: String(answer.headers['set-auth-token']),
      listedToken: (sessions as [{ token: string }])[0].token,
      accountId: (accounts as [{ id: string }])[0].id
    }
  }

  async administrator(name: string): Promise<Actor> {
    const actor = await this.person(name)
    await this.#makeAdmin(actor.id)
    return actor
  }

  /** Posts JSON as a program does: without cookies and without an origin. */
  async post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const answer = await this.send({
      method: 'POST',
      path: `/api/auth${path}`,
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body)
    })
    if (answer.status !== 200)
      throw new Error(`${this.url}${path} answered ${answer.status}: ${answer.body}`)
    return answer
  }

  async get(actor: Actor, path: string): Promise<unknown> {
    const answer = await this.send({
      method: 'GET',
      path: `/api/auth${path}`,
      headers: { cookie: cookieHeader(actor) }
    })
    if (answer.status !== 200)
      throw new Error(`${this.url}${path} answered ${answer.status}: ${answer.body}`)
    return JSON.parse(answer.body)
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** Applies the cookies of an answer as a browser does. */
export function keepCookies({ cookies }: Actor, answer: Answer): void {
  for (const cookie of answer.cookies) {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
    if (/; max-age=0/i.test(cookie)) cookies.delete(name)
    else cookies.set(name, value)
  }
}

export function cookieHeader({ cookies }: Actor): string {
  return [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
}
