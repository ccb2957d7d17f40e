import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
import { Browser, freshStore, password, sessionState, signUp } from '../support/server.js'
import { until } from '../support/poll.js'
import { startServer } from '../support/server-process.js'

const ROUNDS = 3
const CLIENTS = 6

/** What clients were told before the crash: browsers with the cookies that they received. */
interface Acknowledged {
  signedIn: Set<Browser>
  signedOut: Set<Browser>
}

t.test('what was answered 200 survives SIGKILL under load', async (t) => {
  const options = await freshStore(t)
  const told: Acknowledged = { signedIn: new Set(), signedOut: new Set() }
  for (let round = 1; round <= ROUNDS; round++) await crash(t, options, told)
  const server = await startServer(t, options)
  await check(t, server.url, told)
  t.ok(told.signedIn.size > 0 && told.signedOut.size > 0, 'there was something to lose', {
    signedIn: told.signedIn.size,
    signedOut: told.signedOut.size
  })
  t.equal(await server.kill('SIGTERM'), 0)
})

/**
 * Starts the server, checks what earlier rounds were told, and kills it at a random time under
 * load.
 */
async function crash(t: Test, options: HoldfastOptions, told: Acknowledged): Promise<void> {
  const server = await startServer(t, options)
  await check(t, server.url, told)
  const people = await Promise.all(Array.from({ length: CLIENTS }, () => signUp(server.url)))
  const load = Promise.all(people.map((person) => work(server.url, person.email, told)))
  const before = told.signedOut.size
  await until('a first sign-out', () => told.signedOut.size > before)
  await sleep(randomInt(0, 500)) // random, not a wait for something
  t.equal(await server.kill('SIGKILL'), null)
  await load
}

/** Signs in and out until the server is gone. Of every two sessions, one is kept and one ended. */
async function work(url: string, email: string, told: Acknowledged): Promise<void> {
  try {
    for (;;) {
      const kept = await signInAgain(url, email)
      told.signedIn.add(kept)
      const left = await signInAgain(url, email)
      const leaving = copyOf(left, url)
      if ((await leaving.post('/api/auth/sign-out')).status !== 200)
        throw new Error('sign-out failed')
      told.signedOut.add(left)
    }
  } catch (error) {
    // The connection broke: that is the crash. Any other error is a fault of the server.
    if (!(error instanceof TypeError)) throw error
  }
}

async function signInAgain(url: string, email: string): Promise<Browser> {
  const browser = new Browser(url)
  const response = await browser.post('/api/auth/sign-in/email', { email, password })
  if (response.status !== 200) throw new Error(`sign-in answered ${response.status}`)
  return browser
}

async function check(t: Test, url: string, { signedIn, signedOut }: Acknowledged): Promise<void> {
  const states = (browsers: Iterable<Browser>) =>
    Promise.all([...browsers].map((browser) => sessionState(copyOf(browser, url))))
  t.strictSame(
    (await states(signedIn)).filter((state) => state !== 'valid'),
    [],
    'every sign-in that was answered 200 is valid'
  )
  t.strictSame(
    (await states(signedOut)).filter((state) => state !== '401 session_revoked'),
    [],
    'every sign-out that was answered 200 is final'
  )
}

/** A browser with the same cookies, for the new server process. */
function copyOf(original: Browser, url: string): Browser {
  const browser = new Browser(url)
  for (const [name, value] of original.cookies) browser.cookies.set(name, value)
  return browser
}
