import cluster from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp } from './app.js'
import { ConfigError } from '../errors.js'
import type { Config } from '../config.js'
import { listenProblem } from '../listen-problem.js'
import type { Holdfast } from '../public.js'
import { writeFirstAdministratorLink } from '../operator/first-administrator-link.js'
import { announce, type FirstLink, type Notice } from './notices.js'
import { stopOnSignal } from './signals.js'
import { superviseWorkers } from './workers.js'

/** How long open requests may take to end after SIGTERM, in milliseconds. */
const DRAIN_MS = 10_000

/**
 * Starts the server, or its workers, and keeps them running until SIGINT or SIGTERM. Open requests
 * may then end.
 */
export async function serve(config: Config): Promise<void> {
  if (config.workers === 1)
    return serveHere(config, (notice, first) => announce(notice, config, first))
  if (cluster.isWorker) return serveHere(config, (notice) => process.send?.({ notice }))
  process.exit(await superviseWorkers(config, (notice) => announce(notice, config)))
}

async function serveHere(
  config: Config,
  onNotice: (notice: Notice, first?: FirstLink | null) => void
): Promise<void> {
  let [stopping, serving] = [false, false]
  const stop = (status: number) => {
    if (stopping) return
    stopping = true
    setTimeout(() => process.exit(status || 1), DRAIN_MS + config.drainDelayMs).unref()
    building
      .then((app) => drain(app, config))
      .then(
        () => process.exit(status),
        () => process.exit(1)
      )
  }
  onNotice('starting')
  const building = buildApp(config, {
    onUnfit: (error) => {
      if (!cluster.isWorker) process.stderr.write(`holdfast: ${error.message}\n`)
      stop(error instanceof ConfigError ? 2 : 1)
    }
  })
  stopOnSignal({
    onFirst: () => {
      onNotice(serving ? 'stopping' : 'stopped early')
      // An embedded store can be left at any time, and creating one takes a while.
      if (!serving && config.databaseUrl === undefined) process.exit(0)
      stop(0)
    },
    onSecond: () => process.exit(1)
  })
  const app = await building
  if (stopping) return
  try {
    await app.listen({ host: config.host, port: config.port })
  } catch (error) {
    await app.close()
    throw listenProblem(error, config, ['HOST', 'PORT'])
  }
  serving = true
  if (!app.holdfast.ready()) onNotice('waiting')
  await app.holdfast.prepared
  if (!stopping) onNotice('serving', await firstLinkFor(app.holdfast))
}

/**
 * The link for the first administrator of an embedded store. On PostgreSQL only the command line
 * makes one: there a server starts often, and on several machines.
 */
async function firstLinkFor(holdfast: Holdfast): Promise<FirstLink | null> {
  const { databaseUrl, pages } = holdfast.config
  if (databaseUrl !== undefined || !pages) return null
  try {
    return await writeFirstAdministratorLink(holdfast)
  } catch (error) {
    process.stderr.write(
      `holdfast: the link for the first administrator could not be made: ${error instanceof Error ? error.message : String(error)}\n`
    )
    return null
  }
}

/**
 * Ends without losing a request. It is not ready at once. If readiness was asked for lately, it
 * still takes requests for a while, and closes each connection after the answer. Then it takes no
 * new requests, and the open ones end.
 */
async function drain(
  app: Awaited<ReturnType<typeof buildApp>>,
  { drainDelayMs }: Config
): Promise<void> {
  if (app.holdfast.drain().watched) await sleep(drainDelayMs)
  await app.close()
}
