import t from 'tap'
import { createHoldfast, type Storage } from '../../src/client/client.js'
import { ModelServer } from './model/server.js'

/*
 * Sign-outs that the server has not confirmed, on a storage that has no room. A new text must find
 * room beside the one that it replaces, as where a file is written anew and then renamed.
 */

/** A machine with a storage and a network. Each `open` is a new process on it. */
function setUp() {
  const server = new ModelServer(() => Date.now(), 300)
  const machine = {
    text: null as string | null,
    /** How many characters more find room. */
    room: Infinity,
    /** The sessions whose sign-outs reach the server. */
    reachable: [] as string[],
    /** The sign-outs that were tried. */
    tried: [] as string[],
    isAlive: (id: string) => server.isAlive(id),
    open: () => createHoldfast({ baseUrl: 'https://auth.example.com', storage, fetch: send })
  }
  const storage: Storage = {
    get: () => machine.text,
    set(text) {
      if (text.length > machine.room) throw new Error('the storage is full')
      machine.room += (machine.text?.length ?? 0) - text.length
      machine.text = text
    },
    remove() {
      machine.room += machine.text?.length ?? 0
      machine.text = null
    }
  }
  const send = (async (url: string, init: { headers: HeadersInit; body: string }) => {
    const { pathname } = new URL(url)
    const body = JSON.parse(init.body) as Record<string, string>
    const ended = /^hrv-(s\d+)$/.exec(body['token'] ?? '')?.[1]
    if (ended !== undefined) {
      machine.tried.push(ended)
      if (!machine.reachable.includes(ended)) return new Response(null, { status: 503 })
    }
    const answer = server.answer(pathname, new Headers(init.headers), body)
    return new Response(answer.body && JSON.stringify(answer.body), { status: answer.status })
  }) as typeof fetch
  return machine
}

/** The sign-outs that are stored, as sessions. */
const storedIn = (text: string | null) =>
  (JSON.parse(text ?? '{"out":[]}') as { out: string[] }).out.map((token) => token.slice(4))

const person = { email: 'ada@example.com', password: 'pw' }

t.test('a full storage keeps a sign-out when another one is confirmed', async (t) => {
  const machine = setUp()
  const client = machine.open()
  await client.signIn(person)
  await client.signIn(person)
  t.strictSame(await client.signOut(), { final: false })
  t.strictSame(storedIn(machine.text), ['s0', 's1'])

  machine.room = -Infinity
  machine.reachable = ['s0']
  t.strictSame(await client.signOut(), { final: false })
  t.notOk(machine.isAlive('s0'))
  t.ok(machine.isAlive('s1'))

  // The process ends. The next one knows what is stored alone.
  machine.reachable = ['s0', 's1']
  t.strictSame(await machine.open().signOut(), { final: true })
  t.notOk(machine.isAlive('s1'))
})

t.test('a session leaves a full storage, and the sign-outs beside it stay', async (t) => {
  const machine = setUp()
  const client = machine.open()
  await client.signIn(person)
  await client.signIn(person)
  machine.room = 0
  t.strictSame(await client.signOut(), { final: false })
  t.notMatch(machine.text, /hrt-|hat-/)
  t.strictSame(storedIn(machine.text), ['s0', 's1'])
})

t.test('sign-outs are stored as soon as a storage takes them', async (t) => {
  const machine = setUp()
  const client = machine.open()
  await client.signIn(person)
  await client.signIn(person)
  machine.room = -Infinity
  t.strictSame(await client.signOut(), { final: false })
  t.equal(machine.text, null, 'nothing stays that can refresh')

  machine.room = Infinity
  t.strictSame(await client.signOut(), { final: false })
  t.strictSame(storedIn(machine.text), ['s0', 's1'])
})

t.test('the last eight sign-outs are kept and tried, each once', async (t) => {
  const machine = setUp()
  const client = machine.open()
  for (let count = 0; count < 10; count++) {
    await client.signIn(person)
    await client.signOut()
  }
  const last = ['s2', 's3', 's4', 's5', 's6', 's7', 's8', 's9']
  t.strictSame(storedIn(machine.text), last)
  machine.tried.length = 0
  t.strictSame(await client.signOut(), { final: false })
  t.strictSame(machine.tried, last)
  t.strictSame(storedIn(machine.text), last)
})
