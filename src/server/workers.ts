import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.js'
import { serveWorkersMetrics } from './app.js'
import type { Notice } from './notices.js'
import { stopOnSignal } from './signals.js'

/** A worker that ends this soon would end again, so its replacement waits. */
const YOUNG_MS = 5_000
const RESTART_DELAY_MS = 1_000
/** The exit code of a worker whose settings were refused. A replacement would be refused again. */
const MISCONFIGURED = 2

/**
 * Runs `config.workers` processes of the server behind one port, and replaces those that die. Each
 * is a node with a lease of its own: it receives revocations as nodes on other machines do. The
 * first one starts alone, so that wrong settings are reported once.
 *
 * @returns the exit code, when all have ended
 */
export async function superviseWorkers(
  config: Config,
  onNotice: (notice: Notice) => void
): Promise<number> {
  let stopping = false
  let status = 0
  const living = new Set<Worker>()
  const ended: Promise<void>[] = []
  const told = new Set<Notice>()
  // Every worker sends its notices, but a person wants to read each once.
  cluster.on('message', (_worker, message: { notice?: Notice }) => {
    const { notice } = message
    if ((notice !== 'waiting' && notice !== 'serving') || told.has('serving') || told.has(notice))
      return
    told.add(notice)
    onNotice(notice)
  })
  const stop = (code: number) => {
    stopping = true
    status ||= code
    for (const worker of living) worker.process.kill('SIGTERM')
  }
  stopOnSignal({
    onFirst: () => {
      onNotice(told.has('serving') ? 'stopping' : 'stopped early')
      stop(0)
    },
    onSecond: () => {
      status = 1
      for (const worker of living) worker.process.kill('SIGKILL')
    }
  })
  const closeMetrics =
    config.metricsPort === undefined
      ? null
      : await serveWorkersMetrics(config.metricsHost, config.metricsPort)

  const keep = async (first: Worker) => {
    for (let worker = first; ; worker = fork(living)) {
      const began = performance.now()
      const [code] = (await once(worker, 'exit')) as [number | null]
      living.delete(worker)
      if (stopping) return
      if (code === MISCONFIGURED) return stop(MISCONFIGURED)
      process.stderr.write(
        `holdfast: worker ${worker.process.pid} ended (${code ?? 'killed'}): starting another\n`
      )
      if (performance.now() - began < YOUNG_MS) await sleep(RESTART_DELAY_MS)
      if (stopping) return
    }
  }
  const first = fork(living)
  ended.push(keep(first))
  first.once('listening', () => {
    if (stopping) return
    for (let n = 1; n < config.workers; n++) ended.push(keep(fork(living)))
  })
  for (const end of ended) await end // the list grows during the loop
  closeMetrics?.()
  return status
}

function fork(living: Set<Worker>): Worker {
  const worker = cluster.fork()
  living.add(worker)
  return worker
}
