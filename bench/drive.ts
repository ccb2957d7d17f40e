import autocannon, { type Client, type Instance, type Options, type Request } from 'autocannon'
import type { BenchServer } from './server.js'

/** A request of a load, in autocannon's form. */
export type LoadRequest = Pick<
  Request,
  'method' | 'path' | 'headers' | 'body' | 'setupRequest' | 'onResponse'
>

/** A load on one server. */
export interface Load {
  server: BenchServer
  connections: number
  /**
   * The requests that each connection repeats. A function returns those of one connection, where
   * they differ.
   */
  requests: LoadRequest[] | ((connection: number) => LoadRequest[])
  /** How long, in milliseconds; or how many requests in total. */
  forMs?: number
  amount?: number
  /**
   * The warm-up before the first round, if not as long as a round: long code with few answers is
   * compiled late.
   */
  warmUpMs?: number
  /** Requests per second in total. Absent: as many as possible. */
  rate?: number
  /** The status of a right answer. Absent: 200. */
  status?: number
  /** Whether a body is that of a right answer. */
  isRight: (body: string) => boolean
}

/** The results of one run, as far as they were measured. */
export interface Sample {
  /** Answers per second. */
  perSecond?: number
  /** CPU time of the server's process for each answer, in microseconds. */
  cpuMicros?: number
  /** The share of one core that the server used. */
  busy?: number
  /** Of the latencies, in milliseconds. */
  medianMs?: number
  p99Ms?: number
  /** Resident memory for each cached session, in bytes. */
  bytes?: number
}

/**
 * Runs a load.
 *
 * @throws Error when an answer had the wrong status or body, or none came
 */
export async function drive(load: Load): Promise<Sample> {
  const { server, status = 200 } = load
  const latencies: number[] = []
  const wrong: string[] = []
  const before = await server.usage()
  let start = 0
  let end = 0
  await run(load, (instance) => {
    // Exact latencies: autocannon's histogram rounds to milliseconds.
    instance.on('response', (_client, statusCode, _bytes, latency) => {
      // Time starts with the first answer. Before it, connections are opened.
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
