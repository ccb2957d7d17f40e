import cluster from 'node:cluster'
import { buildApp } from '../../src/server/app.js'
import { optionsFromEnvironment, resolveConfig } from '../../src/config.js'
import { superviseWorkers } from '../../src/server/workers.js'
import type { Question, Usage } from './child.js'

/*
 * The server as `holdfast start` runs it with WORKERS: processes behind one port. It does not
 * report their usage, only how many answers they give.
 */
const config = resolveConfig(optionsFromEnvironment(process.env))
if (cluster.isWorker) {
  const app = await buildApp(config)
  await app.listen({ host: '127.0.0.1', port: 0 })
} else {
  process.on('message', ({ id }: Question) => {
    process.send?.({
      id,
      cpuMicros: null,
      residentBytes: process.memoryUsage.rss()
    } satisfies Usage)
  })
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  let listening = 0
  cluster.on('listening', (_worker, { port }) => {
    if (++listening === config.workers) process.send?.({ url: `http://127.0.0.1:${port}` })
  })
  process.exit(await superviseWorkers(config, () => {}))
}
