/** A question of the bench to a server process, beside HTTP. */
export interface Question {
  id: number
  /** Whether to collect garbage first. */
  collect: boolean
}

/** The resources that a process has used so far. */
export interface Usage {
  id: number
  /** User and system time of all its threads, in microseconds. Null where that is not known. */
  cpuMicros: number | null
  /** Resident memory in bytes. */
  residentBytes: number
}

/** Where to listen. */
export interface Address {
  host: string
  port: number
}

/**
 * Listens on a free port of loopback, sends the parent its address, and answers the parent's
 * questions until the parent exits.
 */
export async function serve(listen: (at: Address) => Promise<string>): Promise<void> {
  process.on('message', ({ id, collect }: Question) => {
    if (collect) globalThis.gc?.()
    const { user, system } = process.cpuUsage()
    process.send?.({
      id,
      cpuMicros: user + system,
      residentBytes: process.memoryUsage.rss()
    } satisfies Usage)
  })
  // Calls exit(), so that a profile is written.
  process.on('disconnect', () => process.exit(0))
  const url = await listen({ host: '127.0.0.1', port: 0 })
  process.send?.({ url })
}

/** A setting that the bench gives each server that needs it. */
export function setting(name: string): string {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is missing`)
  return value
}
