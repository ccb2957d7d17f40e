import t from 'tap'
import { build, freshStore, password, sessionState, signIn, signUp } from '../support/server.js'
import { command, hasTerminal } from '../support/command.js'
import { commands, helpFor } from '../../src/cli/help.js'
import { runCommand } from '../../src/operator/commands.js'
import { deviceInWords } from '../../src/session/device-words.js'
import { toTable } from '../../src/cli/terminal.js'

// A command is a process of a second or more, so independent ones run at once.
const running = await build(t, { sessionRetentionSeconds: 3_600, roles: ['auditor'] })

t.test('the command line works on the store of a running server', async (t) => {
  const ada = await signUp(running.url)
  const phone = await signIn(running.url, ada.email)

  const [promoted, list] = await Promise.all([
    command(running.options, ['user', 'set-role', ada.email, 'admin,auditor']),
    command(running.options, ['session', 'list', ada.email])
  ])
  t.strictSame(JSON.parse(promoted.stdout), { id: ada.id, roles: ['admin', 'auditor'] })
  t.match(
    await (await ada.browser.get('/session')).json(),
    { user: { roles: ['admin', 'auditor'] } },
    'the server uses the roles at once'
  )

  const listed = JSON.parse(list.stdout) as { id: string }[]
  t.strictSame(
    listed.map(({ id }) => id),
    [phone.sessionId, ada.sessionId]
  )

  t.strictSame(
    JSON.parse((await command(running.options, ['session', 'revoke', phone.sessionId])).stdout),
    { revoked: 1 }
  )
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(ada.browser), 'valid')
  t.strictSame(
    JSON.parse((await command(running.options, ['session', 'revoke', '--user', ada.id])).stdout),
    { revoked: 1 }
  )
  t.equal(await sessionState(ada.browser), '401 session_revoked')
})

t.test('the command line works on the store when no server runs', async (t) => {
  const { stdout, status } = await command(await freshStore(t), ['migrate'])
  t.equal(status, 0)
  t.strictSame(JSON.parse(stdout), { applied: [] })
})

t.test('what it cannot do it says, with a status', async (t) => {
  await Promise.all(
    [
      {
        words: ['user', 'set-role', 'nobody@example.com', 'admin'],
        answer: { status: 1, stdout: '', stderr: /there is no user nobody@example\.com/ }
      },
      {
        words: ['session', 'revoke'],
        answer: { status: 2, stdout: '', stderr: /usage: holdfast session revoke/ }
      },
      { words: ['dance'], answer: { status: 2, stdout: '', stderr: /unknown command 'dance'/ } },
      { words: ['--help'], answer: { status: 0, stdout: /Usage: holdfast <command>/, stderr: '' } }
    ].map(async ({ words, answer }) =>
      t.match(await command(running.options, [...words]), answer, words.join(' '))
    )
  )
})

t.test('every command has a help of its own', (t) => {
  for (const command of [
    'start',
    'migrate',
    'session list',
    'session revoke',
    'user set-role',
    'retention'
  ]) {
    t.ok(command in commands, command)
    t.match(helpFor([]), new RegExp(`^ {2}${command} {2,}\\S`, 'm'))
  }
  for (const command of Object.keys(commands)) {
    const help = helpFor([...command.split(' '), '--help'])
    t.match(help, new RegExp(`^Usage: holdfast ${command}\\b`), command)
    t.equal(help.split('Usage:').length, 2, 'the help says nothing of other commands')
  }
  t.match(
    helpFor(['session', '--help']),
    /^Usage: holdfast session <command>\n[^]*\n {2}list .*\n {2}events .*\n {2}revoke /,
    'the help of a group names all its commands'
  )
  t.equal(helpFor(['--help']), helpFor([]))
  t.end()
})

t.test('retention removes what ended long ago, in batches', async (t) => {
  const ada = await signUp(running.url)
  await running.app.holdfast.prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt")
    SELECT 'old-' || n, 'old-' || n, ${ada.id}, clock_timestamp() - interval '2 hours', clock_timestamp() FROM generate_series(1, 1500) n`
  t.strictSame(JSON.parse((await command(running.options, ['retention'])).stdout), {
    removed: 1500,
    removedEvents: 0
  })
  t.strictSame(await runCommand(running.app.holdfast, { operation: 'retention', args: [] }), {
    removed: 0,
    removedEvents: 0
  })
  t.equal(await sessionState(ada.browser), 'valid')
  const steps: string[] = []
  await running.app.holdfast.prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt")
    SELECT 'older-' || n, 'older-' || n, ${ada.id}, clock_timestamp() - interval '2 hours', clock_timestamp() FROM generate_series(1, 1200) n`
  await runCommand(running.app.holdfast, { operation: 'retention', args: [] }, (done, total) =>
    steps.push(`${done}/${total}`)
  )
  t.equal(steps[0], '0/1200')
  t.equal(steps.at(-1), '1200/1200')
  t.ok(steps.length >= 3, steps.join(' '))
})

t.test(
  'O18: on a terminal, session list fits 100 columns, with the device in words',
  hasTerminal,
  async (t) => {
    const ada = await signUp(running.url)
    const windows =
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36'
    const signedIn = await ada.browser.post(
      '/api/auth/sign-in/email',
      { email: ada.email, password },
      { 'user-agent': windows }
    )
    t.equal(signedIn.status, 200)
    const [table, json] = await Promise.all([
      command(running.options, ['session', 'list', ada.email], { terminal: true }),
      command(running.options, ['session', 'list', ada.email, '--json'], { terminal: true })
    ])
    const [listed] = JSON.parse(json.stdout) as {
      id: string
      userAgent: string
      expiresAt: string
    }[]
    const lines = table.stdout.split(/\r?\n/)
    t.match(lines[0], /^ID +DEVICE +FROM +BEGAN +LAST SEEN$/)
    t.match(
      lines[1],
      new RegExp(
        `^${listed?.id} +Chrome on Windows +127\\.0\\.0\\.1 +(now|\\d+s ago) +(now|\\d+s ago)$`
      )
    )
    t.ok(lines.every((line) => line.length <= 100))
    t.notMatch(
      table.stdout,
      /\p{Cc}\[3\dm/u,
      'the output has no colours, which a copy would contain'
    )
    t.equal(listed?.userAgent, windows, '--json has all values')
    t.match(listed?.expiresAt, /^\d{4}-/)
  }
)

t.test('O18: no list is wider than 100 columns', async (t) => {
  const now = Date.now()
  const id = '01931c1e-5b7a-7c3e-8a52-3f1b6d9e4c70'
  const widest = {
    id,
    device: 'Samsung Internet on Android',
    from: '2001:db8:1234:5678:9abc:def0:1234:5678',
    began: new Date(now - 89 * 86_400_000),
    lastSeen: new Date(now - 59_000).toISOString()
  }
  for (const width of [60, 80, 100, 140, undefined]) {
    for (const records of [
      [widest, widest],
      [{ ...widest, and: 'a very long text '.repeat(40), none: null }],
      [Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`field${n}`, id]))]
    ]) {
      const lines = toTable(records, { width, now }).split('\n')
      t.ok(
        lines.every((line) => line.length <= Math.min(width ?? 100, 100)),
        `${width}: ${Math.max(...lines.map((line) => line.length))}`
      )
      t.ok(
        lines.some((line) => line.includes(id)),
        'the whole id is shown'
      )
    }
  }
  const table = toTable([widest], { now })
  t.match(table, /^ID +DEVICE +FROM +BEGAN +LAST SEEN\n/)
  t.match(table, /89d ago +59s ago/)
  t.match(
    toTable({ expiresAt: new Date(now + 6 * 86_400_000) }, { now }),
    /^expires +\d{4}-\d\d-\d\d \d\d:\d\d UTC \(in 6d\)$/
  )
})

t.test('O18: devices are told in words', async (t) => {
  const said = {
    'Chrome on Windows':
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
    'Edge on Windows':
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0',
    'Safari on macOS':
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15',
    'Safari on iPhone':
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
    'Firefox on Linux':
      'Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0',
    'Samsung Internet on Android':
      'Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36',
    'FieldNotes on Android':
      'Mozilla/5.0 (Linux; Android 14; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/141.0.0.0 Mobile Safari/537.36 FieldNotes/3',
    'FieldNotes on an Apple device': 'FieldNotes/1.2 CFNetwork/1494.0.7 Darwin/23.4.0',
    'FieldNotes on iPhone': 'FieldNotes/1.2 (iPhone; iOS 18.1; Scale/3.00)',
    curl: 'curl/8.5.0',
    'unknown program': '('.repeat(512)
  }
  for (const [words, userAgent] of Object.entries(said)) t.equal(deviceInWords(userAgent), words)
  t.equal(deviceInWords(null), null)
  t.equal(deviceInWords(' '), null)
})

t.test('what others wrote cannot move the cursor', async (t) => {
  const now = Date.now()
  t.notMatch(
    toTable([{ userAgent: 'evil\x1b[2J\x07\u202e' }], { now }).replaceAll('\n', ''),
    /[\p{Cc}\u202e]/u
  )
  t.match(toTable({ revoked: 1 }, { now }), /revoked.*1/)
  t.equal(toTable([], { now }), 'none')
})
