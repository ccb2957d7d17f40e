import {
  assert,
  asyncModelRun,
  asyncProperty,
  boolean,
  commands as histories,
  constant,
  constantFrom,
  nat,
  record,
  type Arbitrary,
  type AsyncCommand
} from 'fast-check'
import t, { type Test } from 'tap'
import { build, start, type Running } from '../support/server.js'
import {
  elapse,
  makeFamilies,
  outcomeOf,
  refresh,
  type TestFamily
} from '../support/refresh-fixtures.js'

/*
 * Compares the rotation with a reference that is small enough to read: random clients who keep or
 * lose their answers, thieves who copy a client's token, retries with and without keys, clocks that
 * step, a server that restarts, a sign-out.
 */
const GRACE_SECONDS = 30

/** How a session's family should behave. Tokens are named by their generation. */
class Reference {
  generation = 0
  now = 0
  rotatedAt = -Infinity
  key: string | null = null
  ended: string | null = null

  refresh(presented: number, key: string | null): { outcome: string; generation?: number } {
    if (this.ended) return { outcome: `400 invalid_grant ${this.ended}` }
    if (presented === this.generation) {
      Object.assign(this, { generation: presented + 1, rotatedAt: this.now, key })
      return { outcome: '200', generation: this.generation }
    }
    const isRecent = this.now - this.rotatedAt <= GRACE_SECONDS
    if (presented === this.generation - 1 && (isRecent || (key !== null && key === this.key)))
      return { outcome: '200', generation: this.generation }
    this.ended = 'refresh_reused'
    return { outcome: '400 invalid_grant refresh_reused' }
  }
}

/** The same family twice: in the reference, and on the server. */
interface System {
  family: TestFamily
  /** The token of each generation, as it was first seen. */
  tokens: string[]
  /** The generation that each client holds. */
  clients: number[]
}

type Command = AsyncCommand<Reference, System>

const keys = [null, 'attempt-1', 'attempt-2'] as const

function commandsOf(server: { running: Running }): Arbitrary<Command>[] {
  const client = nat(3)
  const refreshing = record({ client, key: constantFrom(...keys), lost: boolean() }).map(
    ({ client, key, lost }): Command => ({
      check: () => true,
      async run(model, system) {
        const presented = system.clients[client] ?? 0
        const answer = await refresh(
          server.running.url,
          system.tokens[presented] ?? '',
          key === null ? {} : { key }
        )
        const expected = model.refresh(presented, key)
        if (outcomeOf(answer) !== expected.outcome)
          throw new Error(`${outcomeOf(answer)} instead of ${expected.outcome}`)
        if (expected.generation === undefined) return
        // One successor for each token, however often it is asked for.
        const known = (system.tokens[expected.generation] ??= answer.body.refresh_token)
        if (answer.body.refresh_token !== known) throw new Error('another successor')
        if (!lost) system.clients[client] = expected.generation
      },
      toString: () =>
        `client ${client} refreshes${key ? ` with ${key}` : ''}${lost ? ', the answer is lost' : ''}`
    })
  )
  return [
    // Listed more than once, so that it happens more often.
    refreshing,
    refreshing,
    refreshing,
    refreshing,
    refreshing,
    refreshing,
    record({ thief: client, victim: client }).map(({ thief, victim }): Command => ({
      check: () => true,
      async run(_model, system) {
        system.clients[thief] = system.clients[victim] ?? 0
      },
      toString: () => `client ${thief} steals the token of ${victim}`
    })),
    // Multiples of 8 s stay clear of the window's end, which the duration of the test itself would
    // blur.
    constantFrom(-16, -8, 8, 8, 16, 32, 3_600).map((seconds): Command => ({
      check: () => true,
      async run(model, system) {
        await elapse(server.running.app.holdfast.prisma, system.family.sessionId, seconds)
        model.now += seconds
      },
      toString: () => `the clock moves by ${seconds} s`
    })),
    record({ client, bit: nat(8 * 72 - 1) }).map(({ client, bit }): Command => ({
      check: () => true,
      async run(model, system) {
        const bytes = Buffer.from(
          (system.tokens[system.clients[client] ?? 0] ?? '').slice(5),
          'base64url'
        )
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const outcome = outcomeOf(
          await refresh(server.running.url, `hrt1_${bytes.toString('base64url')}`)
        )
        if (outcome !== '400 invalid_grant refresh_malformed')
          throw new Error(`a forged token was answered ${outcome}`)
        void model
      },
      toString: () => `somebody changes bit ${bit} of the token of client ${client}`
    })),
    constant<Command>({
      check: (model) => !model.ended,
      async run(model, system) {
        await server.running.app.holdfast.revoker.revoke(
          [system.family.sessionId],
          null,
          'signed_out'
        )
        model.ended = 'session_revoked'
      },
      toString: () => 'the session is signed out'
    })
  ]
}

async function check(
  t: Test,
  server: { running: Running },
  extra: Arbitrary<Command>[],
  numRuns: number
): Promise<void> {
  const { app, options } = server.running
  const families = await makeFamilies(app.holdfast.prisma, options.authSecret ?? '', numRuns)
  const steps: number[] = []
  await assert(
    asyncProperty(
      histories([...commandsOf(server), ...extra], { maxCommands: 40, size: '+1' }),
      async (commands) => {
        // Each run, and each step of shrinking, has a family of its own.
        const [family] =
          families.length > 0
            ? families.splice(0, 1)
            : await makeFamilies(server.running.app.holdfast.prisma, options.authSecret ?? '', 1)
        if (!family) throw new Error('no family')
        const system: System = { family, tokens: [family.refreshToken], clients: [0, 0, 0, 0] }
        const model = new Reference()
        await asyncModelRun(() => ({ model, real: system }), commands)
        steps.push(model.generation)
        await audit(t, server.running, system, model)
      }
    ),
    { numRuns }
  )
  // A few histories may all end early.
  const grown = numRuns > 10 ? 2 : 1
  t.ok(
    steps.some((generation) => generation >= grown),
    'families grew',
    { generations: steps }
  )
}

/** Checks the store and the session's events after a run. */
async function audit(
  t: Test,
  { app }: Running,
  { family }: System,
  model: Reference
): Promise<void> {
  const row = await app.holdfast.prisma.session.findUniqueOrThrow({
    where: { id: family.sessionId }
  })
  const replays = await app.holdfast.prisma.sessionEvent.count({
    where: { sessionId: family.sessionId, type: 'refresh_replayed' }
  })
  if (
    row.refreshGeneration !== model.generation ||
    replays > Math.min(model.generation, row.replayCount)
  )
    t.fail('the store counts the same generations, and has one replay event for each at most', {
      row,
      replays,
      model
    })
  const reason = model.ended === 'session_revoked' ? 'signed_out' : model.ended
  if (row.revokedReason !== reason)
    t.fail('the session ended for the reason that the reference has', { row, model })
}

t.test('any history of a refresh family is as the reference has it', async (t) => {
  const server = { running: await build(t, { logLevel: 'silent' }) }
  await check(t, server, [], 60)
})

t.test('and so with servers that end and come back', async (t) => {
  const server = { running: await build(t, { logLevel: 'silent' }) }
  const restart = constant<Command>({
    check: () => true,
    async run() {
      const { app, options } = server.running
      await app.close()
      server.running = await start(t, options)
    },
    toString: () => 'the server is restarted'
  })
  await check(t, server, [restart], 6)
})
