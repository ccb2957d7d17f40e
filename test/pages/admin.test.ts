import t from 'tap'
import { enrol, nextStep, officialClient, totp } from '../support/device.js'
import { PageBrowser, type ShownPage } from '../support/page-browser.js'
import { newPageAdmin, newPagePerson, pagesOf, type PagePerson } from '../support/page-people.js'
import { until } from '../support/poll.js'
import { build, password, sessionState, signIn } from '../support/server.js'

const running = await build(t, { roles: ['auditor'], cacheTtlSeconds: 1 })
const { url } = running
const { prisma } = running.app.holdfast
const administrator = await newPageAdmin(running)
const { pages } = administrator

const pathOf = ({ id }: { id: string }) => `/admin/users/${id}`

/** Sends a form of a user's page. */
const submit = (user: { id: string }, form: string, fields: Record<string, string> = {}) =>
  pages.submit(pathOf(user), fields, { action: `${pathOf(user)}/${form}` })

const userOf = ({ id }: { id: string }) => prisma.user.findUniqueOrThrow({ where: { id } })

/** Addresses of the users that a page of the list shows. */
const listedOn = ({ html }: ShownPage) =>
  [...html.matchAll(/<a href="\/admin\/users\/[^"]+"><strong>([^<]*)/g)].map(
    ([, address = '']) => address
  )

/** Where a page links to its next one. Null at the end. */
function nextOf({ html }: ShownPage): string | null {
  const [, next] = /<a href="([^"]*)">More users</.exec(html) ?? []
  return next?.replaceAll('&amp;', '&') ?? null
}

/** Writes users into the store, without accounts. Their ids go from `<prefix>0000001` on. */
async function addUsers(
  prefix: string,
  count: number,
  { name = 'Somebody', store = prisma } = {}
): Promise<void> {
  await store.$executeRaw`
    INSERT INTO "user" ("id", "name", "email")
    SELECT ${prefix} || lpad(n::text, 7, '0'), ${name} || ' ' || n, ${prefix} || n || '@many.example'
    FROM generate_series(1, ${count}::int) n`
}

t.test('users are found by id, and by a part of name or address, ignoring case', async (t) => {
  const [ada, grace] = [await newPagePerson(url), await newPagePerson(url)]
  await running.app.holdfast.auth.users.update(grace.id, { name: 'Großmutter HOPPER 100%_' })
  const found = async (q: string) =>
    listedOn(await pages.open(`/admin/users?q=${encodeURIComponent(q)}`))
  t.strictSame(await found(ada.id), [ada.email])
  await running.app.holdfast.auth.users.update(grace.id, { email: `x${ada.email}` })
  for (const address of [ada.email, ` ${ada.email.toUpperCase()} `])
    t.strictSame(await found(address), [ada.email], 'a whole address is that of one user')
  t.strictSame((await found(ada.email.slice(1))).length, 2, 'a part is that of any')
  await running.app.holdfast.auth.users.update(grace.id, { email: grace.email })
  t.strictSame(await found('hopper'), [grace.email])
  t.strictSame(await found('  großMUTTER hop '), [grace.email])
  t.strictSame(await found(grace.email.slice(4, 20).toUpperCase()), [grace.email])
  t.strictSame(await found('100%_'), [grace.email], 'signs of SQL patterns are letters')
  for (const nobody of ['%', 'nobody at all', "' OR 1=1 --", ada.id.slice(0, 20)])
    t.strictSame((await found(nobody)).includes(ada.email), false, nobody)
  const none = await pages.open('/admin/users?q=nobody%20at%20all')
  t.match(none.html, /Nobody was found/)
  t.match(none.html, 'value="nobody at all"', 'what was sought stays in the field')
  const all = await found('')
  for (const { email } of [ada, grace, administrator]) t.ok(all.includes(email), 'all without')
})

t.test('a list of users goes on page by page, and has each of them once', async (t) => {
  await addUsers('page-', 120, { name: 'Paged' })
  for (const q of ['', 'PAGED']) {
    const seen: string[] = []
    let steps = 0
    for (let next: string | null = `/admin/users?q=${q}`; next !== null;) {
      const shown: ShownPage = await pages.open(next)
      const listed = listedOn(shown)
      t.ok(listed.length <= 50, 'fifty on a page')
      seen.push(...listed)
      steps++
      next = nextOf(shown)
    }
    t.equal(new Set(seen).size, seen.length, 'nobody twice')
    t.equal(seen.filter((address) => address.endsWith('@many.example')).length, 120)
    t.ok(steps >= 3, `${steps} pages`)
  }
  const { body } = await ask('q=paged&limit=2')
  t.equal(body.users.length, 2)
  t.match(body.users[0], { name: 'Paged 120', email: 'page-120@many.example', banned: false })
  const { body: last } = await ask('q=paged%20120&limit=2')
  t.match([last.users.length, last.next], [1, null])
  for (const wrong of ['limit=0', 'limit=201', 'limit=x', 'after=', `q=${'x'.repeat(257)}`])
    t.equal((await ask(wrong)).status, 400, wrong)
})

async function ask(query: string): Promise<{ status: number; body: FoundUsers }> {
  const answer = await pages.get(`/api/auth/admin/find-users?${query}`)
  return { status: answer.status, body: (await answer.json()) as FoundUsers }
}

interface FoundUsers {
  users: { id: string; name: string; email: string; banned: boolean }[]
  next: string | null
}

t.test('one request reads a bounded number of users', { timeout: 120_000 }, async (t) => {
  const many = await build(t)
  const { pages: desk } = await newPageAdmin(many)
  // Their ids sort behind all others, so that they are read first. A statement has 1.5 s.
  for (let part = 0; part <= 10; part++)
    await addUsers(`zzz-${part}-`, part === 10 ? 1 : 10_000, { store: many.app.holdfast.prisma })
  await many.app.holdfast.prisma.$executeRaw`
    INSERT INTO "user" ("id", "name", "email") VALUES ('0-oldest', 'The oldest needle', 'needle@example.com')`
  const first = await desk.open('/admin/users?q=NEEDLE')
  t.strictSame(listedOn(first), [], 'a hundred thousand users were read')
  const next = nextOf(first)
  t.ok(next, 'the page leads on')
  t.strictSame(listedOn(await desk.open(next ?? '')), ['needle@example.com'])
  for (const q of ['0-oldest', 'Needle@example.com'])
    t.strictSame(
      listedOn(await desk.open(`/admin/users?q=${q}`)),
      ['needle@example.com'],
      'an id and an address are found at once'
    )
  const events = await desk.open('/admin/events?account=needle@example.com')
  t.match(events, { status: 200, html: /href="\/admin\/users\/0-oldest"/ })
})

t.test('roles are set, and a role that there is not is refused', async (t) => {
  const ada = await newPagePerson(url)
  const set = (roles: string) => submit(ada, 'roles', { roles })
  t.match(await set('auditor,  user'), { status: 303, location: `${pathOf(ada)}?done=roles` })
  t.equal((await userOf(ada)).role, 'auditor,user')
  t.match((await pages.open(`${pathOf(ada)}?done=roles`)).html, /Saved\./)
  const wrong = await set('owner')
  t.equal(wrong.status, 400)
  t.match(wrong.html, /<input id="roles-roles"[^>]*aria-invalid="true"/, 'the field is named')
  t.match(wrong.html, 'value="owner"', 'what was typed is kept')
  t.equal((await userOf(ada)).role, 'auditor,user')
  t.equal((await set(' , ')).status, 303)
  t.equal((await userOf(ada)).role, 'user', 'without any other, a person is a user')
})

t.test('a person is blocked with a reason and an end, and let in again', async (t) => {
  const ada = await newPagePerson(url)
  const past = await submit(ada, 'ban', { reason: 'spam', until: '2020-01-01T00:00' })
  t.equal(past.status, 400)
  t.match(past.html, /This is not a time in the future/)
  t.match(past.html, /<input id="ban-until"[^>]*aria-invalid="true"/)
  t.match(past.html, 'value="spam"', 'the reason is kept')
  t.equal((await submit(ada, 'ban', { until: 'tomorrow' })).status, 400)
  t.equal(await sessionState(ada.browser), 'valid')

  const until = new Date(Math.ceil(Date.now() / 60_000) * 60_000 + 2 * 86_400_000)
  t.match(await submit(ada, 'ban', { reason: 'spam', until: until.toISOString().slice(0, 16) }), {
    status: 303,
    location: `${pathOf(ada)}?done=ban`
  })
  t.equal(await sessionState(ada.browser), '401 user_banned')
  const row = await userOf(ada)
  t.match(row, { banned: true, banReason: 'spam' })
  t.ok(Math.abs((row.banExpires?.getTime() ?? 0) - until.getTime()) < 5_000, 'the end is in UTC')
  const shown = await pages.open(pathOf(ada))
  t.match(shown.html, /This account is blocked/)
  t.match(shown.html, /<dd>spam<\/dd>/)
  t.match(shown.html, /Ended because the account was blocked/, 'the reason of the end is shown')
  t.match(
    (await pages.open(`/admin/users?q=${ada.email}`)).html,
    /<span class="badge wrong">blocked/
  )
  t.match(await ada.pages.submit('/sign-in', { email: ada.email, password }), {
    status: 403,
    html: /This account is blocked\. Ask an administrator/
  })

  t.match(await submit(ada, 'unban'), { status: 303, location: `${pathOf(ada)}?done=unban` })
  t.match(await ada.pages.submit('/sign-in', { email: ada.email, password }), { status: 303 })
  t.equal((await submit(ada, 'ban', { reason: '', until: '' })).status, 303, 'without an end')
  t.match(await userOf(ada), { banned: true, banExpires: null })
  t.match(await submit(administrator, 'ban'), { status: 400, html: /You cannot block yourself/ })
})

t.test('one session of a person is ended, or all of them', async (t) => {
  const ada = await newPagePerson(url)
  const phone = await signIn(url, ada.email)
  t.match(await submit(ada, 'end-session', { session: phone.sessionId }), {
    status: 303,
    location: `${pathOf(ada)}?done=end-session`
  })
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(ada.browser), 'valid')
  const { html } = await pages.open(`${pathOf(ada)}?done=end-session`)
  t.match(html, /Ended by an administrator/)
  const details = await pages.open(`${pathOf(ada)}/sessions/${phone.sessionId}`)
  t.match(details, { status: 200, html: /Ended by an administrator/ })
  const tablet = await signIn(url, ada.email)
  t.equal((await submit(ada, 'end-sessions')).status, 303)
  for (const { browser } of [ada, tablet])
    t.equal(await sessionState(browser), '401 session_revoked')
})

t.test('a person is erased only with the right address', async (t) => {
  const ada = await newPagePerson(url)
  for (const address of ['', 'other@example.com', `${ada.email}x`]) {
    const wrong = await submit(ada, 'erase', { email: address })
    t.equal(wrong.status, 400, address)
    t.match(wrong.html, /This is not the e-mail address of the account/)
  }
  t.equal(await sessionState(ada.browser), 'valid')
  const erased = await submit(ada, 'erase', { email: ` ${ada.email.toUpperCase()} ` })
  t.equal(erased.status, 200)
  t.match(erased.html, /The person is erased|The erasure has begun/)
  t.equal(await sessionState(ada.browser), '401 user_gone')
  t.equal(await prisma.user.findUnique({ where: { id: ada.id } }), null)
  t.strictSame(listedOn(await pages.open(`/admin/users?q=${ada.email}`)), [])
  const gone = await pages.open(pathOf(ada))
  t.match(gone, { status: 200, html: /This account does not exist any more/ })
  t.notMatch(gone.html, ada.email, 'what is left does not name them')
  t.equal((await pages.open('/admin/users/nobody')).status, 404)
  t.match(await submit(administrator, 'erase', { email: administrator.email }), {
    status: 400,
    html: /You cannot erase yourself here/
  })
})

/** What a page of events shows, each in a sentence. */
const eventsOn = ({ html }: ShownPage) =>
  [...html.matchAll(/<li><p>([^<]*)<\/p><p class="hint">/g)].map(([, said = '']) => said)

/** Writes events of an account into the store, the oldest first. */
async function addEvents(userId: string, count: number): Promise<void> {
  await prisma.$executeRaw`
    INSERT INTO "account_event" ("id", "at", "userId", "kind", "actor", "detail")
    SELECT '01900000-0000-7000-8000-' || lpad(n::text, 12, '0'), now(), ${userId}, 'role_changed', 'operator',
      jsonb_build_object('from', jsonb_build_array('r' || n), 'to', jsonb_build_array('user'))
    FROM generate_series(1, ${count}::int) n`
}

t.test('events are those of everybody, or of one account, page by page', async (t) => {
  const [ada, grace] = [await newPagePerson(url), await newPagePerson(url)]
  await addEvents(ada.id, 120)
  const guess = { email: grace.email, password: 'wrong horse battery' }
  t.equal((await new PageBrowser(url).submit('/sign-in', guess)).status, 401)
  const all = await pages.open('/admin/events')
  t.match(all.html, `href="/admin/users/${grace.id}"`)
  for (const who of [ada.id, ada.email, `  ${ada.email.toUpperCase()} `]) {
    const seen: string[] = []
    const first = `/admin/events?account=${encodeURIComponent(who)}&kind=role_changed`
    for (let path: string | undefined = first; path !== undefined;) {
      const shown: ShownPage = await pages.open(path)
      t.equal(shown.status, 200)
      t.match(shown.html, `value="${who.trim()}"`, 'the field keeps the account')
      t.match(shown.html, /<option value="role_changed" selected/, 'and the kind')
      seen.push(...eventsOn(shown))
      path = /<a href="([^"]*)">Older entries</.exec(shown.html)?.[1]?.replaceAll('&amp;', '&')
    }
    t.equal(seen.length, 120, who)
    t.equal(new Set(seen).size, 120, 'each once')
    for (const said of seen) t.match(said, /^The roles were changed, from r\d+ to user, by the op/)
  }
  const adas = await pages.open(`/admin/events?account=${ada.email}&kind=user_created`)
  t.strictSame(eventsOn(adas), ['The account was created'])
  t.match(adas.html, `<a href="/admin/users/${ada.id}">${ada.email}</a>`)
  t.notMatch(adas.html, grace.id, 'nobody else is there')
  const graces = await until('the failed sign-in is written', async () => {
    const shown = await pages.open(`/admin/events?account=${grace.id}`)
    return eventsOn(shown).includes('A sign-in failed: wrong password') ? shown : null
  })
  t.notMatch(graces.html, ada.id)
  t.match((await pages.open('/admin/events?account=')).html, `href="/admin/users/${grace.id}"`)
})

t.test(
  'an account that there is not is named at its field, and one that is gone is not',
  async (t) => {
    const [ada, grace] = [await newPagePerson(url), await newPagePerson(url)]
    for (const who of [
      'nobody@example.com',
      'nobody',
      '%',
      '<b>"x',
      ada.email.slice(1),
      ada.id.slice(1),
      'x'.repeat(300)
    ]) {
      const none = await pages.open(`/admin/events?account=${encodeURIComponent(who)}`)
      t.equal(none.status, 404, who)
      t.match(none.html, /<title>Error: Events/)
      t.match(none.html, /id="account-error">Nobody was found/, 'the message stands at the field')
      t.match(none.html, /<input id="account".*? aria-invalid="true"/)
      t.strictSame(eventsOn(none), [], 'and no events of others')
    }
    const german = await pages.open('/admin/events?account=nobody&lang=de')
    t.match(german.html, /<label for="account">Konto<[^]*id="account-error">Niemand wurde gefunden/)
    await pages.open('/account?lang=en')
    await submit(grace, 'erase', { email: grace.email })
    const gone = await pages.open(`/admin/events?account=${grace.id}`)
    t.equal(gone.status, 200, 'what is kept of a gone account is found by its id')
    t.match(eventsOn(gone).join(), /The person was erased/)
    t.equal((await pages.open(`/admin/events?account=${grace.email}`)).status, 404)
  }
)

/** Every page and form for administrators, for a user. */
const pagesFor = ({ id, sessionId }: PagePerson) => [
  '/admin/users',
  `/admin/users?q=${id}`,
  `/admin/users/${id}`,
  `/admin/users/${id}/sessions/${sessionId}`,
  '/admin/events',
  `/admin/events?account=${id}`
]
const forms = ['roles', 'ban', 'unban', 'end-session', 'end-sessions', 'erase']

t.test('nobody but an administrator sees the pages, or has a form taken', async (t) => {
  const [ada, eve] = [await newPagePerson(url), await newPagePerson(url)]
  const own = { form_token: await tokenOn(eve.pages) }
  for (const path of pagesFor(ada)) {
    const shown = await eve.pages.open(path)
    t.equal(shown.status, 403, path)
    t.match(shown.html, /You may not see this page/)
    t.notMatch(shown.html, ada.email)
    const away = await new PageBrowser(url).open(path)
    t.match(away, { status: 303, location: /^\/sign-in\?return_to=/ }, `${path}, signed out`)
  }
  const fields = {
    roles: 'admin',
    reason: 'x',
    until: '',
    session: ada.sessionId,
    email: ada.email
  }
  for (const form of forms) {
    for (const token of [own, { form_token: 'x' }, { form_token: '' }]) {
      const sent = await eve.pages.send(`${pathOf(ada)}/${form}`, { ...fields, ...token })
      t.equal(sent.status, 403, form)
      t.notMatch(sent.html, ada.email)
    }
    const sent = await eve.pages.send(`${pathOf(eve)}/${form}`, { ...fields, ...own })
    t.equal(sent.status, 403, `${form}, for herself`)
  }
  t.equal(await sessionState(ada.browser), 'valid')
  t.match(await userOf(ada), { role: 'user', banned: false })
  t.match(await userOf(eve), { role: 'user' })
  t.equal((await eve.pages.open('/admin')).location, '/admin/users')
  t.notMatch((await eve.pages.open('/account')).html, '/admin', 'no link leads there')
  t.match((await pages.open('/account')).html, '/admin/users')
})

t.test('no form of an administrator is taken without the token, or from elsewhere', async (t) => {
  const ada = await newPagePerson(url)
  for (const form of forms) {
    const path = `${pathOf(ada)}/${form}`
    const without = await pages.send(path, { email: ada.email, roles: 'admin' })
    t.match(without, { status: 403, html: /open for too long/ }, form)
    const foreign = await pages.send(
      path,
      { email: ada.email, roles: 'admin', form_token: await tokenOn(pages) },
      { origin: 'https://evil.example' }
    )
    t.match(foreign, { status: 403, html: /sent from another address/ }, form)
  }
  t.equal(await sessionState(ada.browser), 'valid')
  t.match(await userOf(ada), { role: 'user', banned: false })
})

t.test('an administrator who signed in long ago confirms it, and comes back', async (t) => {
  const ada = await newPagePerson(url)
  const boss = await newPageAdmin(running)
  const form = { form_token: await tokenOn(boss.pages), reason: 'late', until: '' }
  await age(boss)
  for (const path of pagesFor(ada)) {
    t.match(
      await boss.pages.open(path),
      {
        status: 303,
        location: `/sign-in/confirm?return_to=${encodeURIComponent(url + path)}`
      },
      path
    )
  }
  const sent = await boss.pages.send(`${pathOf(ada)}/ban`, form)
  t.match(sent, {
    status: 303,
    location: `/sign-in/confirm?return_to=${encodeURIComponent(url + pathOf(ada))}`
  })
  t.match(await userOf(ada), { banned: false }, 'nothing was changed')
  const confirm = sent.location ?? ''
  const wrong = await boss.pages.submit(confirm, { password: 'wrong horse battery' })
  t.match(wrong, { status: 400, html: /The password is wrong/ })
  t.equal((await boss.pages.open('/admin/users')).status, 303)
  t.match(await boss.pages.submit(confirm, { password }), {
    status: 303,
    location: pathOf(ada)
  })
  t.equal((await boss.pages.open(pathOf(ada))).status, 200)
})

t.test('with a second factor, a password alone does not confirm it', async (t) => {
  const boss = await newPageAdmin(running)
  await prisma.user.update({ where: { id: boss.id }, data: { emailVerified: true } })
  const { totpURI } = await enrol({ ...boss, client: officialClient(boss.browser) })
  const again = pagesOf(boss)
  await nextStep(running, boss.id)
  const { session } = (await (await again.get('/session')).json()) as { session: { id: string } }
  await age({ pages: again, sessionId: session.id })
  const confirm = '/sign-in/confirm?return_to=%2Fadmin%2Fusers'
  t.match((await again.open(confirm)).html, /autocomplete="one-time-code"/)
  for (const code of ['', '000000'])
    t.not((await again.submit(confirm, { password, code })).status, 303, 'no right code')
  t.equal((await again.open('/admin/users')).status, 303)
  t.match(await again.submit(confirm, { password, code: totp(totpURI) }), {
    status: 303,
    location: '/admin/users'
  })
  t.equal((await again.open('/admin/users')).status, 200)
})

/** Moves a session's sign-in back by eleven minutes, and waits until no copy says otherwise. */
async function age({ pages, sessionId }: Pick<PagePerson, 'pages' | 'sessionId'>): Promise<void> {
  await prisma.$executeRaw`
    UPDATE "session" SET "authTime" = clock_timestamp() - interval '11 minutes', "passwordAt" = NULL,
      "reauthAt" = clock_timestamp() - interval '11 minutes' WHERE "id" = ${sessionId}`
  await until('copies to end', async () => (await pages.open('/admin/users')).status === 303)
}

/** The token of the forms that a browser is shown. */
async function tokenOn(browser: PageBrowser): Promise<string> {
  const { html } = await browser.open('/account')
  return /name="form_token" value="([^"]*)"/.exec(html)?.[1] ?? ''
}
