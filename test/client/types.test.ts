import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import t from 'tap'
import { installed } from '../host-application/guest/project.js'

const USE = `
import { createHoldfast, localStorageAdapter, memoryStorage, HoldfastError, StaleError, type HoldfastClient, type Storage } from 'holdfast/client'
import { useSession, type SessionState } from 'holdfast/client/react'

const keychain: Storage = { get: async () => null, set: async (value: string) => void value, remove: async () => {} }
for (const storage of [keychain, memoryStorage(), localStorageAdapter(), 'cookie'] as const)
  createHoldfast({ baseUrl: 'https://auth.example.com', storage })
const client: HoldfastClient = createHoldfast({
  baseUrl: 'https://auth.example.com',
  origins: ['https://api.example.com'],
  locks: navigator.locks,
  clock: { now: () => Date.now(), monotonic: () => performance.now() },
  random: () => crypto.getRandomValues(new Uint8Array(16)),
  fetch,
  deviceName: 'Laptop'
})
const off = client.on('signedOut', ({ cause }) => cause.toUpperCase())
client.on('stale', ({ retryAfterMs }) => retryAfterMs.toFixed())
// @ts-expect-error an event that there is not
client.on('weather', () => {})
const { status } = await client.signIn({ email: 'a', password: 'b' })
if (status === 'second_factor') await client.verifySecondFactor({ code: '123456' })
try {
  const token: string | null = await client.getToken({ minTtl: 60 })
  const response: Response = await client.fetch('/orders', { headers: { accept: token ?? '' } })
  const found = await client.session()
  found?.user.roles.includes('admin')
  const listed = await client.sessions()
  listed?.sessions.map(({ id, name }) => id + String(name) + response.status)
} catch (error) {
  if (error instanceof HoldfastError) [error.status, error.code?.length, error.retryAfterMs].join()
  if (error instanceof StaleError) off()
}
const { final }: { final: boolean } = await client.signOut()
export function who(initial?: SessionState): string {
  const state = useSession(client, initial)
  return state.status === 'stale' ? String(final) : (state.user?.email ?? '')
}
`

t.test('a fresh project compiles against the types of the package', async (t) => {
  const project = installed(t)
  const { resolve } = createRequire(import.meta.url)
  const folderOf = (name: string) => dirname(resolve(`${name}/package.json`))
  mkdirSync(join(project.folder, 'node_modules/@types'), { recursive: true })
  symlinkSync(
    folderOf('@types/react'),
    join(project.folder, 'node_modules/@types/react'),
    'junction'
  )
  const sources = join(project.folder, 'client')
  mkdirSync(sources)
  writeFileSync(join(sources, 'use.ts'), USE)
  writeFileSync(join(sources, 'package.json'), '{ "type": "module" }\n')
  for (const compiler of ['typescript-5.9', 'typescript', 'typescript-7'])
    for (const [module, resolution] of [
      ['nodenext', 'nodenext'],
      ['esnext', 'bundler']
    ] as const) {
      const { status, stdout } = await project.run(
        [
          join(folderOf(compiler), 'bin/tsc'),
          '--noEmit',
          '--strict',
          '--exactOptionalPropertyTypes',
          '--noUncheckedIndexedAccess',
          '--target',
          'es2022',
          '--lib',
          'es2022,dom,dom.iterable',
          '--types',
          'react',
          '--module',
          module,
          '--moduleResolution',
          resolution,
          'use.ts'
        ],
        { cwd: sources }
      )
      t.equal(status, 0, `${compiler}, ${resolution}: ${stdout}`)
    }
  const { stdout } = await project.run([
    '--input-type=module',
    '-e',
    "console.log(Object.keys(await import('holdfast/client')).sort().join(), Object.keys(await import('holdfast/client/react')).join())"
  ])
  t.equal(
    stdout.trim(),
    'HoldfastError,StaleError,createHoldfast,localStorageAdapter,memoryStorage useSession'
  )
})
