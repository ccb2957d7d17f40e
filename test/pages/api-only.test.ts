import type { IncomingMessage, ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { PageRoutes, type FormPage } from '../../plugins/pages/forms.js'
import type { Described } from '../support/answers.js'
import { totp } from '../support/device.js'
import { newPageAdmin, newPagePerson } from '../support/page-people.js'
import { PageBrowser, type ShownPage } from '../support/page-browser.js'
import { firstAdministratorLink } from '../../src/operator/first-administrator-link.js'
import { buildWithMail } from '../support/page-mail.js'
import { password, signIn, type Running } from '../support/server.js'

/** A call that a page has made. */
interface Call {
  method: string
  path: string
}

/** Keeps every call that the pages make from now on. */
function recordCalls({ app }: Running): Call[] {
  const calls: Call[] = []
  const routing = app.routing.bind(app)
  // Plugins call `routing` of an instance that inherits this one's.
  Object.defineProperty(app, 'routing', {
    value: (request: IncomingMessage, response: ServerResponse) => {
      calls.push({
        method: request.method ?? 'GET',
        path: (request.url ?? '').split('?', 1)[0] ?? ''
      })
      routing(request, response)
    }
  })
  return calls
}

/** The operation of `/openapi.json` that a call is. Undefined where it is none. */
function operationOf({ method, path }: Call, { paths }: Described): string | undefined {
  const isLike = (template: string) =>
    new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{[^}]+\}/g, '[^/]+')}$`).test(path)
  const template = [path, ...Object.keys(paths).filter(isLike)].find(
    (each) => paths[each]?.[method.toLowerCase()] !== undefined
  )
  return template === undefined ? undefined : `${method} ${template}`
}

/** Keeps the path of every form that pages add from now on. */
function recordForms(t: Test): Set<string> {
  const paths = new Set<string>()
  const original = Object.getOwnPropertyDescriptor(PageRoutes.prototype, 'form')
  const add = original?.value as (this: PageRoutes, form: FormPage) => void
  PageRoutes.prototype.form = function (form) {
    paths.add(form.path)
    add.call(this, form)
  }
  t.teardown(() => {
    PageRoutes.prototype.form = add
  })
  return paths
}

t.test('every change that a page makes is a call of a documented operation', async (t) => {
  const forms = recordForms(t)
  const running = await buildWithMail(t)
  const { app, url, mails } = running
  const document = (await app.inject('/openapi.json')).json<Described>()
  const calls = recordCalls(running)
  const sent = new Set<string>()
  /** Sends a form, and asserts how it was answered. */
  const submit = async (
    browser: PageBrowser,
    form: { on: string; action?: string; status?: number },
    fields: Record<string, string> = {}
  ): Promise<ShownPage> => {
    const { on, action = on, status = 303 } = form
    const shown = await browser.submit(on, fields, { action })
    t.equal(shown.status, status, `${action} ${shown.location}`)
    sent.add(action.split('?', 1)[0] ?? '')
    return shown
  }

  // A person.
  const ada = new PageBrowser(url)
  const email = 'ada@example.com'
  await submit(ada, { on: '/sign-up' }, { name: 'Ada', email, password })
  await submit(ada, { on: '/account', action: '/verify-email/send' })
  await submit(ada, { on: '/verify-email' }, { code: (await mails.read(email, /Confirm/)).code })
  await submit(ada, { on: '/account' }, { name: 'Augusta', image: '', language: 'en' })
  const next = `${password} 2`
  await submit(
    ada,
    { on: '/account/security', action: '/account/security/password' },
    { password, new_password: next }
  )
  const security = '/account/security'
  await submit(ada, { on: security, action: `${security}/second-factor/on` }, { password: next })
  const { html } = await ada.open(`${security}/second-factor`)
  const secret = (/class="secret">([^<]*)/.exec(html)?.[1] ?? '').replaceAll(' ', '')
  const code = (steps: number) => totp(`otpauth://totp/x?secret=${secret}`, steps)
  await submit(ada, { on: `${security}/second-factor` }, { code: code(-1) })
  await submit(ada, { on: security, action: `${security}/backup-codes/new` }, { password: next })
  const codes = await ada.open(`${security}/backup-codes`)
  const [, backupCode = ''] = /<code>([^<]+)<\/code>/.exec(codes.html) ?? []
  await submit(ada, { on: '/sign-in/confirm' }, { password: next, code: code(0) })
  await submit(ada, { on: '/sign-out' })
  await submit(ada, { on: '/sign-in' }, { email, password: next })
  await submit(ada, { on: '/second-factor?with=backup_code' }, { code: backupCode })
  await submit(
    ada,
    { on: '/account/security', action: '/account/security/second-factor/off' },
    { password: next }
  )
  const phone = await signIn(url, email, next)
  const { session } = (await (await ada.get('/session')).json()) as { session: { id: string } }
  const devices = '/account/sessions'
  await submit(
    ada,
    { on: `${devices}/${session.id}`, action: `${devices}/${session.id}/name` },
    { name: 'My desk' }
  )
  await submit(ada, { on: devices, action: `${devices}/${phone.sessionId}/end` })
  await signIn(url, email, next)
  await submit(ada, { on: devices, action: `${devices}/end-others` })

  // Ways that lead through a mailbox.
  const [newEmail, mel] = ['augusta@example.com', 'mel@example.com']
  const visitor = new PageBrowser(url)
  const send = { on: '/sign-in/code', action: '/sign-in/code/send' }
  await submit(visitor, send, { email: mel })
  await submit(visitor, { on: '/sign-in/code' }, { code: (await mails.read(mel, /Sign in/)).code })
  await submit(visitor, { on: '/sign-out' })
  await submit(visitor, { on: '/forgot-password' }, { email: mel })
  const { code: resetCode } = await mails.read(mel, /Set a new password/)
  await submit(visitor, { on: '/reset-password' }, { code: resetCode, password })
  await submit(visitor, { on: '/forgot-password' }, { email })
  await submit(visitor, send, { email })
  await submit(ada, { on: '/account/email' }, { new_email: newEmail })
  const old = await mails.read(email, /^Confirm your new address/)
  const links = {
    '/reset-password': await mails.read(email, /^Set a new password/),
    '/sign-in/code': await mails.read(email, /^Sign in/),
    '/not-me': await mails.read(email, /^Your password/),
    '/verify-email': old
  }
  for (const [path, mail] of Object.entries(links)) {
    await submit(visitor, { on: '/sign-in' }, { email: mel, password })
    await visitor.open(mail.link)
    await submit(visitor, { on: path, action: `${path}/switch` })
  }
  await submit(ada, { on: '/account/email', action: '/account/email/old' }, { code: old.code })
  const { code: newCode } = await mails.read(newEmail, /^Confirm this address/)
  await submit(ada, { on: '/account/email', action: '/account/email/new' }, { code: newCode })
  await submit(visitor, { on: '/not-me' })
  await submit(ada, { on: '/sign-in' }, { email: newEmail, password: next })
  await submit(ada, { on: '/account/delete', status: 200 }, { password: next })

  // The first administrator.
  const first = await newPagePerson(url)
  const link = new URL((await firstAdministratorLink(app.holdfast)) ?? '')
  await first.pages.open(link.pathname + link.search)
  await submit(first.pages, { on: '/admin/first' })
  // An administrator, and somebody else.
  const { pages } = await newPageAdmin(running)
  const eve = await newPagePerson(url)
  const user = `/admin/users/${eve.id}`
  await submit(pages, { on: user, action: `${user}/roles` }, { roles: 'user' })
  await pages.post('/api/auth/admin/impersonate-user', { userId: eve.id })
  await submit(pages, { on: '/account', action: '/account/stop-impersonating' })
  await submit(pages, { on: user, action: `${user}/end-session` }, { session: eve.sessionId })
  await submit(pages, { on: user, action: `${user}/end-sessions` })
  await submit(pages, { on: user, action: `${user}/send-password` })
  await submit(pages, { on: user, action: `${user}/ban` }, { reason: 'spam' })
  await submit(pages, { on: user, action: `${user}/unban` })
  await submit(pages, { on: user, action: `${user}/erase`, status: 200 }, { email: eve.email })
  for (const path of [
    '/admin/users?q=a',
    '/admin/events?kind=user_banned',
    `/admin/events?account=${first.id}`,
    '/account/security'
  ])
    t.equal((await pages.open(path)).status, 200)

  const changes = calls.filter(({ method }) => method !== 'GET')
  t.strictSame(
    changes.filter((call) => operationOf(call, document) === undefined),
    [],
    'each of them is an operation of /openapi.json'
  )
  t.strictSame(
    [...new Set(changes.map((call) => operationOf(call, document) ?? ''))].toSorted((a, b) =>
      a < b ? -1 : 1
    ),
    [
      'DELETE /sessions',
      'DELETE /sessions/{id}',
      'PATCH /sessions/{id}',
      'POST /api/auth/admin/ban-user',
      'POST /api/auth/admin/become-first-administrator',
      'POST /api/auth/admin/erase-user',
      'POST /api/auth/admin/revoke-user-session',
      'POST /api/auth/admin/revoke-user-sessions',
      'POST /api/auth/admin/send-password-reset',
      'POST /api/auth/admin/set-role',
      'POST /api/auth/admin/stop-impersonating',
      'POST /api/auth/admin/unban-user',
      'POST /api/auth/change-password',
      'POST /api/auth/delete-user',
      'POST /api/auth/describe-link',
      'POST /api/auth/email-otp/change-email',
      'POST /api/auth/email-otp/request-email-change',
      'POST /api/auth/email-otp/reset-password',
      'POST /api/auth/email-otp/verify-email',
      'POST /api/auth/not-me',
      'POST /api/auth/request-password-reset',
      'POST /api/auth/send-verification-email',
      'POST /api/auth/sign-in/email',
      'POST /api/auth/sign-in/email-otp',
      'POST /api/auth/sign-in/magic-link',
      'POST /api/auth/sign-out',
      'POST /api/auth/sign-up/email',
      'POST /api/auth/two-factor/disable',
      'POST /api/auth/two-factor/enable',
      'POST /api/auth/two-factor/generate-backup-codes',
      'POST /api/auth/two-factor/verify-backup-code',
      'POST /api/auth/two-factor/verify-totp',
      'POST /api/auth/update-user',
      'POST /api/auth/verify-password'
    ],
    'and these are all of them'
  )
  const reads = calls.filter(({ method }) => method === 'GET')
  t.ok(reads.length > 0)
  t.strictSame(
    reads.filter((call) => operationOf(call, document) === undefined),
    [],
    'what pages show comes from documented operations as well'
  )
  const isSent = (path: string) =>
    [...sent].some((each) => new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`).test(each))
  t.ok(forms.size > 35, `there are ${forms.size} forms`)
  t.strictSame(
    [...forms].filter((path) => !isSent(path)),
    [],
    'every form of the pages was sent'
  )
})
