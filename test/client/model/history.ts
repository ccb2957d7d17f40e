import { array, constantFrom, nat, record, tuple, type Arbitrary } from 'fast-check'
import { createHoldfast } from '../../../src/client/client.js'
import { Device, LATEST_MS, Process, type DeviceKind } from './device.js'
import { ModelServer } from './server.js'
import { VirtualTime } from './time.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** One thing that happens. `which` chooses a process, `much` how far. */
interface Happening {
  what: keyof typeof weights
  which: number
  much: number
}

/** How often each happens, beside the others. */
const weights = {
  getToken: 12,
  session: 4,
  pass: 10,
  open: 3,
  kill: 1,
  'kill soon': 2,
  jump: 2,
  sleep: 2,
  signOut: 1,
  signIn: 2,
  'server ends it': 1,
  'fill storage': 1,
  'empty storage': 2
}

const happenings = Object.entries(weights).flatMap(([what, weight]) =>
  Array.from<keyof typeof weights>({ length: weight }).fill(what as keyof typeof weights)
)

const passes = [50, 1_000, 6_000, 21_000, 61_000, 4 * MINUTE, 14 * MINUTE, HOUR, 9 * HOUR]

/** A history of one person on one device. */
export interface History {
  kind: DeviceKind
  lifeSeconds: number
  happenings: Happening[]
  /** What networks, storages and chance do. Where it ends, all goes well. */
  fates: number[]
}

export const histories: Arbitrary<History> = record({
  kind: record({
    storage: constantFrom('tabs', 'app'),
    locks: constantFrom('working', 'hanging', 'missing'),
    wrongClock: constantFrom('wall', 'monotonic')
  }),
  lifeSeconds: constantFrom(300, 120, 900),
  happenings: array(
    tuple(constantFrom(...happenings), nat(3), nat(passes.length - 1)).map(
      ([what, which, much]) => ({ what, which, much })
    ),
    { minLength: 4, maxLength: 40, size: 'max' }
  ),
  fates: array(nat(100_000), { maxLength: 400, size: 'max' })
})

/** What was seen over all histories, so that a test can tell whether they came about. */
export interface Seen {
  refreshes: number
  signOuts: number
  ends: number
  stale: number
}

/**
 * Runs one history, then lets all go well for two hours.
 *
 * @throws Error where the client has broken a promise
 */
export async function run(
  { kind, lifeSeconds, happenings: all, fates }: History,
  create: typeof createHoldfast = createHoldfast,
  seen: Seen = { refreshes: 0, signOuts: 0, ends: 0, stale: 0 }
): Promise<void> {
  const time = new VirtualTime()
  time.install()
  const run = new Run(kind, lifeSeconds, time, fates, create, seen)
  try {
    await run.begin()
    for (const happening of all) await run.happen(happening)
    await run.finish()
  } finally {
    for (const process of run.device.processes) process.kill()
    time.restore()
  }
}

class Run {
  readonly device: Device
  readonly #server: ModelServer
  /** The session that is signed in here. Null where that is none, undefined where it is not known. */
  #current: string | null | undefined = null
  /** Sessions that must have ended on the server when all has gone well. */
  readonly #mustEnd = new Map<string, Process>()
  /** What went wrong first. */
  #broken: Error | null = null
  #signOuts = 0
  readonly #time: VirtualTime
  readonly #create: typeof createHoldfast
  readonly #seen: Seen

  constructor(
    kind: DeviceKind,
    lifeSeconds: number,
    time: VirtualTime,
    fates: number[],
    create: typeof createHoldfast,
    seen: Seen
  ) {
    this.#time = time
    this.#create = create
    this.#seen = seen
    const tape = [...fates]
    this.#server = new ModelServer(() => time.now, lifeSeconds)
    this.device = new Device(kind, time, this.#server, (limit) =>
      this.#isCalm ? 0 : (tape.shift() ?? 0) % limit
    )
    this.#tape = tape
    this.#server.onRevocation = (id) => {
      if (id === this.#current) this.#break(`a sign-out ended ${id}, which is signed in`)
    }
  }

  readonly #tape: number[]
  #isCalm = true

  async begin(): Promise<void> {
    this.#open()
    await this.#signIn()
    this.#isCalm = false
  }

  async happen({ what, which, much }: Happening): Promise<void> {
    const { device } = this
    if (device.processes.size === 0) this.#open()
    const process = [...device.processes][which % Math.max(1, device.processes.size)]
    switch (what) {
      case 'getToken':
        void this.#getToken(process, much > 5 ? { minTtl: 600 } : {})
        break
      case 'session':
        void process?.client.session().catch(() => {})
        break
      case 'pass':
        await this.#time.pass(passes[much] ?? 0)
        break
      case 'open':
        if (device.kind.storage === 'app') for (const each of device.processes) each.kill()
        if (device.processes.size < 4) this.#open()
        break
      case 'kill':
        process?.kill()
        break
      case 'kill soon':
        if (process) process.dieAfter = much
        break
      case 'jump':
        // A client cannot tell a clock that is set from sleep, and must not wait after sleep.
        while (device.lastSentAt + LATEST_MS > this.#time.now)
          await this.#time.pass(device.lastSentAt + LATEST_MS - this.#time.now)
        this.#jump((much - 4) * HOUR - which * 11 * MINUTE)
        break
      case 'sleep':
        await this.#sleep(passes[much] ?? 0)
        break
      case 'signOut':
        await this.#signOut(process)
        break
      case 'signIn':
        await this.#signIn(process)
        break
      case 'server ends it':
        for (const id of this.#server.families.keys())
          this.#server.end(id, much % 2 ? 'admin' : 'user_banned')
        break
      case 'fill storage':
        // A full one takes a text when another has gone, a locked one takes none.
        device.room = much % 2 ? 0 : -Infinity
        break
      case 'empty storage':
        device.room = Infinity
    }
    await this.#time.pass(1)
    this.#audit()
  }

  /** Everything goes well from now on. Asks every process, and a new one, what it believes. */
  async finish(): Promise<void> {
    this.#tape.length = 0
    this.device.room = Infinity
    for (const process of this.device.processes) process.dieAfter = Infinity
    await this.#time.pass(2 * HOUR)
    for (const [id, process] of this.#mustEnd)
      if (
        [process, this.device.onlyIn.get(id)].some((each) => each?.isDead === false) &&
        this.#server.isAlive(id)
      )
        this.#break(`the sign-out of ${id} was not repeated`)
    if (this.device.kind.storage === 'app')
      for (const process of this.device.processes) process.kill()
    this.#open()
    await this.#time.pass(5 * MINUTE)
    this.#audit()
    for (const process of this.device.processes) {
      const given: (string | null)[] = []
      for (let attempt = 0; attempt < 3 && given.length === 0; attempt++) {
        void process.client.getToken().then(
          (token) => given.push(token),
          () => {}
        )
        await this.#time.pass(2 * MINUTE)
      }
      const [token] = given
      if (token === undefined) this.#break('no token although all goes well')
      const id = token ? (this.#server.accessTokens.get(token)?.sessionId ?? '') : null
      if (id !== null && !this.#server.isAlive(id))
        this.#break(`${id} has ended, and is believed in`)
      if (this.#current && this.#server.isAlive(this.#current) && id !== this.#current)
        this.#break(`${this.#current} is alive, and was forgotten`)
      if (this.#current === null && id !== null) this.#break(`${id} came back`)
    }
    for (const id of this.#mustEnd.keys())
      if (this.#server.isAlive(id) && !this.device.onlyIn.get(id)?.isDead)
        this.#break(`the sign-out of ${id} never arrived`)
    this.#audit()
  }

  #break(what: string): void {
    this.#broken ??= new Error(`${what} (at ${this.#time.now} ms)`)
  }

  #audit(): void {
    for (const [id, { session, refresh }] of this.#server.families)
      if (session.revokedReason === 'refresh_reused')
        this.#break(`${id} was ended as stolen, at generation ${refresh.refreshGeneration}`)
    if ((this.device.text ?? '').length > 2_000)
      this.#break('more is stored than every storage takes')
    if (this.#broken) throw this.#broken
  }

  #open(): void {
    const process = new Process(this.device, this.#create, (_process, cause) => {
      if (cause === 'signed_out') return
      this.#seen.ends++
      if (![...this.device.toldOver].some((told) => told.endsWith(` ${cause}`)))
        this.#break(`signed out for ${cause}, which no server has said`)
      if (!KNOWN.test(cause)) this.#break(`signed out for ${cause}, which is no known cause`)
      if (this.#current && this.#server.isAlive(this.#current))
        this.#break(`signed out of ${this.#current}, which is alive`)
    })
    process.client.on('refreshed', () => {
      this.#seen.refreshes++
    })
    process.client.on('stale', () => {
      this.#seen.stale++
    })
  }

  async #getToken(process: Process | undefined, wanted: { minTtl?: number }): Promise<void> {
    const token = await process?.client.getToken(wanted).catch(() => null)
    if (!token || process?.isDead) return
    const { now } = this.#time
    const endsAt = this.#server.accessTokens.get(token)?.endsAt ?? 0
    if (endsAt <= now) this.#break(`${token} was handed out ${now - endsAt} ms too late`)
  }

  /** The wall clock is set. Or the monotonic one is ahead: no clock may be behind with the other. */
  #jump(ms: number): void {
    if (this.device.kind.wrongClock === 'wall') this.device.wallOffsetMs += ms
    else this.device.wallOffsetMs += Math.abs(ms)
    if (ms > 3 * HOUR) this.device.monotonicOffsetMs += ms
  }

  /** The machine sleeps. The monotonic clock may stand still. */
  async #sleep(ms: number): Promise<void> {
    if (this.device.kind.wrongClock === 'monotonic') this.device.monotonicOffsetMs -= ms
    await this.#time.pass(ms)
  }

  async #signIn(process = [...this.device.processes][0]): Promise<void> {
    if (!process) return
    const before = this.#current
    this.#current = undefined
    let after: string | null | undefined
    let isDone = false
    const signIn = async () => {
      try {
        await process.client.signIn({ email: 'ada@example.com', password: 'pw' })
        const kept = JSON.parse(this.device.text ?? '{}') as { session?: { s: string } }
        after = kept.session?.s
      } catch {
        // A sign-in that was refused changes nothing.
        after = before
      }
      isDone = true
    }
    void signIn()
    await this.#time.pass(10 * MINUTE, () => isDone || process.isDead)
    if (!process.isDead) this.#current = after
  }

  async #signOut(process: Process | undefined): Promise<void> {
    // Storage keeps eight that were never answered.
    if (!process || ++this.#signOuts > 8) return
    const id = this.#current
    this.#current = undefined
    let isDone = false
    void process.client.signOut().finally(() => {
      isDone = true
    })
    await this.#time.pass(10 * MINUTE, () => isDone || process.isDead)
    if (process.isDead) return
    this.#seen.signOuts++
    this.#current = null
    const text = this.device.text ?? ''
    if (/hrt-|hat-/.test(text)) this.#break(`kept after a sign-out: ${text}`)
    if (id) this.#mustEnd.set(id, process)
  }
}

const KNOWN =
  /^(session_(revoked|expired|unknown)|user_(banned|gone)|refresh_(reused|unknown|malformed))$/
