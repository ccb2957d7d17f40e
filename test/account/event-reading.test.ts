import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { runCommand } from '../../src/operator/commands.js'
import {
  authSecret,
  Browser,
  build,
  makeAdmin,
  password,
  restart,
  signIn,
  signUp,
  type Person
} from '../support/server.js'
import { findAccountEvents } from '../support/account-events.js'
import { until } from '../support/poll.js'
import { runCli } from '../support/server-process.js'

const running = await build(t, { trustedProxies: ['127.0.0.1'] })
const { url, app } = running
const WRONG = 'a wrong guess, surely'

interface Answer {
  status: number
  body: Record<string, unknown> & {
    events: Record<string, unknown>[]
    sessions: Record<string, unknown>[]
    next: string | null
  }
}

async function ask(
  who: Browser,
  path: string,
  headers: Record<string, string> = {}
): Promise<Answer> {
  const response = await who.get(path, headers)
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

const admin = (path: string) => `/api/auth/admin/${path}`

async function newAdmin(): Promise<Person> {
  const person = await signUp(url)
  await makeAdmin(running, person)
  return signIn(url, person.email)
}

/** A user with events: three sessions, two of which have ended, failed sign-ins, a new role. */
async function somebody(by: Person): Promise<{ ada: Person; ended: string[] }> {
  const ada = await signUp(url)
  const [phone, tablet] = [await signIn(url, ada.email), await signIn(url, ada.email)]
  await ada.browser.delete(`/sessions/${phone.sessionId}`)
  await app.holdfast.revoker.revoke([tablet.sessionId], null, 'revoked_by_operator')
  for (let i = 0; i < 3; i++)
    await new Browser(url).post(
      '/api/auth/sign-in/email',
      { email: ada.email, password: WRONG },
      { 'x-forwarded-for': '203.0.113.7' }
    )
  await by.browser.post(admin('set-role'), { userId: ada.id, role: 'admin' })
  await by.browser.post(admin('set-role'), { userId: ada.id, role: 'user' })
  await until(
    'the failed sign-ins to be written',
    async () =>
      (await findAccountEvents(running, { userId: ada.id, kind: 'sign_in_failed' })).length > 0
  )
  return { ada, ended: [phone.sessionId, tablet.sessionId] }
}

t.test('O5: an administrator sees why a user was signed out', async (t) => {
  const root = await newAdmin()
  const {
    ada,
    ended: [phone = '', tablet = '']
  } = await somebody(root)
  const history = await ask(root.browser, admin(`list-user-session-history?userId=${ada.id}`))
  t.equal(history.status, 200)
  t.strictSame(
    history.body.sessions.map(({ id, state, endedReason, endedAt }) => [
      id,
      state,
      endedReason,
      typeof endedAt
    ]),
    [
      [tablet, 'revoked', 'revoked_by_operator', 'string'],
      [phone, 'revoked', 'revoked_by_user', 'string'],
      [ada.sessionId, 'active', null, 'object']
    ]
  )
  for (const path of [
    admin(`list-session-events?sessionId=${phone}`),
    `/sessions/${phone}/events`
  ]) {
    const { status, body } = await ask(root.browser, path)
    t.equal(status, 200, path)
    t.match(
      body.events,
      [
        { type: 'created', cause: 'pwd' },
        { type: 'revoked', cause: 'revoked_by_user' }
      ],
      path
    )
  }
  const events = await ask(root.browser, admin(`list-user-events?userId=${ada.id}`))
  t.strictSame(
    events.body.events
      .map(({ kind, actor, actorId }) => `${String(kind)} ${String(actor)} ${String(actorId)}`)
      .toSorted(),
    [
      `role_changed administrator ${root.id}`,
      `role_changed administrator ${root.id}`,
      'sessions_revoked system null',
      'sign_in_failed unknown null',
      'user_created person null'
    ]
  )
  t.match(
    events.body.events.find(({ kind }) => kind === 'sign_in_failed'),
    { count: 3, cause: 'wrong_password', ipAddress: '203.0.113.7' }
  )
  const ofAKind = await ask(
    root.browser,
    admin(`list-user-events?userId=${ada.id}&kind=role_changed`)
  )
  t.equal(ofAKind.body.events.length, 2)
  const byRoot = await ask(
    root.browser,
    admin(
      `list-events?actorId=${root.id}&since=${encodeURIComponent(new Date(Date.now() - 60_000).toISOString())}`
    )
  )
  t.strictSame(new Set(byRoot.body.events.map(({ kind }) => kind)), new Set(['role_changed']))
  t.strictSame(
    (
      await ask(
        root.browser,
        admin(
          `list-events?actorId=${root.id}&since=${encodeURIComponent(new Date(Date.now() + 60_000).toISOString())}`
        )
      )
    ).body.events,
    []
  )
  const text = JSON.stringify([history, events])
  t.notMatch(text, /h1_|hst1_|"token"/, 'the answer contains no token and no hash of one')
})

t.test('O5: lists come in pages that have a bound', async (t) => {
  const root = await newAdmin()
  const { ada } = await somebody(root)
  for (const [path, name, count] of [
    [admin(`list-user-session-history?userId=${ada.id}`), 'sessions', 3],
    [admin(`list-user-events?userId=${ada.id}`), 'events', 5],
    [admin(`list-session-events?sessionId=${ada.sessionId}`), 'events', 1]
  ] as const) {
    const whole = (await ask(root.browser, path)).body[name].map(({ id }) => id)
    t.equal(whole.length, count, path)
    const pages: unknown[] = []
    for (let next: string | null = ''; next !== null;) {
      const { body } = await ask(root.browser, `${path}&limit=2${next ? `&after=${next}` : ''}`)
      t.ok(body[name].length <= 2)
      pages.push(...body[name].map(({ id }) => id))
      next = body.next
    }
    t.strictSame(pages, whole, path)
    for (const wrong of [
      'limit=0',
      'limit=201',
      'limit=x',
      'after=x',
      'limit=1&limit=2',
      'after=%00'
    ])
      t.equal((await ask(root.browser, `${path}&${wrong}`)).status, 400, `${path}&${wrong}`)
  }
  for (const wrong of [
    'list-user-events?userId=',
    'list-user-events',
    'list-events?kind=nonsense',
    'list-events?since=yesterday',
    'list-session-events?sessionId=x'
  ])
    t.equal((await ask(root.browser, admin(wrong))).status, 400, wrong)
})

t.test('O5: only an administrator sees other users, and no access token does', async (t) => {
  const root = await newAdmin()
  const {
    ada,
    ended: [phone = '']
  } = await somebody(root)
  const eve = await signUp(url)
  const paths = [
    `list-user-session-history?userId=${ada.id}`,
    `list-session-events?sessionId=${phone}`,
    `list-user-events?userId=${ada.id}`,
    'list-events'
  ].map(admin)
  for (const path of paths) {
    t.match(
      await ask(eve.browser, path),
      { status: 403, body: { code: 'YOU_ARE_NOT_ALLOWED_TO_SEE_EVENTS' } },
      path
    )
    t.equal((await ask(new Browser(url), path)).status, 401, path)
  }
  t.match(await ask(eve.browser, `/sessions/${phone}/events`), {
    status: 404,
    body: { cause: 'not_found' }
  })
  const tokens = await tokensOf(root)
  for (const path of paths)
    t.match(
      await ask(new Browser(url), path, { authorization: `Bearer ${tokens.access_token}` }),
      { status: 403, body: { cause: 'access_token_insufficient' } },
      path
    )
  t.match(
    await ask(new Browser(url), `/sessions/${phone}/events`, {
      authorization: `Bearer ${tokens.access_token}`
    }),
    { status: 403, body: { cause: 'access_token_insufficient' } }
  )
  t.equal(
    (
      await ask(new Browser(url), `/sessions/${tokens.session_id}/events`, {
        authorization: `Bearer ${tokens.access_token}`
      })
    ).status,
    200,
    'an access token may see events of its own session'
  )
  t.equal(
    (await ask(new Browser(url), paths[0] ?? '', { authorization: `Bearer ${root.bearer}` }))
      .status,
    200,
    'a session token is enough, as elsewhere below /admin'
  )
  await app.holdfast.auth.users.update(root.id, { role: 'user' })
  for (const path of [...paths, `/sessions/${phone}/events`])
    t.ok([403, 404].includes((await ask(root.browser, path)).status), `${path}, without the role`)
})

async function tokensOf({ email }: Person): Promise<{ access_token: string; session_id: string }> {
  const response = await new Browser(url).post(
    '/api/auth/sign-in/email',
    { email, password },
    { 'token-transport': 'body' }
  )
  return ((await response.json()) as { tokens: { access_token: string; session_id: string } })
    .tokens
}

t.test(
  'O15: a person sees what happened to their own account, and not who else did it',
  async (t) => {
    const root = await newAdmin()
    const { ada } = await somebody(root)
    await root.browser.post(admin('impersonate-user'), { userId: ada.id })
    await root.browser.post(admin('stop-impersonating'))
    const { status, body } = await ask(ada.browser, '/account/events')
    t.equal(status, 200)
    t.strictSame(
      new Set(body.events.map(({ kind }) => kind)),
      new Set([
        'user_created',
        'sign_in_failed',
        'role_changed',
        'sessions_revoked',
        'impersonation_begun',
        'impersonation_ended'
      ])
    )
    for (const { kind, actor, ipAddress, userAgent } of body.events) {
      if (actor === 'administrator')
        t.strictSame({ ipAddress, userAgent }, { ipAddress: null, userAgent: null }, String(kind))
    }
    t.notMatch(JSON.stringify(body), new RegExp(`${root.id}|nameHash|actorId`))
    const first = await ask(ada.browser, '/account/events?limit=1')
    t.equal(first.body.events.length, 1)
    t.strictSame(
      (
        await ask(ada.browser, `/account/events?limit=200&after=${first.body.next}`)
      ).body.events.map(({ id }) => id),
      body.events.slice(1).map(({ id }) => id)
    )
    for (const wrong of ['limit=0', 'limit=x', 'after=x', 'userId=x'])
      t.equal((await ask(ada.browser, `/account/events?${wrong}`)).status, 400, wrong)
    t.match(await ask(new Browser(url), '/account/events'), {
      status: 401,
      body: { cause: 'credential_missing' }
    })
    const eve = await signUp(url)
    t.strictSame(
      (await ask(eve.browser, '/account/events')).body.events.map(({ kind }) => kind),
      ['user_created']
    )
  }
)

t.test(
  "O5: a user who takes an address that another user had sees nothing of that user's",
  async (t) => {
    const root = await newAdmin()
    const ada = await signUp(url)
    await root.browser.post(admin('update-user'), {
      userId: ada.id,
      data: { email: `${randomUUID()}@example.com` }
    })
    const eve = new Browser(url)
    const { user } = (await (
      await eve.post('/api/auth/sign-up/email', { name: 'Eve', email: ada.email, password })
    ).json()) as { user: { id: string } }
    t.strictSame(
      (await ask(eve, '/account/events')).body.events.map(({ kind }) => kind),
      ['user_created']
    )
    t.strictSame(
      (await ask(root.browser, admin(`list-user-events?userId=${user.id}`))).body.events.map(
        ({ kind }) => kind
      ),
      ['user_created']
    )
  }
)

t.test(
  'O5: attempts that were refused before the account was looked up are found with the user',
  async (t) => {
    const limited = await build(t, { rateLimit: true })
    const ada = await signUp(limited.url)
    const statuses: number[] = []
    for (let i = 0; i < 12; i++)
      statuses.push(
        (
          await new Browser(limited.url).post('/api/auth/sign-in/email', {
            email: ada.email,
            password: WRONG
          })
        ).status
      )
    t.ok(statuses.includes(429))
    const events = (...args: string[]) =>
      runCommand(limited.app.holdfast, { operation: 'events', args }) as Promise<
        Record<string, unknown>[]
      >
    const found = await until('both to be written', async () => {
      const written = await events('--user', ada.email, '--kind', 'sign_in_failed')
      return written.length === 2 ? written : null
    })
    t.strictSame(
      found.map(({ cause, userId }) => `${String(cause)} ${userId === ada.id}`).toSorted(),
      ['rate_limited false', 'wrong_password true']
    )
    t.equal((await events('--name', ada.email.toUpperCase(), '--kind', 'sign_in_failed')).length, 2)
    t.strictSame(await events('--name', 'nobody@example.com'), [])
  }
)

async function run(operation: string, ...args: string[]): Promise<Record<string, unknown>[]> {
  return (await runCommand(app.holdfast, { operation, args })) as Record<string, unknown>[]
}

t.test('O5: the command line tells it, too', async (t) => {
  const root = await newAdmin()
  const {
    ada,
    ended: [phone = '', tablet = '']
  } = await somebody(root)
  const kinds = async (...args: string[]) => (await run('events', ...args)).map(({ kind }) => kind)
  t.strictSame(
    new Set(await kinds('--user', ada.email)),
    new Set(['user_created', 'sign_in_failed', 'role_changed', 'sessions_revoked'])
  )
  t.strictSame(await kinds('--user', ada.id, '--kind', 'role_changed', '--limit', '1'), [
    'role_changed'
  ])
  t.strictSame(await kinds('--by', root.email), ['role_changed', 'role_changed'])
  t.strictSame(
    await kinds('--user', ada.id, '--since', new Date(Date.now() + 60_000).toISOString()),
    []
  )
  t.equal((await kinds('--user', ada.id, '--since', '1h')).length, 5)
  t.ok((await kinds('--since', '7d')).length >= 5)
  t.strictSame(
    (await run('session list', ada.email, '--all')).map(({ id, state, endedReason }) => [
      id,
      state,
      endedReason
    ]),
    [
      [tablet, 'revoked', 'revoked_by_operator'],
      [phone, 'revoked', 'revoked_by_user'],
      [ada.sessionId, 'active', null]
    ]
  )
  t.strictSame(
    (await run('session list', ada.email)).map(({ id }) => id),
    [ada.sessionId]
  )
  t.match(await run('session events', phone), [
    { type: 'created' },
    { type: 'revoked', cause: 'revoked_by_user' }
  ])
  for (const [operation, ...args] of [
    ['events', '--kind', 'nonsense'],
    ['events', '--since', 'yesterday'],
    ['events', '--limit', '0'],
    ['events', 'x'],
    ['events', '--user', 'a@b.example', '--name', 'a@b.example'],
    ['session events'],
    ['session events', 'a', 'b'],
    ['session list', ada.email, '--limit', '1001'],
    ['session list']
  ] as const)
    await t.rejects(
      run(operation, ...args),
      { code: 'invalid_input' },
      [operation, ...args].join(' ')
    )
  await t.rejects(run('session events', randomUUID()), { code: 'not_found' })
  await t.rejects(run('events', '--user', 'nobody@example.com'), { code: 'not_found' })
  // A deleted user is found by the id.
  await root.browser.post(admin('remove-user'), { userId: ada.id })
  t.ok((await kinds('--user', ada.id)).includes('user_deleted'))
  t.equal((await run('session list', ada.id, '--all')).length, 3)
})

t.test('O5: a name is found under the secret that came before, too', async (t) => {
  const before = await build(t)
  const name = `${randomUUID()}@example.com`
  await new Browser(before.url).post('/api/auth/sign-in/email', { email: name, password: WRONG })
  const after = await restart(t, before, {
    authSecret: randomUUID().repeat(2),
    authSecretPrevious: [before.options.authSecret ?? authSecret]
  })
  await new Browser(after.url).post('/api/auth/sign-in/email', { email: name, password: WRONG })
  const found = await until('both to be found', async () => {
    const events = (await runCommand(after.app.holdfast, {
      operation: 'events',
      args: ['--name', name]
    })) as Record<string, unknown>[]
    return events.length === 2 ? events : null
  })
  t.equal(new Set(found.map(({ nameHash }) => nameHash)).size, 2)
})

t.test('O5: holdfast events prints a line of JSON for each event', async (t) => {
  const ada = await signUp(url)
  await signIn(url, ada.email)
  await app.holdfast.auth.users.update(ada.id, { role: 'admin' })
  const lines = await printed(t, ['events', '--user', ada.email])
  t.strictSame(
    lines.map((line) => (JSON.parse(line) as { kind: string }).kind),
    ['role_changed', 'user_created']
  )
  const events = await printed(t, ['session', 'events', ada.sessionId, '--json'])
  t.strictSame(
    events.map((line) => (JSON.parse(line) as { type: string }).type),
    ['created']
  )
  const help = await printed(t, ['help'])
  t.match(help.join('\n'), /^ {2}events +Tells what happened to accounts/m)
})

async function printed(t: Test, words: string[]): Promise<string[]> {
  const process = runCli(t, words, { baseUrl: url, ...running.options })
  t.equal(await process.exited, 0, process.stderr)
  return process.stdout.trim().split('\n')
}
