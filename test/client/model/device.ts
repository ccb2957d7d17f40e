import type { createHoldfast, HoldfastClient, Locks, Storage } from '../../../src/client/client.js'
import { SeededRandom } from '../../support/random.js'
import type { ModelServer, ServerAnswer } from './server.js'
import type { VirtualTime } from './time.js'

/** How a device is in one run. */
export interface DeviceKind {
  /**
   * `tabs`: several processes at once, on a storage that answers at once. `app`: one process after
   * the other, on a storage that takes its time.
   */
  storage: 'tabs' | 'app'
  locks: 'working' | 'hanging' | 'missing'
  /** The clock that may be behind the true time: the other one may only be ahead of it. */
  wrongClock: 'wall' | 'monotonic'
}

/** What can happen to a request. The first is drawn where nothing else is. */
const fates = [
  'answered',
  'answered',
  'answered',
  'slow',
  'answered late',
  'doubled',
  'lost',
  'answer lost',
  429,
  500,
  503,
  'error after it',
  'page of a network',
  'unknown refusal'
] as const

/** No request arrives later, in milliseconds after it was sent. */
export const LATEST_MS = 55_000

/** A person's machine: its storage, clocks, locks and network, and the processes on it. */
export class Device {
  text: string | null = null
  readonly random = new SeededRandom(7)
  /** How many characters more find room beside the stored text, which stays until it is replaced. */
  room = Infinity
  /** Sign-outs that one process alone still knows: storage was full, and is not to keep a session. */
  readonly onlyIn = new Map<string, Process>()
  wallOffsetMs = 1_800_000_000_000
  monotonicOffsetMs = 5_000
  readonly processes = new Set<Process>()
  /** The holder of the lock is the first. */
  readonly lockQueue: { process: Process; begin: () => Promise<void> }[] = []
  /** When the last request began its way. */
  lastSentAt = 0
  /** Answers of `invalid_grant` that reached this device, as session and cause. */
  readonly toldOver = new Set<string>()
  readonly kind: DeviceKind
  readonly time: VirtualTime
  readonly server: ModelServer
  /** The next number below `limit`; 0 where nothing more is to happen. */
  readonly draw: (limit: number) => number

  constructor(
    kind: DeviceKind,
    time: VirtualTime,
    server: ModelServer,
    draw: (limit: number) => number
  ) {
    this.kind = kind
    this.time = time
    this.server = server
    this.draw = draw
  }

  /**
   * Sets the wall clock so that it does not say "of the last minute" of an older pair: what a client
   * cannot know. To be called when a client is given the text, as the clock may be set while it waits.
   */
  avoidFalseYouth(text: string | null): void {
    const kept = JSON.parse(text ?? '{}') as { session?: { a?: string; t: number } }
    const born = this.server.accessTokens.get(kept.session?.a ?? '')?.bornAt
    if (born === undefined || !kept.session) return
    const age = this.time.now + this.wallOffsetMs - kept.session.t
    if (age >= 0 && age < 60_000 && this.time.now - born > age) this.wallOffsetMs -= age + 10_000
  }

  /** Writes or removes the stored text. @throws Error where there is no room */
  replace(text: string | null, process: Process): void {
    const before = this.text ?? ''
    const size = text?.length ?? 0
    if (text !== null && size > this.room) throw new Error('the storage is full')
    if (text === null && this.room !== Infinity && before.includes('hrt-'))
      for (const id of signOutsIn(before)) this.onlyIn.set(id, process)
    for (const id of signOutsIn(text ?? '')) this.onlyIn.delete(id)
    this.room += before.length - size
    this.text = text
  }

  /** Brings a request to the server, or not, and its answer back, or not. */
  async carry(request: Parameters<ModelServer['answer']>): Promise<ServerAnswer> {
    this.lastSentAt = this.time.now
    const fate = fates[this.draw(fates.length)] ?? 'answered'
    if (fate === 'lost') return never()
    if (typeof fate === 'number')
      return { status: fate, body: {}, headers: this.draw(2) ? { 'retry-after': '7' } : {} }
    if (fate === 'page of a network') return { status: 200, headers: { page: 'yes' } }
    if (fate === 'unknown refusal')
      return { status: 400, body: { error: 'invalid_grant', cause: 'weather' } }
    await this.time.sleep(fate === 'slow' ? this.draw(LATEST_MS) : 20)
    const answer = this.server.answer(...request)
    if (fate === 'doubled')
      this.time.later(this.draw(LATEST_MS - 20), () => this.server.answer(...request))
    if (fate === 'answer lost') return never()
    if (fate === 'error after it') return { status: 503, body: {} }
    await this.time.sleep(fate === 'answered late' ? this.draw(25_000) : 20)
    return answer
  }
}

/** A tab, or a run of an app. */
export class Process {
  readonly client: HoldfastClient
  /** What was emitted: event and cause. */
  readonly events: string[] = []
  isDead = false
  /** Dies at this many steps from now. */
  dieAfter = Infinity
  readonly #device: Device
  readonly #startedAt: number

  constructor(
    device: Device,
    create: typeof createHoldfast,
    onSignedOut: (process: Process, cause: string) => void
  ) {
    this.#device = device
    this.#startedAt = device.time.now
    device.processes.add(this)
    const watchers = new Set<() => void>()
    this.client = create({
      baseUrl: 'https://auth.example.com',
      storage: this.#storage(watchers),
      fetch: ((url: string, init: RequestInit) => this.#fetch(url, init)) as typeof fetch,
      random: () => Uint8Array.from({ length: 16 }, () => device.random.below(256)),
      clock: {
        now: () => device.time.now + device.wallOffsetMs,
        monotonic: () => device.time.now + device.monotonicOffsetMs - this.#startedAt
      },
      locks: device.kind.locks === 'missing' ? null : this.#locks()
    })
    this.client.on('signedOut', ({ cause }) => {
      if (!this.isDead) onSignedOut(this, cause)
    })
    this.notify = () => {
      for (const watcher of watchers) watcher()
    }
  }

  /** Tells this process that another one has changed the storage. */
  readonly notify: () => void

  kill(): void {
    this.isDead = true
    const { processes, lockQueue } = this.#device
    processes.delete(this)
    const held = lockQueue[0]?.process === this
    for (const waiting of lockQueue.filter(({ process }) => process === this))
      lockQueue.splice(lockQueue.indexOf(waiting), 1)
    if (held) void lockQueue[0]?.begin()
  }

  /** One step of the process. It may be its last. @returns whether it lives */
  #step(): boolean {
    if (!this.isDead && this.dieAfter-- <= 0) this.kill()
    return !this.isDead
  }

  #storage(watchers: Set<() => void>): Storage {
    const device = this.#device
    const change = (text: string | null) => {
      if (!this.#step()) throw new Error('dead')
      device.replace(text, this)
      for (const process of device.processes)
        if (process !== this) device.time.later(device.draw(3), process.notify)
    }
    if (device.kind.storage === 'tabs')
      return {
        get: () => {
          if (!this.#step()) throw new Error('dead')
          device.avoidFalseYouth(device.text)
          return device.text
        },
        set: (text) => change(text),
        remove: () => change(null),
        watch: (listener) => watchers.add(listener)
      }
    const slowly = async (text: string | null): Promise<unknown> => {
      if (!this.#step()) return never()
      await device.time.sleep(device.draw(2_000))
      if (this.isDead) return never()
      change(text)
      return device.time.sleep(device.draw(500))
    }
    return {
      get: async () => {
        if (!this.#step()) return never()
        await device.time.sleep(device.draw(2_000))
        const { text } = device
        await device.time.sleep(device.draw(500))
        device.avoidFalseYouth(text)
        return this.isDead ? never() : text
      },
      set: slowly,
      remove: () => slowly(null)
    }
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    if (!this.#step()) return never()
    const path = new URL(url).pathname
    const body = typeof init.body === 'string' ? (JSON.parse(init.body) as never) : {}
    const answer = await this.#device.carry([path, new Headers(init.headers), body])
    if (this.isDead) return never()
    const told = answer.body as { error?: string; cause?: string }
    if (told?.error === 'invalid_grant')
      this.#device.toldOver.add(
        `${sessionOf((body as { refresh_token: string }).refresh_token)} ${told.cause}`
      )
    const text = answer.headers?.['page']
      ? '<h1>Welcome to the airport</h1>'
      : answer.body
        ? JSON.stringify(answer.body)
        : ''
    return {
      status: answer.status,
      headers: new Headers(answer.headers),
      text: async () => text
    } as Response
  }

  #locks(): Locks {
    const { lockQueue, kind } = this.#device
    return {
      request: (_name, { signal }, work) =>
        new Promise((resolve, reject) => {
          if (!this.#step() || kind.locks === 'hanging') return
          const waiting = {
            process: this,
            begin: async () => {
              const result = await work()
              if (this.isDead) return
              lockQueue.splice(lockQueue.indexOf(waiting), 1)
              void lockQueue[0]?.begin()
              resolve(result)
            }
          }
          lockQueue.push(waiting)
          if (lockQueue[0] === waiting) void waiting.begin()
          else
            signal.addEventListener('abort', () => {
              if (!lockQueue.includes(waiting) || lockQueue[0] === waiting) return
              lockQueue.splice(lockQueue.indexOf(waiting), 1)
              reject(new Error('aborted'))
            })
        })
    }
  }
}

/** The session that a token of the model names. */
export const sessionOf = (token: string) => token.split('-')[1] ?? ''

/** The sessions that a stored text can end. */
const signOutsIn = (text: string) => text.match(/(?<=hrv-)s\d+/g) ?? []

const never = () => new Promise<never>(() => {})
