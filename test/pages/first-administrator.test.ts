import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { offerFirstAdministrator } from '../../src/auth/first-administrator.js'
import { resolveConfig } from '../../src/config.js'
import { firstAdministratorLink } from '../../src/operator/first-administrator-link.js'
import { banner } from '../../src/server/notices.js'
import { command } from '../support/command.js'
import { hiddenFields, PageBrowser, type ShownPage } from '../support/page-browser.js'
import { pagesOf } from '../support/page-people.js'
import { until } from '../support/poll.js'
import {
  build,
  freshStore,
  makeAdmin,
  password,
  signUp,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { startServer } from '../support/server-process.js'

const FILE = 'first-administrator-link'
const PAGE = '/admin/first'
const goneText = /This link does not work any more/

/** The path of a new link. */
async function newLink({ app }: Running): Promise<string> {
  const link = await firstAdministratorLink(app.holdfast)
  if (link === null) throw new Error('there is an administrator')
  return pathOf(link)
}

function pathOf(link: string): string {
  const { pathname, search } = new URL(link)
  return pathname + search
}

/** Opens a link, which leads on without the token, and presses the button where there is one. */
async function follow(pages: PageBrowser, link: string): Promise<ShownPage> {
  if (link !== PAGE) await pages.open(link)
  const shown = await pages.open(PAGE)
  const hidden = hiddenFields(shown.html, PAGE)
  return hidden ? pages.send(PAGE, hidden) : shown
}

const tokenOf = (path: string) => new URLSearchParams(path.split('?')[1]).get('token') ?? ''

const become = ({ browser }: Person, token: string) =>
  browser.post('/api/auth/admin/become-first-administrator', { token })

async function rolesOf({ app }: Running, person: Person): Promise<string | null> {
  return (await app.holdfast.prisma.user.findUniqueOrThrow({ where: { id: person.id } })).role
}

/** Takes the role from all administrators, in the store alone. */
async function dismissAll({ app }: Running): Promise<void> {
  await app.holdfast.prisma.user.updateMany({ data: { role: 'user' } })
}

t.test('the link makes a signed-in person the administrator, once', async (t) => {
  const running = await build(t, { roles: ['auditor'] })
  const ada = await signUp(running.url)
  await running.app.holdfast.auth.users.update(ada.id, { role: 'user,auditor' })
  const path = await newLink(running)
  const unused = await newLink(running)
  const pages = pagesOf(ada)
  t.match(await pages.open(path), { status: 303, location: PAGE }, 'the address loses the token')
  const shown = await pages.open(PAGE)
  t.equal(shown.status, 200)
  t.match(shown.html, `You are signed in as ${ada.email}`)
  t.equal(await rolesOf(running, ada), 'user,auditor', 'opening the link changes nothing')
  t.match(await follow(pages, path), { status: 303, location: '/admin/users' })
  t.equal(await rolesOf(running, ada), 'user,auditor,admin', 'other roles are kept')
  t.equal((await pages.open('/admin/users')).status, 200, 'the role counts at once')

  const used = await follow(pages, path)
  t.equal(used.status, 400, 'a second use is refused')
  t.match(used.html, goneText)
  const eve = await signUp(running.url)
  for (const link of [path, unused]) {
    const refused = await follow(pagesOf(eve), link)
    t.equal(refused.status, 400, 'there is an administrator')
    t.match(refused.html, goneText)
  }
  t.equal(await rolesOf(running, eve), 'user')
  t.equal(await offerFirstAdministrator(running.app.holdfast.prisma), null, 'no other link is made')

  await running.app.holdfast.prisma.user.update({
    where: { id: ada.id },
    data: { banned: true, role: 'auditor, admin' }
  })
  t.equal(
    await offerFirstAdministrator(running.app.holdfast.prisma),
    null,
    'an administrator who is blocked is one as well'
  )
  await dismissAll(running)
  t.equal((await follow(pagesOf(eve), path)).status, 400, 'a used link stays used')
  t.equal((await follow(pagesOf(eve), unused)).status, 303, 'an unused one works again')
})

t.test('a link that was used, has expired, or was never made is refused', async (t) => {
  const running = await build(t)
  const { prisma } = running.app.holdfast
  const ada = await signUp(running.url)
  const pages = pagesOf(ada)
  const expired = await newLink(running)
  await prisma.$executeRaw`
    UPDATE "verification" SET "expiresAt" = clock_timestamp() - interval '1 second' WHERE "identifier" LIKE 'first-administrator:%'`
  const good = await newLink(running)
  const wrong: Record<string, string> = {
    expired,
    invented: `/admin/first?token=${'x'.repeat(43)}`,
    cut: good.slice(0, -1),
    'without a token': '/admin/first',
    empty: '/admin/first?token=',
    'too long': `/admin/first?token=${'x'.repeat(200)}`,
    'the hash in the store': `/admin/first?token=${
      (
        await prisma.$queryRaw<
          { identifier: string }[]
        >`SELECT "identifier" FROM "verification" ORDER BY "expiresAt" DESC LIMIT 1`
      )[0]?.identifier.split(':')[1]
    }`
  }
  for (const [name, path] of Object.entries(wrong)) {
    const refused = await follow(pages, path)
    t.equal(refused.status, 400, name)
    t.match(refused.html, goneText, name)
  }
  for (const token of [tokenOf(expired), 'x'.repeat(43)]) {
    const answer = await become(ada, token)
    t.equal(answer.status, 400)
    t.match(await answer.json(), { code: 'INVALID_TOKEN' })
  }
  t.equal(await rolesOf(running, ada), 'user')
  t.equal(
    (
      await new PageBrowser(running.url).post('/api/auth/admin/become-first-administrator', {
        token: tokenOf(good)
      })
    ).status,
    401,
    'somebody must be signed in'
  )
  t.equal((await follow(pages, good)).status, 303, 'the others did not use it up')
})

t.test('two links that are used at once make one administrator', async (t) => {
  const running = await build(t)
  const [ada, eve] = [await signUp(running.url), await signUp(running.url)]
  for (let round = 0; round < 8; round++) {
    await dismissAll(running)
    const [one, other] = [tokenOf(await newLink(running)), tokenOf(await newLink(running))]
    const ways: [Person, string][] =
      round % 2 === 0
        ? [
            [ada, one],
            [eve, other]
          ]
        : [
            [ada, one],
            [eve, one],
            [ada, one]
          ]
    const statuses = await Promise.all(
      ways.map(async ([person, token]) => (await become(person, token)).status)
    )
    t.strictSame(
      statuses.toSorted((a, b) => a - b),
      [200, ...ways.slice(1).map(() => 400)],
      `round ${round}: ${round % 2 === 0 ? 'two links' : 'one link'}`
    )
    const roles = [await rolesOf(running, ada), await rolesOf(running, eve)]
    t.equal(roles.filter((role) => role?.includes('admin')).length, 1)
  }
})

t.test('somebody who is not signed in signs in first, and comes back', async (t) => {
  const running = await build(t, { logLevel: 'trace' })
  const ada = await signUp(running.url)
  const path = await newLink(running)
  const pages = new PageBrowser(running.url)
  t.match(await pages.open(path), { status: 303, location: PAGE })
  const away = await pages.open(PAGE)
  t.match(away, {
    status: 303,
    location: `/sign-in?return_to=${encodeURIComponent(running.url + PAGE)}`
  })
  const back = await pages.submit(away.location ?? '', { email: ada.email, password })
  t.match(back, { status: 303, location: PAGE })
  t.match(await follow(pages, path), { status: 303, location: '/admin/users' })
  t.notMatch(running.log.join(''), tokenOf(path), 'no line of the log has the token')
})

t.test('somebody who signed in long ago confirms it, and comes back', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  const path = await newLink(running)
  await running.app.holdfast.prisma.$executeRaw`
    UPDATE "session" SET "reauthAt" = clock_timestamp() - interval '11 minutes', "passwordAt" = NULL WHERE "id" = ${ada.sessionId}`
  const pages = pagesOf(ada)
  const confirm = await follow(pages, path)
  t.match(confirm, {
    status: 303,
    location: `/sign-in/confirm?return_to=${encodeURIComponent(running.url + PAGE)}`
  })
  t.equal(await rolesOf(running, ada), 'user')
  t.match(await pages.submit(confirm.location ?? '', { password }), { status: 303, location: PAGE })
  t.match(await follow(pages, path), { status: 303, location: '/admin/users' })
})

t.test('the banner shows the link on a terminal, and the path of its file elsewhere', (t) => {
  const config = resolveConfig({})
  const first = {
    path: join('data', FILE),
    link: 'http://localhost:3000/admin/first?token=secret'
  }
  const onTerminal = banner(config, first, true)
  t.match(onTerminal, first.link)
  t.match(onTerminal, 'works once, within 15 minutes')
  const elsewhere = banner(config, first, false)
  t.notMatch(elsewhere, 'secret')
  t.match(elsewhere, first.path)
  for (const text of [banner(config, null, true), banner(config, null, false)])
    t.notMatch(text, /admin\/first|first-administrator/)
  t.match(banner(config), 'pages    http://localhost:3000/sign-in')
  t.notMatch(banner(resolveConfig({ pages: false })), 'pages ')
  t.end()
})

t.test(
  'a start on the embedded store writes the link to a file of its own user alone',
  { skip: storage === 'embedded' ? false : 'it is about the embedded store' },
  async (t) => {
    const store = await freshStore(t)
    const dataDir = store.dataDir ?? ''
    const file = join(dataDir, FILE)
    // What a careless restore leaves.
    writeFileSync(file, 'old', { mode: 0o644 })
    const server = await startServer(t, { ...store, logLevel: 'trace' })
    await until('the banner', () => server.stdout.includes('serving'))
    t.equal(statSync(file).mode & 0o777, 0o600)
    const link = readFileSync(file, 'utf8').trim()
    t.match(server.stdout, file, 'the banner says where the link is')
    const ada = await signUp(server.url)
    t.match(await follow(pagesOf(ada), pathOf(link)), {
      status: 303,
      location: '/admin/users'
    })
    t.notMatch(server.stdout + server.stderr, tokenOf(pathOf(link)), 'no output has the token')
    await server.kill('SIGTERM')
    const again = await startServer(t, store)
    await until('the banner', () => again.stdout.includes('serving'))
    t.notMatch(again.stdout, FILE, 'there is an administrator')
  }
)

t.test(
  'a start on PostgreSQL makes no link',
  { skip: storage === 'postgres' ? false : 'it is about PostgreSQL' },
  async (t) => {
    const dataDir = emptyFolder(t)
    const server = await startServer(t, { ...(await freshStore(t)), dataDir })
    await until('the banner', () => server.stdout.includes('serving'))
    t.notMatch(server.stdout, /first-administrator|admin\/first/)
    t.throws(() => statSync(join(dataDir, FILE)), { code: 'ENOENT' })
  }
)

t.test('holdfast user admin-link makes a link, until there is an administrator', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  const made = await command(running.options, ['user', 'admin-link'])
  t.match(made, { status: 0, stderr: '' })
  const { link } = JSON.parse(made.stdout) as { link: string }
  t.match(await follow(pagesOf(ada), pathOf(link)), { status: 303, location: '/admin/users' })
  t.match(await command(running.options, ['user', 'admin-link']), {
    status: 2,
    stdout: '',
    stderr: /there is an administrator already/
  })
  const eve = await signUp(running.url)
  await makeAdmin(running, eve)
  t.equal(await rolesOf(running, eve), 'admin', 'another one is made as before')
})

function emptyFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-empty-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
