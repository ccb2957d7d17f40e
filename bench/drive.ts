import autocannon, { type Client, type Instance, type Options, type Request } from 'autocannon'
import type { BenchServer } from './server.js'

/** A request of a load, as autocannon takes it. */
export type LoadRequest = Pick<
  Request,
  'method' | 'path' | 'headers' | 'body' | 'setupRequest' | 'onResponse'
>

/** A load on one server. */
export interface Load {
  server: BenchServer
  connections: number
  /**
   * What each connection sends, over and over; or what one connection sends, where that differs
   * between them.
   */
  requests: LoadRequest[] | ((connection: number) => LoadRequest[])
  /** How long; or how many requests altogether. */
  forMs?: number
  amount?: number
  /**
   * How long it is driven before the first round, where not as long as any: what has long code and
   * few answers is compiled late.
   */
  warmUpMs?: number
  /** Requests per second altogether; as many as possible where absent. */
  rate?: number
  /** The status of a right answer; 200 where absent. */
  status?: number
  /** Whether a body is that of a right answer. */
  isRight: (body: string) => boolean
}

/** What one run showed, as far as it was looked at. */
export interface Sample {
  /** Answers per second. */
  perSecond?: number
  /** What the server's process spent on each, in microseconds of CPU. */
  cpuMicros?: number
  /** How much of one core the server used. */
  busy?: number
  /** Of the latencies, in milliseconds. */
  medianMs?: number
  p99Ms?: number
  /** Resident memory for each session that is cached. */
  bytes?: number
}

/**
 * Runs a load.
 *
 * @throws Error when any answer had another status or body than it should have had, or none came
 */
export async function drive(load: Load): Promise<Sample> {
  const { server, status = 200 } = load
  const latencies: number[] = []
  const wrong: string[] = []
  const before = await server.usage()
  let start = 0
  let end = 0
  await run(load, (instance) => {
    // The latencies as they are: autocannon's histogram rounds to milliseconds.
    instance.on('response', (_client, statusCode, _bytes, latency) => {
      // From the first answer on: until then connections are opened.
      end = performance.now()
      if (latencies.push(latency) === 1) start = end
      if (statusCode !== status) wrong.push(`status ${statusCode}`)
    })
    instance.on('reqMismatch' as 'reqError', (body: unknown) =>
      wrong.push(`body ${String(body).slice(0, 200)}`)
    )
    instance.on('reqError', (error: unknown) => wrong.push(String(error)))
  })
  const { cpuMicros } = await server.usage()
  if (wrong.length > 0 || latencies.length === 0)
    throw new Error(
      `${wrong.length} of ${latencies.length} answers of ${server.url} were wrong; the first: ${wrong[0] ?? 'there was none'}`
    )
  latencies.sort((a, b) => a - b)
  const spent =
    cpuMicros === null || before.cpuMicros === null ? null : cpuMicros - before.cpuMicros
  return {
    perSecond: (latencies.length - 1) / ((end - start) / 1_000),
    medianMs: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    ...(spent === null
      ? {}
      : { cpuMicros: spent / latencies.length, busy: spent / 1_000 / (end - start) })
  }
}

function run(
  { server, connections, requests, forMs = 1_000, amount, rate, isRight }: Load,
  watch: (instance: Instance) => void
): Promise<void> {
  let clients = 0
  const options: Options = {
    url: server.url,
    connections,
    ...(amount === undefined ? { duration: forMs / 1_000 } : { amount }),
    ...(rate === undefined ? {} : { overallRate: rate }),
    sampleInt: 50,
    timeout: 10,
    ...(typeof requests === 'function'
      ? { setupClient: (client: Client) => client.setRequests(requests(clients++)) }
      : { requests }),
    verifyBody: (body: unknown) => isRight(String(body))
  }
  return new Promise((resolve, reject) => {
    watch(
      autocannon(options, (error: unknown) => {
        if (error) reject(error)
        else resolve()
      })
    )
  })
}

/** A quantile of sorted numbers. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}
