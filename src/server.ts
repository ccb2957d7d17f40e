import cluster from 'node:cluster'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp } from './app.js'
import { ConfigError, type Config } from './config.js'
import { superviseWorkers } from './workers.js'

/** How long open requests may take to end after SIGTERM, in milliseconds. */
const DRAIN_MS = 10_000

/** Starts the server, or its workers, and keeps them running until SIGINT or SIGTERM, which let open requests end. */
export async function serve(config: Config): Promise<void> {
  if (config.workers === 1) return serveHere(config, () => process.stdout.write(banner(config)))
  if (cluster.isWorker) return serveHere(config, () => {})
  process.exit(await superviseWorkers(config, () => process.stdout.write(banner(config))))
}

async function serveHere(config: Config, onServing: () => void): Promise<void> {
  let stopping = false
  const stop = (status: number) => {
    if (stopping) process.exit(status || 1)
    stopping = true
    setTimeout(() => process.exit(status || 1), DRAIN_MS + config.drainDelayMs).unref()
    building.then((app) => drain(app, config)).then(() => process.exit(status), () => process.exit(1))
  }
  const building = buildApp(config, { onUnfit: (error) => stop(error instanceof ConfigError ? 2 : 1) })
  process.on('SIGINT', () => stop(0))
  process.on('SIGTERM', () => stop(0))
  const app = await building
  if (stopping) return
  try {
    await app.listen({ host: config.host, port: config.port })
  } catch (error) {
    await app.close()
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') throw new ConfigError(`PORT: ${config.port} is in use: stop what listens there, or set another`)
    throw error
  }
  onServing()
}

/**
 * Ends without losing a request: not ready at once, then, where somebody has been asking about that, a while in which requests are still
 * taken, each told to use another connection; then nothing new, and what is open ends.
 */
async function drain(app: Awaited<ReturnType<typeof buildApp>>, { drainDelayMs }: Config): Promise<void> {
  if (app.holdfast.drain().watched) await sleep(drainDelayMs)
  await app.close()
}

/** What a person should know on the first screen. */
function banner(config: Config): string {
  const url = config.baseUrl
  const store = config.databaseUrl === undefined ? `embedded, in ${resolve(config.dataDir)} (delete it to start anew)` : 'PostgreSQL (DATABASE_URL)'
  return `
  Holdfast: an authentication server whose sessions hold.

  serving  ${url}
  data     ${store}

  try      curl -i -c cookies.txt ${url}/api/auth/sign-up/email \\
             -H 'content-type: application/json' \\
             -d '{"name":"Ada","email":"ada@example.com","password":"correct horse battery"}'
           curl -b cookies.txt ${url}/session
           curl -b cookies.txt -X POST ${url}/api/auth/sign-out -H 'origin: ${url}'

  admin    npm run --silent holdfast -- user set-role ada@example.com admin

`
}
