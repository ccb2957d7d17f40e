import t, { type Test } from 'tap'
import { findAccountEvents } from '../support/account-events.js'
import {
  build,
  makeAdmin,
  password,
  proveAddress,
  signIn,
  signUp,
  type Person,
  type Running
} from '../support/server.js'
import { runCommand } from '../../src/operator/commands.js'
import { totpOf } from '../support/totp.js'

const NEW_PASSWORD = 'Tr0ub4dor & three more words'

/** The kinds of a user's events, oldest first. An actor other than the user follows a colon. */
async function kindsOf(running: Running, userId: string | null): Promise<string[]> {
  const events = await findAccountEvents(running, { userId })
  return events.map(({ kind, actor }) => (actor === 'person' ? String(kind) : `${kind}: ${actor}`))
}

async function answered(
  t: Test,
  what: string,
  response: Promise<Response>,
  status = 200
): Promise<Record<string, unknown>> {
  const { status: actual, text } = await response.then(async (answer) => ({
    status: answer.status,
    text: await answer.text()
  }))
  t.equal(actual, status, `${what}: ${text}`)
  return JSON.parse(text) as Record<string, unknown>
}

async function administrator(running: Running): Promise<Person> {
  const person = await signUp(running.url)
  await makeAdmin(running, person)
  return signIn(running.url, person.email)
}

t.test(
  "O15: a person's own changes are told, each once, with address, user agent and session",
  async (t) => {
    const running = await build(t)
    const ada = await signUp(running.url)
    await answered(
      t,
      'a new password',
      ada.browser.post(
        '/api/auth/change-password',
        { currentPassword: password, newPassword: NEW_PASSWORD },
        { 'user-agent': 'a test' }
      )
    )
    await proveAddress(ada)
    const { totpURI, backupCodes } = (await answered(
      t,
      'factors',
      ada.browser.post('/api/auth/two-factor/enable', { password: NEW_PASSWORD })
    )) as { totpURI: string; backupCodes: string[] }
    await answered(
      t,
      'a code',
      ada.browser.post('/api/auth/two-factor/verify-totp', {
        code: totpOf(new URL(totpURI).searchParams.get('secret') ?? '')
      })
    )
    await answered(
      t,
      'a backup code',
      ada.browser.post('/api/auth/two-factor/verify-backup-code', { code: backupCodes[0] })
    )
    await answered(
      t,
      'other backup codes',
      ada.browser.post('/api/auth/two-factor/generate-backup-codes', { password: NEW_PASSWORD })
    )
    await answered(
      t,
      'no factors',
      ada.browser.post('/api/auth/two-factor/disable', { password: NEW_PASSWORD })
    )
    await answered(
      t,
      'another name',
      ada.browser.post('/api/auth/update-user', { name: 'Augusta' })
    )
    t.strictSame(await kindsOf(running, ada.id), [
      'user_created',
      'password_changed',
      'backup_codes_made',
      'second_factor_added',
      'backup_code_used',
      'backup_codes_made',
      'second_factor_removed'
    ])
    const [, changed] = await findAccountEvents(running, { userId: ada.id })
    t.match(changed, {
      userId: ada.id,
      actorId: null,
      sessionId: ada.sessionId,
      ipAddress: '127.0.0.1',
      userAgent: 'a test',
      detail: null,
      nameHash: null,
      count: 1,
      sumKey: null
    })
    t.match(changed?.['id'], /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  }
)

t.test('O15: acts of administrators are events, with the actor and the user', async (t) => {
  const running = await build(t, { roles: ['editor'] })
  const admin = await administrator(running)
  const { user } = (await answered(
    t,
    'a new user',
    admin.browser.post('/api/auth/admin/create-user', {
      email: 'bob@example.com',
      password,
      name: 'Bob',
      role: 'user'
    })
  )) as { user: { id: string } }
  const userId = user.id
  const bob = await signIn(running.url, 'bob@example.com')
  const act = (path: string, body: object) =>
    answered(t, path, admin.browser.post(`/api/auth/admin/${path}`, { userId, ...body }))
  await act('set-role', { role: ['user', 'editor'] })
  await act('set-role', { role: ['user', 'editor'] })
  await act('update-user', { data: { name: 'Robert' } })
  await act('update-user', { data: { email: 'robert@example.com' } })
  await act('set-user-password', { newPassword: NEW_PASSWORD })
  await act('ban-user', {
    banReason: "a reason that is nobody else's business",
    banExpiresIn: 3_600
  })
  await act('unban-user', {})
  const again = await signIn(running.url, 'robert@example.com', NEW_PASSWORD)
  await act('revoke-user-sessions', {})
  await act('revoke-user-sessions', {})
  await act('impersonate-user', {})
  await answered(t, 'stop', admin.browser.post('/api/auth/admin/stop-impersonating'))
  await act('remove-user', {})
  const events = await findAccountEvents(running, { userId })
  t.strictSame(
    events.map(({ kind }) => kind),
    [
      'user_created',
      'role_changed',
      'profile_changed',
      'email_changed',
      'password_changed',
      'user_banned',
      'user_unbanned',
      'sessions_revoked',
      'impersonation_begun',
      'impersonation_ended',
      'user_deleted'
    ]
  )
  for (const { kind, actor, actorId } of events)
    t.strictSame([kind, actor, actorId], [kind, 'administrator', admin.id])
  const byKind = new Map(events.map((event) => [event['kind'], event]))
  t.strictSame(byKind.get('role_changed')?.['detail'], { from: ['user'], to: ['user', 'editor'] })
  t.strictSame(byKind.get('profile_changed')?.['detail'], { fields: ['name'] })
  t.match(byKind.get('user_banned')?.['detail'], { until: /^\d{4}-\d\d-\d\dT/ })
  t.strictSame(byKind.get('sessions_revoked')?.['detail'], { sessions: 1 })
  t.equal(byKind.get('sessions_revoked')?.['sessionId'], again.sessionId)
  t.strictSame(byKind.get('impersonation_begun')?.['detail'], { administrator: admin.id })
  t.equal(
    byKind.get('impersonation_begun')?.['sessionId'],
    byKind.get('impersonation_ended')?.['sessionId']
  )
  const text = JSON.stringify(events)
  for (const word of ['nobody else', NEW_PASSWORD, 'bob@example.com', 'robert@', 'Robert'])
    t.notMatch(text, word)
  t.ok(bob.sessionId)
})

t.test("O15: what the command line does is the operator's doing", async (t) => {
  const running = await build(t)
  const { holdfast } = running.app
  const ada = await signUp(running.url)
  const run = (operation: string, ...args: string[]) => runCommand(holdfast, { operation, args })
  await run('user set-role', ada.email, 'admin')
  await run('session revoke', ada.sessionId)
  const again = await signIn(running.url, ada.email)
  await run('session revoke', '--user', ada.email)
  await run('session revoke', again.sessionId)
  await run('gateway create', 'edge')
  await run('gateway rotate', 'edge')
  await run('gateway disable', 'edge')
  await run('keys rotate', '--force')
  t.strictSame(await kindsOf(running, ada.id), [
    'user_created',
    'role_changed: operator',
    'sessions_revoked: operator',
    'sessions_revoked: operator'
  ])
  t.strictSame(await kindsOf(running, null), [
    'gateway_created: operator',
    'gateway_secret_rotated: operator',
    'gateway_disabled: operator',
    'signing_key_rotated: operator'
  ])
})

t.test('O15: a change and what tells of it are committed together, or neither is', async (t) => {
  const running = await build(t)
  const { prisma } = running.app.holdfast
  const ada = await signUp(running.url)
  const before = await prisma.account.findFirst({ where: { userId: ada.id } })
  // The table takes nothing more, as with a full disk, or when a process dies before the commit.
  await prisma.$executeRawUnsafe(
    'ALTER TABLE "account_event" ADD CONSTRAINT "none" CHECK (false) NOT VALID'
  )
  t.equal(
    (
      await ada.browser.post('/api/auth/change-password', {
        currentPassword: password,
        newPassword: NEW_PASSWORD
      })
    ).status,
    503
  )
  t.strictSame(
    await prisma.account.findFirst({ where: { userId: ada.id } }),
    before,
    'the password has not changed'
  )
  t.equal((await ada.browser.get('/session')).status, 200, 'the session continues')
  await prisma.$executeRawUnsafe('ALTER TABLE "account_event" DROP CONSTRAINT "none"')
  t.equal(
    (
      await ada.browser.post('/api/auth/change-password', {
        currentPassword: password,
        newPassword: NEW_PASSWORD
      })
    ).status,
    200
  )
  t.strictSame(await kindsOf(running, ada.id), ['user_created', 'password_changed'])
})

t.test(
  'O15: a ban that ends by itself, a way in that is removed, and a person who leaves are told',
  async (t) => {
    const running = await build(t)
    const { prisma, auth } = running.app.holdfast
    const ada = await signUp(running.url)
    await auth.users.update(ada.id, { banned: true, banExpires: new Date(Date.now() + 86_400_000) })
    await prisma.user.update({
      where: { id: ada.id },
      data: { banExpires: new Date(Date.now() - 60_000) }
    })
    const { browser } = await signIn(running.url, ada.email)
    await prisma.account.create({
      data: { id: 'other', accountId: 'ada-elsewhere', providerId: 'github', userId: ada.id }
    })
    await answered(
      t,
      'one way in less',
      browser.post('/api/auth/unlink-account', { accountId: 'other' })
    )
    await answered(t, 'no account', browser.post('/api/auth/delete-user', { password }))
    const events = await findAccountEvents(running, { userId: ada.id })
    t.strictSame(
      events.map(({ kind, cause, actor }) => [kind, cause, actor]),
      [
        ['user_created', null, 'person'],
        ['user_banned', null, 'system'],
        ['user_unbanned', 'ban_expired', 'system'],
        ['sign_in_method_removed', null, 'person'],
        ['user_deleted', null, 'person']
      ]
    )
    t.strictSame(events[3]?.['detail'], { provider: 'github' })
  }
)

t.test('O15: an act in an impersonation has the administrator as actor', async (t) => {
  const running = await build(t)
  const admin = await administrator(running)
  const ada = await signUp(running.url)
  await answered(
    t,
    'impersonation',
    admin.browser.post('/api/auth/admin/impersonate-user', { userId: ada.id })
  )
  await answered(t, 'another name', admin.browser.post('/api/auth/update-user', { name: 'Eve' }))
  await answered(t, 'sign-out', admin.browser.post('/api/auth/sign-out'))
  const events = await findAccountEvents(running, { userId: ada.id })
  t.strictSame(
    events.map(({ kind, actor, actorId }) => [kind, actor, actorId]),
    [
      ['user_created', 'person', null],
      ['impersonation_begun', 'administrator', admin.id],
      ['profile_changed', 'administrator', admin.id],
      ['impersonation_ended', 'administrator', admin.id]
    ]
  )
})

t.test('O15: an impersonation that ends with what allowed it is told as well', async (t) => {
  const running = await build(t)
  const admin = await administrator(running)
  const ada = await signUp(running.url)
  await answered(
    t,
    'impersonation',
    admin.browser.post('/api/auth/admin/impersonate-user', { userId: ada.id })
  )
  await running.app.holdfast.auth.users.update(admin.id, { role: 'user' })
  const ended = (await findAccountEvents(running, { userId: ada.id })).at(-1)
  t.match(ended, {
    kind: 'impersonation_ended',
    cause: 'impersonation_ended',
    detail: { administrator: admin.id }
  })
})

t.test('O15: retention removes old events in batches, and no others', async (t) => {
  const running = await build(t, { accountEventRetentionSeconds: 3_600 })
  const { prisma } = running.app.holdfast
  const ada = await signUp(running.url)
  await prisma.$executeRaw`
    INSERT INTO "account_event" ("kind", "actor", "at") SELECT 'sign_in_failed', 'unknown', clock_timestamp() - interval '2 hours' FROM generate_series(1, 12000)`
  const steps = await Promise.all(
    [1, 2].map(
      () =>
        runCommand(running.app.holdfast, { operation: 'retention', args: [] }) as Promise<{
          removedEvents: number
        }>
    )
  )
  t.equal(
    steps.reduce((sum, { removedEvents }) => sum + removedEvents, 0),
    12_000
  )
  t.strictSame(
    (await findAccountEvents(running)).map(({ kind, userId }) => [kind, userId]),
    [['user_created', ada.id]]
  )
})
