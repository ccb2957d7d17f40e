import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import type { Test } from 'tap'
import { freePort } from '../../support/ports.js'
import { execute } from '../../support/postgres.js'

/** An unmodified better-auth, and what the comparison needs of it besides its routes. */
export interface Stock extends StockReady {
  url: string
  makeAdmin: (userId: string) => Promise<void>
}

/** The message of the process when it is ready. */
export interface StockReady {
  endpoints: StockEndpoint[]
}

/** An endpoint that better-auth serves over HTTP. */
export interface StockEndpoint {
  path: string
  methods: string[]
}

/**
 * Starts better-auth in a process of its own, where nothing of Holdfast can change it, on a
 * database of its own.
 */
export async function startStock(t: Test, server: string): Promise<Stock> {
  const name = `stock_better_auth_${randomUUID().replaceAll('-', '')}`
  await execute(server, `CREATE DATABASE ${name}`)
  const databaseUrl = new URL(server)
  databaseUrl.pathname = `/${name}`
  const url = `http://127.0.0.1:${await freePort()}`
  const client = new Client({ connectionString: databaseUrl.href })
  await client.connect()
  const child = fork(fileURLToPath(new URL('./stock-server.js', import.meta.url)), [], {
    execArgv: [],
    env: { PATH: process.env['PATH'], DATABASE_URL: databaseUrl.href, BASE_URL: url }
  })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
    await client.end()
    await execute(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  })
  const { endpoints } = await new Promise<StockReady>((resolve, reject) => {
    child.once('message', (message) => resolve(message as StockReady))
    child.once('exit', (code) => reject(new Error(`better-auth ended with ${code}`)))
  })
  return {
    url,
    endpoints,
    async makeAdmin(userId) {
      await client.query(`UPDATE "user" SET role = 'admin' WHERE id = $1`, [userId])
    }
  }
}
