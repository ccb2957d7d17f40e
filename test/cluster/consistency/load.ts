import { setTimeout as sleep } from 'node:timers/promises'
import { ask, call, finalAt, type Answer } from './client.js'
import type { Deployment, ServerNode } from './deployment.js'
import type { History } from './history.js'
import {
  password,
  ticketOf,
  type People,
  type PersonWithSessions,
  type Ticket
} from './fixtures.js'
import type { Random } from './random.js'

const ways = ['cookie', 'bearer', 'get-session'] as const
const revocations = [
  'sign-out',
  'sign-out',
  'delete own',
  'delete other',
  'delete other',
  'delete all but current',
  'revoke-sessions',
  'operator: session',
  'operator: user',
  'ban',
  'delete user',
  'change password'
] as const
export type Revocation = (typeof revocations)[number]

/** An acknowledged revocation and its duration. */
export interface Timing {
  way: Revocation
  node: ServerNode
  start: number
  end: number
  pending: boolean
}

/** A user whose sessions the load uses up. */
interface Person extends PersonWithSessions {
  /** Whether a revocation of all the user's sessions has begun, which may end a new sign-in too. */
  bulkBegun: boolean
}

// Few enough for two shared cores to answer at once: requests that wait in a queue do not race.
const CLIENTS = 6
const WATCHERS = 3
const KEEPERS = 4
/** Revoked sessions that are still checked. */
const GRAVES = 400

/**
 * Many clients at once, each in its own loop: they use sessions, revoke them, and check them again
 * on every node.
 */
export class Load {
  readonly timings: Timing[] = []
  /** The durations of checks that were answered. */
  readonly checkTimes: number[] = []
  readonly statuses = new Map<string, number>()
  readonly revocations = new Map<Revocation, number>()
  signIns = 0
  readonly #deployment: Deployment
  readonly #history: History
  readonly #people: People
  readonly #random: Random
  readonly #graves: Ticket[] = []
  #admins: PersonWithSessions | null = null
  #signingIn = false
  #deadline = 0

  constructor(deployment: Deployment, history: History, people: People, random: Random) {
    this.#deployment = deployment
    this.#history = history
    this.#people = people
    this.#random = random
  }

  /** Runs until `deadline` on this process's monotonic clock, and until every call has ended. */
  async run(deadline: number): Promise<void> {
    this.#deadline = deadline
    this.#admins = await this.#people.make(3, 'admin')
    const keepers = await Promise.all(Array.from({ length: KEEPERS }, () => this.#people.make(2)))
    await Promise.all([
      ...Array.from({ length: CLIENTS }, () => this.#repeat(() => this.#live())),
      ...Array.from({ length: WATCHERS }, () => this.#repeat(() => this.#watchGraves())),
      ...keepers.map((person) => this.#repeat(() => this.#keep(person)))
    ])
  }

  async #repeat(step: () => Promise<void>): Promise<void> {
    while (performance.now() < this.#deadline) {
      await step()
      await sleep(this.#random.between(0, 30))
    }
  }

  /** One user's sessions are used on every node, changed, ended, and checked again. */
  async #live(): Promise<void> {
    const made = await this.#people.make(3).catch(() => null) // the database may be down
    if (!made) {
      await sleep(100)
      return
    }
    const person: Person = { ...made, bulkBegun: false }
    const signingIn = this.#random.chance(0.1) ? this.#signIn(person) : null
    await Promise.all(person.sessions.map((ticket) => this.#use(ticket, 3)))
    if (this.#random.chance(0.4)) await this.#rename(person)
    const asked = new AbortController()
    // Checks go on during the revocation: reads and fills overtake it and are overtaken.
    const asking = person.sessions.map(async (ticket) => {
      while (!asked.signal.aborted) {
        await this.#check(ticket)
        await sleep(this.#random.between(0, 50))
      }
    })
    const way = this.#random.pick(revocations)
    const ended = await Promise.all([
      this.#revoke(person, way),
      ...(this.#random.chance(0.3)
        ? [
            sleep(this.#random.between(0, 30)).then(() =>
              this.#revoke(
                person,
                this.#random.pick(['sign-out', 'delete own', 'operator: session', way])
              )
            )
          ]
        : [])
    ])
    await Promise.all(
      ended
        .flat()
        .flatMap((ticket) => this.#deployment.nodes.map((node) => this.#check(ticket, node)))
    )
    await sleep(this.#random.between(0, 100))
    asked.abort()
    await Promise.all(asking)
    await signingIn
    for (const ticket of ended.flat()) {
      this.#graves.push(ticket)
      if (this.#graves.length > GRAVES) this.#graves.shift()
    }
  }

  async #watchGraves(): Promise<void> {
    if (this.#graves.length > 0) await this.#check(this.#random.pick(this.#graves))
  }

  /** A user who is never signed out, while what a check shows of the user changes. */
  async #keep(person: PersonWithSessions): Promise<void> {
    const dice = this.#random.next()
    if (dice < 0.02) await this.#rename(person)
    else if (dice < 0.03) await this.#changeRole(person)
    else if (dice < 0.04) await this.#changeEmail(person)
    else await this.#check(this.#random.pick(person.sessions))
  }

  async #use(ticket: Ticket, times: number): Promise<void> {
    for (let i = 0; i < times; i++) await this.#check(ticket)
  }

  async #check(ticket: Ticket, node = this.#node()): Promise<void> {
    const check = await ask(node, ticket, this.#random.pick(ways))
    this.#count(check.what.replace(/ \(.*/, ''), check.status)
    if (check.says !== 'unknown') this.checkTimes.push(check.end - check.start)
    this.#history.check(ticket.sessionId, ticket.userId, check)
  }

  /** A call that a session authenticates also tells whether it is active. */
  async #callAs(
    ticket: Ticket,
    node: ServerNode,
    method: 'POST' | 'DELETE',
    path: string,
    body?: unknown
  ): Promise<Answer> {
    const as = this.#random.chance(0.5) ? 'cookie' : 'bearer'
    const answer = await call(node, path, { method, ticket, as, body, timeoutMs: 10_000 })
    const { headers: _headers, body: _body, ...made } = answer
    this.#count(
      `${method} ${path.replace(ticket.sessionId, ':id').replace(/[0-9a-f-]{36}/, ':id')}`,
      answer.status
    )
    // Sign-out says "done" to every client.
    if (path !== '/api/auth/sign-out') {
      const says =
        answer.status === 401
          ? 'inactive'
          : answer.status >= 200 && answer.status < 300
            ? 'active'
            : 'unknown'
      this.#history.check(ticket.sessionId, ticket.userId, { ...made, says })
    }
    return answer
  }

  async #rename(person: PersonWithSessions): Promise<void> {
    const value = this.#history.beginChange(person.userId, 'name')
    const ticket = this.#random.pick(person.sessions)
    const answer = await this.#callAs(ticket, this.#node(), 'POST', '/api/auth/update-user', {
      name: String(value)
    })
    await this.#changed(person, 'name', value, answer)
  }

  async #changeEmail(person: PersonWithSessions): Promise<void> {
    const value = this.#history.beginChange(person.userId, 'email')
    const data = { email: `${person.userId}+${value}@example.com` }
    await this.#changed(
      person,
      'email',
      value,
      await this.#callAs(this.#admin(), this.#node(), 'POST', '/api/auth/admin/update-user', {
        userId: person.userId,
        data
      })
    )
  }

  async #changeRole(person: PersonWithSessions): Promise<void> {
    const value = this.#history.beginChange(person.userId, 'role')
    const body = { userId: person.userId, role: `reader-${value}` }
    await this.#changed(
      person,
      'role',
      value,
      await this.#callAs(this.#admin(), this.#node(), 'POST', '/api/auth/admin/set-role', body)
    )
  }

  async #changed(
    person: PersonWithSessions,
    field: string,
    value: number,
    answer: Answer
  ): Promise<void> {
    const final = finalAt(answer)
    if (final === null) return
    this.#history.acknowledgeChange(person.userId, field, value, answer, final)
    await Promise.all(
      this.#deployment.nodes.map((node) => this.#check(this.#random.pick(person.sessions), node))
    )
  }

  /** Signs in with a password: one at a time, because each costs an Argon2id hash. */
  async #signIn(person: Person): Promise<void> {
    if (this.#signingIn) return
    this.#signingIn = true
    const answer = await call(this.#node(), '/api/auth/sign-in/email', {
      method: 'POST',
      body: { email: person.email, password },
      timeoutMs: 10_000
    })
    this.#signingIn = false
    this.#count('POST /api/auth/sign-in/email', answer.status)
    const signed = answer.headers['set-auth-token']
    if (answer.status !== 200 || typeof signed !== 'string') return
    this.signIns++
    const seen = await call(this.#node(), '/session', {
      ticket: ticketOf(decodeURIComponent(signed), '', person.userId)
    })
    const sessionId = (seen.body as { session?: { id?: string } } | undefined)?.session?.id
    if (seen.status !== 200 || sessionId === undefined) return
    const ticket = ticketOf(decodeURIComponent(signed), sessionId, person.userId)
    // A later revocation covers it. One that has already begun may have ended it.
    if (person.bulkBegun) this.#history.beginRevocation([sessionId])
    person.sessions.push(ticket)
    await this.#use(ticket, 3)
  }

  /**
   * Revokes in one of the possible ways, and again on other nodes until one acknowledges it.
   *
   * @returns what was ended
   */
  async #revoke(person: Person, way: Revocation): Promise<Ticket[]> {
    const [own, ...others] = this.#random.shuffled(person.sessions)
    if (!own) return []
    const isBulk = !['sign-out', 'delete own', 'delete other', 'operator: session'].includes(way)
    const covered = ['sign-out', 'delete own', 'operator: session'].includes(way)
      ? [own]
      : way === 'delete other'
        ? others.slice(0, 1)
        : way === 'delete all but current' || way === 'change password'
          ? others
          : [own, ...others]
    const ids = covered.map((ticket) => ticket.sessionId)
    person.bulkBegun ||= isBulk
    this.#history.beginRevocation(ids)
    for (let attempt = 0; attempt < 4; attempt++) {
      const node = this.#node()
      const answer = await this.#attempt(person, way, own, ids[0] ?? '', node)
      const final = finalAt(answer)
      if (final !== null) {
        this.#history.acknowledge(ids, answer, final)
        this.revocations.set(way, (this.revocations.get(way) ?? 0) + 1)
        this.timings.push({
          way,
          node,
          start: answer.start,
          end: answer.end,
          pending: final > answer.end
        })
        return covered
      }
      // its own session has ended by now
      if (answer.status >= 400 && answer.status < 500) return []
      await sleep(this.#random.between(50, 300))
    }
    return []
  }

  async #attempt(
    person: Person,
    way: Revocation,
    own: Ticket,
    otherId: string,
    node: ServerNode
  ): Promise<Answer> {
    if (way === 'operator: session')
      return this.#operate(node, { kind: 'revoke', sessionId: own.sessionId })
    if (way === 'operator: user')
      return this.#operate(node, { kind: 'revokeUser', userId: person.userId })
    if (way === 'ban')
      return this.#callAs(this.#admin(), node, 'POST', '/api/auth/admin/ban-user', {
        userId: person.userId
      })
    if (way === 'delete own') return this.#callAs(own, node, 'DELETE', `/sessions/${own.sessionId}`)
    if (way === 'delete other') return this.#callAs(own, node, 'DELETE', `/sessions/${otherId}`)
    if (way === 'delete all but current')
      return this.#callAs(own, node, 'DELETE', '/sessions?except=current')
    const body =
      way === 'change password'
        ? { currentPassword: password, newPassword: `${password}, newer` }
        : {}
    return this.#callAs(own, node, 'POST', `/api/auth/${way.replace(' ', '-')}`, body)
  }

  async #operate(node: ServerNode, order: Parameters<ServerNode['order']>[0]): Promise<Answer> {
    const start = performance.now()
    const done = await node.order(order).catch(() => null)
    const answer = {
      what: `operator: ${order.kind}`,
      node: node.name,
      start,
      end: performance.now(),
      headers: {},
      body: undefined
    }
    this.#count(answer.what, done ? 200 : 0)
    if (!done) return { ...answer, status: 0 }
    return done.effectiveBy === null
      ? { ...answer, status: 200 }
      : { ...answer, status: 202, body: { effective_by: done.effectiveBy } }
  }

  #admin(): Ticket {
    return this.#random.pick(this.#admins?.sessions ?? [])
  }

  #node(): ServerNode {
    return this.#random.pick(this.#deployment.nodes)
  }

  #count(what: string, status: number): void {
    this.#history.counts.calls++
    const key = `${what} ${status || 'no answer'}`
    this.statuses.set(key, (this.statuses.get(key) ?? 0) + 1)
  }
}
