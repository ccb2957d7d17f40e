import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { build, freshStore, sessionState, signIn, signUp, storage } from './helper.js'
import type { HoldfastOptions } from '../src/config.js'

const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url))

t.test('the command line works on the store of a running server', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  const phone = await signIn(running.url, ada.email)

  const promoted = await holdfast(running.options, 'user', 'set-role', ada.email, 'admin,auditor')
  t.strictSame(JSON.parse(promoted.stdout), { id: ada.id, roles: ['admin', 'auditor'] })
  t.match(await (await ada.browser.get('/session')).json(), { user: { roles: ['admin', 'auditor'] } }, 'the server knows at once')

  const listed = JSON.parse((await holdfast(running.options, 'session', 'list', ada.email)).stdout) as { id: string }[]
  t.strictSame(listed.map(({ id }) => id), [phone.sessionId, ada.sessionId])

  t.strictSame(JSON.parse((await holdfast(running.options, 'session', 'revoke', phone.sessionId)).stdout), { revoked: 1 })
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(ada.browser), 'valid')
  t.strictSame(JSON.parse((await holdfast(running.options, 'session', 'revoke', '--user', ada.id)).stdout), { revoked: 1 })
  t.equal(await sessionState(ada.browser), '401 session_revoked')
})

t.test('the command line works on the store when no server runs', async (t) => {
  const { stdout, status } = await holdfast(await freshStore(t), 'migrate')
  t.equal(status, 0)
  t.strictSame(JSON.parse(stdout), { applied: [] })
})

t.test('what it cannot do it says, with a status', async (t) => {
  const options = await freshStore(t)
  t.match(await holdfast(options, 'user', 'set-role', 'nobody@example.com', 'admin'), { status: 1, stdout: '', stderr: /there is no user nobody@example\.com/ })
  t.match(await holdfast(options, 'session', 'revoke'), { status: 2, stdout: '', stderr: /usage: holdfast session revoke/ })
  t.match(await holdfast(options, 'dance'), { status: 2, stdout: '', stderr: /there is no such command/ })
  t.match(await holdfast(options, '--help'), { status: 0, stdout: /Usage: holdfast <command>/, stderr: '' })
})

function holdfast({ dataDir, databaseUrl, redisUrl, authSecret }: HoldfastOptions, ...words: string[]): Promise<{ status: number | null, stdout: string, stderr: string }> {
  const store: Record<string, string | undefined> = storage === 'embedded' ? { DATA_DIR: dataDir } : { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, BASE_URL: 'http://localhost:3000' }
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...words], { env: { PATH: process.env['PATH'], AUTH_SECRET: authSecret, ...store }, stdio: ['ignore', 'pipe', 'pipe'] })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
    child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, stdout, stderr }))
  })
}
