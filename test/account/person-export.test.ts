import { randomUUID } from 'node:crypto'
import t from 'tap'
import { recordKinds, type ExportPage } from '../../src/user/person-export.js'
import { enrol, newAdmin, newPerson } from '../support/device.js'
import { Browser, password, signIn, signUp } from '../support/server.js'
import { command } from '../support/command.js'
import { buildWithMail } from '../support/page-mail.js'

const running = await buildWithMail(t, { trustedProxies: ['127.0.0.1'] })
const { url } = running
const { prisma } = running.app.holdfast

type Document = Record<string, Record<string, unknown>[]> & {
  id: string
  exportedAt: string
  user: Record<string, unknown>
}

const documentOf = async (who: string) => {
  const { status, stdout, stderr } = await command(running.options, ['user', 'export', who])
  if (status !== 0) throw new Error(stderr)
  return { text: stdout, document: JSON.parse(stdout) as Document }
}

const exportOf = (browser: Browser, query: string) => browser.get(`/api/auth/${query}`)

/** All pages of an export over HTTP. */
async function pagesOf(
  browser: Browser,
  path: string,
  limit: number
): Promise<ExportPage['records']> {
  const records: ExportPage['records'] = []
  for (let next: string | null = ''; next !== null;) {
    const response = await browser.get(
      `/api/auth/${path}${path.includes('?') ? '&' : '?'}limit=${limit}${next === '' ? '' : `&after=${encodeURIComponent(next)}`}`
    )
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
    const page = (await response.json()) as ExportPage
    t.ok(page.records.length <= limit)
    records.push(...page.records)
    next = page.next
  }
  return records
}

t.test(
  'O17: what is stored of a person is exported as one document, without a hash or secret',
  async (t) => {
    const ada = await newPerson(url)
    await enrol(ada)
    const app = await fetch(`${url}/api/auth/sign-in/email`, {
      method: 'POST',
      body: JSON.stringify({ email: ada.email, password }),
      headers: {
        'content-type': 'application/json',
        'x-forwarded-for': '203.0.113.7',
        'user-agent': 'FieldNotes/1'
      }
    })
    t.equal(app.status, 200)
    const { text, document } = await documentOf(ada.email)
    t.strictSame(Object.keys(document), [
      'id',
      'exportedAt',
      'user',
      'accounts',
      'secondFactors',
      'pendingProofs',
      'mailProofs',
      'mails',
      'sessions',
      'sessionEvents',
      'accountEvents'
    ])
    t.match(document, {
      id: ada.id,
      exportedAt: /^\d{4}-/,
      user: {
        id: ada.id,
        email: ada.email,
        name: 'Ada Lovelace',
        roles: ['user'],
        twoFactorEnabled: true,
        language: 'en'
      },
      accounts: [{ providerId: 'credential', accountId: ada.id }],
      secondFactors: [{ verified: true }],
      pendingProofs: [{ expiresAt: String }]
    })
    const session = await prisma.session.findUniqueOrThrow({ where: { id: ada.sessionId } })
    t.match(
      document['sessions']?.find(({ id }) => id === ada.sessionId),
      {
        ipAddress: '127.0.0.1',
        userAgent: session.userAgent,
        revokedReason: 'second_factor_changed',
        refreshCount: 0
      }
    )
    t.ok(
      document['sessions']?.some(
        ({ ipAddress, userAgent }) => ipAddress === '203.0.113.7' && userAgent === 'FieldNotes/1'
      )
    )
    t.ok(
      document['sessionEvents']?.some(
        ({ sessionId, type }) => sessionId === ada.sessionId && type === 'created'
      )
    )
    t.ok(document['accountEvents']?.some(({ kind }) => kind === 'second_factor_added'))
    t.match(
      // The one that asks for a proof is not sent where the address was proven since.
      document['mails']?.find(({ kind }) => kind === 'factor-added'),
      { kind: 'factor-added', createdAt: String, expiresAt: String }
    )
    t.match(
      document['mailProofs']?.find(({ purpose }) => purpose === 'verify'),
      { purpose: 'verify', createdAt: String, expiresAt: String }
    )
    const shown = [
      'id',
      'purpose',
      'kind',
      'createdAt',
      'expiresAt',
      'usedAt',
      'sentAt',
      'failedAt'
    ]
    for (const row of [...(document['mails'] ?? []), ...(document['mailProofs'] ?? [])])
      t.strictSame(
        Object.keys(row).filter((name) => !shown.includes(name)),
        [],
        'what a mail or proof was about, and when; nothing else'
      )

    const stored = [
      ...(await prisma.account.findMany({ where: { userId: ada.id } })),
      ...(await prisma.twoFactor.findMany({ where: { userId: ada.id } })),
      ...(await prisma.verification.findMany({ where: { value: ada.id } })),
      ...(await prisma.proof.findMany({ where: { email: ada.email } })),
      ...(await prisma.session.findMany({ where: { userId: ada.id } }))
    ]
      .flatMap((row) => Object.entries(row))
      .filter(([name]) =>
        /password|secret|backupCodes|identifier|^token$|hash|salt|pepper/i.test(name)
      )
      .flatMap(([, value]) => (typeof value === 'string' ? [value] : []))
    t.ok(stored.length > 5)
    for (const secret of stored) t.notOk(text.includes(secret), secret)
    t.notMatch(
      text,
      /argon2|"(password|secret|backupCodes|token|refreshHash|credentialEpoch|nameHash)"/
    )
    t.ok(
      (
        await prisma.accountEvent.findMany({ where: { userId: ada.id, kind: 'user_exported' } })
      ).every(({ actor }) => actor === 'operator')
    )
    t.equal(
      await prisma.accountEvent.count({ where: { userId: ada.id, kind: 'user_exported' } }),
      1,
      'an event records each export'
    )
  }
)

t.test(
  'O17: an export comes in pages, however much there is, and no record is lost or told twice',
  async (t) => {
    const ada = await signUp(url)
    await prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt")
    SELECT ${ada.id} || '-' || lpad(n::text, 6, '0'), ${ada.id} || n, ${ada.id}, now(), now() FROM generate_series(1, 700) n`
    // Some have many events. More sessions than one statement reads have none.
    await prisma.$executeRaw`
    INSERT INTO "session_event" ("sessionId", "userId", "type") SELECT s."id", s."userId", 'new_network' FROM "session" s, generate_series(1, 40) n
    WHERE s."userId" = ${ada.id} AND right(s."id", 6) IN ('000001', '000002', '000500', '000700')`
    const { document } = await documentOf(ada.id)
    t.equal(document['sessions']?.length, 701)
    const events = document['sessionEvents'] ?? []
    t.equal(events.length, 161)
    t.equal(new Set(events.map(({ id }) => id)).size, 161)

    for (const limit of [200, 37, 1]) {
      if (limit === 1)
        await prisma.session.deleteMany({
          where: { userId: ada.id, id: { not: ada.sessionId }, NOT: { id: { endsWith: '000500' } } }
        })
      const records = await pagesOf(ada.browser, 'export-account', limit)
      const count = (kind: string) => records.filter((each) => each.kind === kind).length
      t.strictSame(
        { sessions: count('sessions'), sessionEvents: count('sessionEvents'), user: count('user') },
        limit === 1
          ? { sessions: 2, sessionEvents: 41, user: 1 }
          : { sessions: 701, sessionEvents: 161, user: 1 }
      )
      t.strictSame(
        [...new Set(records.map(({ kind }) => kind))],
        recordKinds.filter((kind) => count(kind) > 0),
        'records come in the order of their kinds'
      )
    }
  }
)

t.test(
  'O17: a person exports after a recent sign-in, administrators export any user, and no others can',
  async (t) => {
    const ada = await signUp(url)
    const admin = await newAdmin(running)
    t.equal((await exportOf(new Browser(url), 'export-account')).status, 401)
    t.equal((await exportOf(ada.browser, `admin/export-user?userId=${admin.id}`)).status, 403)
    t.equal((await exportOf(ada.browser, 'export-account')).status, 200)
    for (const wrong of [
      'limit=0',
      'limit=201',
      'limit=x',
      'after=sessions',
      'after=secrets:x',
      `after=${'x'.repeat(200)}`
    ])
      t.equal((await exportOf(ada.browser, `export-account?${wrong}`)).status, 400, wrong)
    await prisma.session.update({ where: { id: ada.sessionId }, data: { reauthAt: null } })
    t.match(await (await exportOf(ada.browser, 'export-account')).json(), {
      cause: 'reauthentication_required'
    })

    const app = await fetch(`${url}/api/auth/sign-in/email`, {
      method: 'POST',
      body: JSON.stringify({ email: ada.email, password }),
      headers: { 'content-type': 'application/json', 'token-transport': 'body' }
    })
    const { tokens } = (await app.json()) as { tokens: { access_token: string } }
    const byToken = await fetch(`${url}/api/auth/export-account`, {
      headers: { authorization: `Bearer ${tokens.access_token}` }
    })
    t.match(await byToken.json(), { cause: 'access_token_insufficient' })

    const answer = await exportOf(admin.browser, `admin/export-user?userId=${ada.id}`)
    t.match(await answer.json(), { records: [{ kind: 'user', record: { email: ada.email } }] })
    t.equal((await exportOf(admin.browser, `admin/export-user?userId=${randomUUID()}`)).status, 404)
    const told = await prisma.accountEvent.findMany({
      where: { userId: ada.id, kind: 'user_exported' },
      orderBy: { id: 'asc' }
    })
    t.strictSame(
      told.map(({ actor, actorId }) => [actor, actorId]),
      [
        ['person', null],
        ['administrator', admin.id]
      ]
    )
  }
)

t.test(
  'O17: an export does not tell from where an administrator acted, or which one',
  async (t) => {
    const admin = await newAdmin(running)
    const ada = await signUp(url)
    const headers = { 'x-forwarded-for': '198.51.100.77', 'user-agent': 'adminmark/1' }
    const { browser } = await signIn(url, admin.email)
    await browser.post(
      '/api/auth/admin/update-user',
      { userId: ada.id, data: { name: 'Ada King' } },
      headers
    )
    t.equal(
      (await browser.post('/api/auth/admin/impersonate-user', { userId: ada.id }, headers)).status,
      200
    )
    const { text, document } = await documentOf(ada.email)
    t.ok(
      document['sessions']?.some(({ impersonation }) => impersonation === true),
      'the export says that somebody impersonated the user'
    )
    t.ok(
      document['accountEvents']?.some(
        ({ kind, actor }) => kind === 'profile_changed' && actor === 'administrator'
      )
    )
    for (const mark of ['198.51.100.77', 'adminmark', admin.id]) t.notOk(text.includes(mark), mark)
  }
)

t.test(
  'O17: for an unknown id nothing is exported, and for a deleted user what is left',
  async (t) => {
    t.match(await command(running.options, ['user', 'export', randomUUID()]), {
      status: 1,
      stdout: '',
      stderr: /nothing is kept/
    })
    t.match(await command(running.options, ['user', 'export']), {
      status: 2,
      stderr: /usage: holdfast user export/
    })
    const ada = await signUp(url)
    await command(running.options, ['user', 'delete', ada.email])
    const { document } = await documentOf(ada.id)
    t.strictSame(Object.keys(document), [
      'id',
      'exportedAt',
      'sessions',
      'sessionEvents',
      'accountEvents'
    ])
  }
)
