import { spawn, spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { build, freshStore, sessionState, signIn, signUp, storage } from './helper.js'
import type { HoldfastOptions } from '../src/config.js'
import { commands, helpFor, usage } from '../src/help.js'
import { operate } from '../src/operator.js'
import { toTable } from '../src/terminal.js'

const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url))

// A command is a process of a second or more: those that do not wait for each other run at once.
const running = await build(t, { sessionRetentionSeconds: 3_600, roles: ['auditor'] })

t.test('the command line works on the store of a running server', async (t) => {
  const ada = await signUp(running.url)
  const phone = await signIn(running.url, ada.email)

  const [promoted, list] = await Promise.all([
    holdfast(running.options, 'user', 'set-role', ada.email, 'admin,auditor'),
    holdfast(running.options, 'session', 'list', ada.email)
  ])
  t.strictSame(JSON.parse(promoted.stdout), { id: ada.id, roles: ['admin', 'auditor'] })
  t.match(await (await ada.browser.get('/session')).json(), { user: { roles: ['admin', 'auditor'] } }, 'the server knows at once')

  const listed = JSON.parse(list.stdout) as { id: string }[]
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
  await Promise.all([
    { words: ['user', 'set-role', 'nobody@example.com', 'admin'], answer: { status: 1, stdout: '', stderr: /there is no user nobody@example\.com/ } },
    { words: ['session', 'revoke'], answer: { status: 2, stdout: '', stderr: /usage: holdfast session revoke/ } },
    { words: ['dance'], answer: { status: 2, stdout: '', stderr: /there is no such command/ } },
    { words: ['--help'], answer: { status: 0, stdout: /Usage: holdfast <command>/, stderr: '' } }
  ].map(async ({ words, answer }) => t.match(await holdfast(running.options, ...words), answer, words.join(' '))))
})

t.test('every command has a help of its own', (t) => {
  for (const command of ['start', 'migrate', 'session list', 'session revoke', 'user set-role', 'retention']) {
    t.ok(command in commands, command)
    t.match(usage, new RegExp(`^ {2}${command}\\b`, 'm'))
  }
  for (const command of Object.keys(commands)) {
    const help = helpFor([...command.split(' '), '--help'])
    t.match(help, new RegExp(`^Usage: holdfast ${command}\\b`), command)
    t.equal(help.split('Usage:').length, 2, 'and says nothing of others')
  }
  t.equal(helpFor(['session', '--help']).split('Usage:').length, 3, 'a word that several begin with names them all')
  t.equal(helpFor(['--help']), usage)
  t.end()
})

t.test('retention removes what ended long ago, in batches', async (t) => {
  const ada = await signUp(running.url)
  await running.app.holdfast.prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt")
    SELECT 'old-' || n, 'old-' || n, ${ada.id}, clock_timestamp() - interval '2 hours', clock_timestamp() FROM generate_series(1, 1500) n`
  t.strictSame(JSON.parse((await holdfast(running.options, 'retention')).stdout), { removed: 1500 })
  t.strictSame(await operate(running.app.holdfast, { operation: 'retention', args: [] }), { removed: 0 })
  t.equal(await sessionState(ada.browser), 'valid')
  const steps: string[] = []
  await running.app.holdfast.prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt")
    SELECT 'older-' || n, 'older-' || n, ${ada.id}, clock_timestamp() - interval '2 hours', clock_timestamp() FROM generate_series(1, 1200) n`
  await operate(running.app.holdfast, { operation: 'retention', args: [] }, (done, total) => steps.push(`${done}/${total}`))
  t.equal(steps[0], '0/1200')
  t.equal(steps.at(-1), '1200/1200')
  t.ok(steps.length >= 3, steps.join(' '))
})

// util-linux's script gives a command a terminal.
const script = spawnSync('script', ['--version']).status === 0
t.test('on a terminal, results are tables', { skip: script ? false : 'script, which makes a terminal, is not on the PATH' }, async (t) => {
  const ada = await signUp(running.url)
  const { stdout } = await holdfast(running.options, { terminal: true }, 'session', 'list', ada.email)
  t.match(stdout, /│ id +│/)
  t.ok(stdout.includes(ada.sessionId))
  t.notMatch(stdout, /\p{Cc}\[3\dm/u, 'without colours that a copy would carry along')
})

t.test('what others wrote cannot move the cursor', async (t) => {
  t.notMatch(toTable([{ userAgent: 'evil\x1b[2J\x07' }]).replaceAll('\n', ''), /\p{Cc}/u)
  t.match(toTable({ revoked: 1 }), /revoked.*1/)
  t.equal(toTable([]), 'none')
})

function holdfast({ dataDir, databaseUrl, redisUrl, authSecret, sessionRetentionSeconds = 3_600 }: HoldfastOptions, ...given: (string | { terminal: true })[]): Promise<{ status: number | null, stdout: string, stderr: string }> {
  const store: Record<string, string | undefined> = storage === 'embedded' ? { DATA_DIR: dataDir } : { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, BASE_URL: 'http://localhost:3000' }
  const words = given.filter((word) => typeof word === 'string')
  const [program, ...args] = words.length < given.length ? ['script', '-qec', [process.execPath, cli, ...words].join(' '), '/dev/null'] : [process.execPath, cli, ...words]
  return new Promise((resolve, reject) => {
    const child = spawn(program ?? '', args, { env: { PATH: process.env['PATH'], AUTH_SECRET: authSecret, SESSION_RETENTION_SECONDS: String(sessionRetentionSeconds), ROLES: 'auditor', ...store }, stdio: ['ignore', 'pipe', 'pipe'], cwd: tmpdir() })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
    child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, stdout, stderr }))
  })
}
