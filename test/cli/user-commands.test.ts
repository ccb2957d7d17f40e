import { randomUUID } from 'node:crypto'
import t from 'tap'
import { runCommand } from '../../src/operator/commands.js'
import { enrol, newPerson } from '../support/device.js'
import {
  Browser,
  build,
  freshStore,
  password,
  sessionState,
  signIn,
  signUp,
  start,
  storage,
  type Running
} from '../support/server.js'
import { command, hasTerminal } from '../support/command.js'

/** A server with closed sign-up, and one where users can sign up and so have sessions. */
const closed = await build(t, { signUp: 'closed', roles: ['auditor'] })
const open = await build(t, { roles: ['auditor'], logLevel: 'trace' })
const { prisma } = open.app.holdfast

const newAddress = () => `${randomUUID()}@example.com`
const signInAt = ({ url }: Running, email: string, secret: string) =>
  new Browser(url).post('/api/auth/sign-in/email', { email, password: secret })
const parsed = ({ stdout }: { stdout: string }) => JSON.parse(stdout) as Record<string, unknown>
const run = (operation: string, args: string[], secret?: string) =>
  runCommand(open.app.holdfast, { operation, args, password: secret })
const kindsOf = async (userId: string) =>
  (await prisma.accountEvent.findMany({ where: { userId }, orderBy: { id: 'asc' } })).map(
    ({ kind, actor }) => `${actor} ${kind}`
  )

t.test('O4: with SIGN_UP=closed from the start, the command line makes a user', async (t) => {
  const email = newAddress()
  t.equal(
    (
      await new Browser(closed.url).post('/api/auth/sign-up/email', {
        name: 'Ada',
        email,
        password
      })
    ).status,
    400,
    'sign-up is closed'
  )
  const made = await command(closed.options, [
    'user',
    'create',
    email.toUpperCase(),
    '--name',
    'Ada Lovelace',
    '--role',
    'admin,auditor'
  ])
  t.equal(made.status, 0, made.stderr)
  const { id, password: generated, ...user } = parsed(made)
  t.strictSame(user, { email, name: 'Ada Lovelace', roles: ['admin', 'auditor'] })
  t.match(generated, /^[\w-]{20}$/, 'a password is generated')
  const { id: shown } = parsed(await command(closed.options, ['user', 'show', email]))
  t.equal(shown, id)
  t.equal(
    (await signInAt(closed, email, String(generated))).status,
    200,
    'the user can sign in with it'
  )
  t.equal((await signInAt(closed, email, password)).status, 401)
})

t.test('O4: a user can be made before any server has run', async (t) => {
  const options = await freshStore(t)
  const email = newAddress()
  const made = await command(options, ['user', 'create', email, '--password-stdin'], {
    input: `${password}\n`
  })
  t.strictSame({ status: made.status, stderr: made.stderr }, { status: 0, stderr: '' })
  t.notMatch(made.stdout, password, 'a given password is not shown')
  const server = await start(t, { ...options, rateLimit: false, signUp: 'closed' })
  t.equal((await signInAt(server, email, password)).status, 200)
})

t.test(
  'O4: what must not be a user is refused, with the next step, and changes nothing',
  async (t) => {
    const known = await signUp(open.url)
    const email = newAddress()
    const local = email.split('@')[0] ?? ''
    const users = await prisma.user.count()
    const refused: { words: string[]; input: string; status: number; stderr: RegExp }[] = [
      {
        words: ['user', 'create', known.email.toUpperCase(), '--password-stdin'],
        input: password,
        status: 1,
        stderr: new RegExp(`there is a user ${known.email} already: .holdfast user show`)
      },
      {
        words: ['user', 'create', email, '--password-stdin'],
        input: 'sh0rt',
        status: 1,
        stderr: /at least 8/
      },
      {
        words: ['user', 'create', email, '--password-stdin'],
        input: '',
        status: 2,
        stderr: /no password on standard input/
      },
      {
        words: ['user', 'create', email, '--password-stdin'],
        input: 'two\nlines of it',
        status: 2,
        stderr: /one line/
      },
      {
        words: ['user', 'create', email, '--password-stdin'],
        input: 'x'.repeat(5_000),
        status: 2,
        stderr: /too long/
      },
      {
        words: ['user', 'create', email, '--role', 'emperor', '--password-stdin'],
        input: password,
        status: 2,
        stderr: /there is no role emperor: ROLES/
      },
      { words: ['user', 'crate', email], input: password, status: 2, stderr: /Did you mean create/ }
    ]
    await Promise.all(
      refused.map(async ({ words, input, status, stderr }) => {
        const ended = await command(open.options, words, { input })
        t.match(ended, { status, stdout: '', stderr }, words.join(' '))
        if (input) t.notMatch(ended.stderr, input, 'the error does not show the password')
      })
    )
    const wrong: [
      operation: string,
      args: string[],
      code: string,
      message: RegExp,
      secret?: string
    ][] = [
      ['user create', [email], 'password_too_long', /at most 128/, 'x'.repeat(129)],
      ['user create', [email], 'password_too_common', /first that are tried/, 'Password1'],
      ['user create', [email], 'password_too_common', /first that are tried/, local],
      ['user create', ['ada'], 'invalid_email', /e-mail address/],
      ['user create', [email, '--name', 'x'.repeat(257)], 'invalid_input', /256/],
      [
        'user create',
        [email, '--colour', 'red'],
        'invalid_input',
        /--colour[^]*usage: holdfast user create/
      ],
      [
        'user create',
        [],
        'invalid_input',
        /missing required argument 'e-mail'\nusage: holdfast user create/
      ],
      ['user show', [email], 'not_found', /there is no user .*holdfast user list --search/],
      ['user ban', [email], 'not_found', /there is no user/],
      ['user ban', [known.email, '--until', 'tomorrow'], 'invalid_input', /7d.*2027-01-31T18:00Z/],
      ['user ban', [known.email, '--until', '2020-01-01'], 'invalid_input', /has passed/],
      ['user ban', [known.email, '--until', '2099-01-01T10:00'], 'invalid_input', /zone/],
      ['user delete', [randomUUID()], 'not_found', /there is no user/],
      ['user list', ['--limit', '1001'], 'invalid_input', /from 1 to 1000/],
      ['user show', [''], 'invalid_input', /empty/],
      ['user create', [email, '--name', '--password-stdin'], 'invalid_input', /argument missing/],
      ['user delete', [known.email, '--purge=yes'], 'invalid_input', /unknown option '--purge=…'/]
    ]
    for (const [operation, args, code, message, secret] of wrong)
      await t.rejects(
        run(operation, args, secret),
        { code, message },
        `${operation} ${args.join(' ')}`
      )
    t.equal(await prisma.user.count(), users)
    t.equal(await sessionState(known.browser), 'valid')
  }
)

t.test('O4: of several who make a user of one address, one does', async (t) => {
  const email = newAddress()
  const [here, ...outcomes] = await Promise.allSettled([
    command(open.options, ['user', 'create', email]),
    ...[1, 2, 3, 4].map((n) =>
      run('user create', [n % 2 ? email : email.toUpperCase()], `${password} ${n}`)
    )
  ])
  const made =
    outcomes.filter(({ status }) => status === 'fulfilled').length +
    (here.status === 'fulfilled' && here.value.status === 0 ? 1 : 0)
  t.equal(made, 1)
  for (const outcome of outcomes)
    if (outcome.status === 'rejected')
      t.match(outcome.reason, { message: /there is a user .* already/ })
  const users = await prisma.user.findMany({ where: { email }, include: { accounts: true } })
  t.equal(users.length, 1)
  t.equal(users[0]?.accounts.length, 1, 'the user has a password')
})

t.test('O4: users are listed in pages and found by a part of address or name', async (t) => {
  const mark = randomUUID().slice(0, 8)
  for (const n of [1, 2, 3])
    await run(
      'user create',
      [`${mark}-${n}@example.com`, '--name', n === 2 ? `Grace ${mark.toUpperCase()}x` : 'Somebody'],
      password
    )
  const first = (await run('user list', ['--limit', '2'])) as { id: string; email: string }[]
  t.strictSame(
    first.map(({ email }) => email),
    [`${mark}-3@example.com`, `${mark}-2@example.com`]
  )
  const [next] = (await run('user list', ['--limit', '1', '--after', first[1]?.id ?? ''])) as {
    email: string
  }[]
  t.equal(next?.email, `${mark}-1@example.com`)
  const found = async (...args: string[]) =>
    ((await run('user list', args)) as { email: string }[]).map(({ email }) => email.split('@')[0])
  t.strictSame(await found('--search', mark), [`${mark}-3`, `${mark}-2`, `${mark}-1`])
  t.strictSame(await found('--search', `${mark.toUpperCase()}X`), [`${mark}-2`])
  t.strictSame(await found('--search', mark, '--limit', '1', '--after', first[1]?.id ?? ''), [
    `${mark}-1`
  ])
  t.strictSame(await found('--search', '%'), [], '% has no special meaning in a search')
  t.strictSame(parsed(await command(open.options, ['user', 'list', '--search', `${mark}-2`])), [
    {
      id: first[1]?.id,
      email: `${mark}-2@example.com`,
      name: `Grace ${mark.toUpperCase()}x`,
      emailVerified: false,
      roles: ['user'],
      banned: false,
      secondFactor: false,
      createdAt: parsed(await command(open.options, ['user', 'show', first[1]?.id ?? '']))[
        'createdAt'
      ]
    }
  ])
})

t.test('O4: support sees sessions, factor, ban and when a user was last seen', async (t) => {
  const ada = await newPerson(open.url)
  await enrol(ada)
  await signUp(open.url)
  const shown = (await run('user show', [ada.email])) as Record<string, unknown>
  t.match(shown, {
    id: ada.id,
    email: ada.email,
    name: 'Ada Lovelace',
    roles: ['user'],
    providers: ['credential'],
    secondFactor: true,
    banned: false,
    sessions: 1,
    lastSeenAt: Date
  })
  t.notMatch(JSON.stringify(shown), /argon2|secret|hash/i)
})

t.test(
  'O4: a ban ends the sessions on every node before the command ends; lifting it lets in again',
  async (t) => {
    const ada = await signUp(open.url)
    const phone = await signIn(open.url, ada.email)
    const { port: _port, ...options } = open.options
    const other = storage === 'postgres' ? await start(t, options) : open
    const there = new Browser(other.url)
    for (const [name, value] of phone.browser.cookies) there.cookies.set(name, value)
    t.equal(await sessionState(there), 'valid', 'the other node has a copy')

    const banned = await command(open.options, [
      'user',
      'ban',
      ada.email,
      '--reason',
      'Spam',
      '--until',
      '2099-12-31T18:00+02:00'
    ])
    t.strictSame(
      { status: banned.status, ...parsed(banned) },
      {
        status: 0,
        id: ada.id,
        email: ada.email,
        banned: true,
        banReason: 'Spam',
        banExpires: '2099-12-31T16:00:00.000Z'
      }
    )
    t.equal(await sessionState(there), '401 user_banned')
    t.equal(await sessionState(ada.browser), '401 user_banned')
    t.match(await (await signInAt(open, ada.email, password)).json(), { code: 'BANNED_USER' })
    t.match(await run('user show', [ada.id]), { banned: true, banReason: 'Spam', sessions: 0 })

    t.strictSame(parsed(await command(open.options, ['user', 'unban', ada.id])), {
      id: ada.id,
      email: ada.email,
      banned: false
    })
    t.equal((await signInAt(open, ada.email, password)).status, 200)
    t.equal(
      await sessionState(ada.browser),
      '401 user_banned',
      'sessions that have ended stay ended'
    )
    t.strictSame(
      (await kindsOf(ada.id)).filter((kind) => kind.startsWith('operator')),
      ['operator user_banned', 'operator user_unbanned']
    )
  }
)

t.test('O4: a deleted user is gone with all sessions, and stays so', async (t) => {
  const ada = await signUp(open.url)
  const phone = await signIn(open.url, ada.email)
  t.strictSame(parsed(await command(open.options, ['user', 'delete', ada.email])), {
    id: ada.id,
    email: ada.email,
    deleted: true
  })
  for (const { browser } of [ada, phone]) t.equal(await sessionState(browser), '401 user_gone')
  t.equal((await signInAt(open, ada.email, password)).status, 401)
  t.equal(await prisma.account.count({ where: { userId: ada.id } }), 0)
  t.match(await command(open.options, ['user', 'delete', ada.email]), {
    status: 1,
    stderr: /there is no user/
  })
  t.ok((await kindsOf(ada.id)).includes('operator user_deleted'))
})

t.test(
  'O4: a password that is set ends every session and what was begun with the old one',
  async (t) => {
    const ada = await signUp(open.url)
    const phone = await signIn(open.url, ada.email)
    const { credentialEpoch } = await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })
    const set = await command(
      open.options,
      ['user', 'set-password', ada.email, '--password-stdin'],
      { input: Buffer.from('wrong zebra capacitor clip\r\n') }
    )
    t.strictSame(
      { status: set.status, stderr: set.stderr, ...parsed(set) },
      { status: 0, stderr: '', id: ada.id, email: ada.email }
    )
    for (const { browser } of [ada, phone])
      t.equal(await sessionState(browser), '401 session_revoked')
    t.equal(
      (await prisma.session.findUniqueOrThrow({ where: { id: ada.sessionId } })).revokedReason,
      'password_changed'
    )
    t.ok(
      (await prisma.user.findUniqueOrThrow({ where: { id: ada.id } })).credentialEpoch >
        credentialEpoch
    )
    t.equal((await signInAt(open, ada.email, password)).status, 401)
    t.equal((await signInAt(open, ada.email, 'wrong zebra capacitor clip')).status, 200)
    t.ok((await kindsOf(ada.id)).includes('operator password_changed'))

    const { password: generated } = (await run('user set-password', [ada.id, '--generate'])) as {
      password: string
    }
    t.equal((await signInAt(open, ada.email, generated)).status, 200)
    await t.rejects(run('user set-password', [ada.id], 'sh0rt'), { code: 'password_too_short' })
    await t.rejects(run('user set-password', [ada.id], ada.email), { code: 'password_too_common' })
    t.equal(
      (await signInAt(open, ada.email, generated)).status,
      200,
      'refused passwords change nothing'
    )
  }
)

t.test(
  'O4: of first passwords that are set at once one counts, and each of them ends the sessions',
  async (t) => {
    const ada = await signUp(open.url)
    await prisma.account.deleteMany({ where: { userId: ada.id } })
    const passwords = [1, 2, 3].map((n) => `${password} ${n}`)
    await Promise.all(passwords.map((each) => run('user set-password', [ada.id], each)))
    t.equal(await sessionState(ada.browser), '401 session_revoked')
    t.equal(await prisma.account.count({ where: { userId: ada.id } }), 1)
    const statuses = await Promise.all(
      passwords.map(async (each) => (await signInAt(open, ada.email, each)).status)
    )
    t.strictSame(
      statuses.toSorted((a, b) => a - b),
      [200, 401, 401]
    )
  }
)

t.test(
  'O4: a password is asked for on a terminal, twice and without an echo',
  hasTerminal,
  async (t) => {
    const ada = await signUp(open.url)
    const secret = 'wrong zebra capacitor clip'
    const set = await command(open.options, ['user', 'set-password', ada.email], {
      terminal: true,
      typed: [
        ['New password: ', `${secret}\r`],
        ['Once more: ', `${secret}\r`]
      ]
    })
    t.equal(set.status, 0, set.stdout)
    t.notMatch(set.stdout, secret)
    t.match(set.stdout, new RegExp(`id +${ada.id}`))
    t.equal((await signInAt(open, ada.email, secret)).status, 200)

    const different = await command(open.options, ['user', 'set-password', ada.email], {
      terminal: true,
      typed: [
        ['New password: ', `${password}\r`],
        ['Once more: ', `${password} 2\r`]
      ]
    })
    t.match(different, { status: 2, stdout: /two different passwords: nothing was changed/ })
    const left = await command(open.options, ['user', 'set-password', ada.email], {
      terminal: true,
      typed: [['New password: ', '\u0003']]
    })
    t.match(left, { status: 2, stdout: /nothing was changed/ })
    t.equal((await signInAt(open, ada.email, secret)).status, 200)
  }
)

t.test(
  'O4: without a terminal no password is asked for, and none is a word of a command',
  async (t) => {
    const ada = await signUp(open.url)
    const secret = 'hunter2-and-more'
    t.match(await command(open.options, ['user', 'set-password', ada.email]), {
      status: 2,
      stdout: '',
      stderr: /no terminal.*--password-stdin/
    })
    for (const words of [
      ['set-password', ada.email, secret],
      ['create', newAddress(), secret],
      ['set-password', ada.email, '--password', secret],
      ['create', newAddress(), `--password=${secret}`],
      ['create', newAddress(), `-p${secret}`]
    ]) {
      const ended = await command(open.options, ['user', ...words])
      t.match(ended, { status: 2, stdout: '', stderr: /usage: holdfast user/ })
      t.notMatch(ended.stderr, secret)
    }
    t.match(
      await command(
        open.options,
        ['user', 'set-password', ada.email, '--generate', '--password-stdin'],
        { input: secret }
      ),
      { status: 2, stderr: /'--generate' cannot be used with option '--password-stdin'/ }
    )
    t.equal(await sessionState(ada.browser), 'valid')
  }
)

t.test('O4: no password of the command line stands in the log or in an event', async (t) => {
  const secret = 'quiet zebra capacitor clip'
  const email = newAddress()
  t.equal(
    (await command(open.options, ['user', 'create', email, '--password-stdin'], { input: secret }))
      .status,
    0
  )
  const { password: generated } = parsed(
    await command(open.options, ['user', 'set-password', email, '--generate'])
  )
  const events = JSON.stringify(await prisma.accountEvent.findMany())
  for (const each of [secret, String(generated)]) {
    t.notOk(open.log.some((line) => line.includes(each)))
    t.notOk(events.includes(each))
  }
})

t.test('O4: roles are set as they are over HTTP', async (t) => {
  const ada = await signUp(open.url)
  t.strictSame(
    parsed(await command(open.options, ['user', 'set-role', ada.email, 'auditor, user,auditor'])),
    { id: ada.id, roles: ['auditor', 'user'] }
  )
  t.match(await (await ada.browser.get('/session')).json(), {
    user: { roles: ['auditor', 'user'] }
  })
  t.match(await command(open.options, ['user', 'set-role', ada.email, 'emperor']), {
    status: 2,
    stderr: /there is no role emperor/
  })
  t.ok((await kindsOf(ada.id)).includes('operator role_changed'))
})
