import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Page, type PageSettings } from './page.js'
import { emptyForm, TOKEN_FIELD, type FormState } from './parts.js'
import type { Problem } from './problem.js'
import { RefusedPage } from './refused-page.js'

/**
 * Who may see a page.
 *
 * - `visitor`: anyone. Its forms belong to no session.
 * - `anyone`: anyone, and the page shows who is signed in.
 * - `session`: only somebody who is signed in.
 * - `administrator`: only an administrator who has signed in within ten minutes. The API decides
 *   about everything that is shown and done: this only says it on a page of its own.
 */
export type Access = 'visitor' | 'anyone' | 'session' | 'administrator'

/** The fields of a form. A field that is missing, or was sent more than once, is empty. */
export type Fields = (name: string) => string

/** A form, with the page that it stands on. */
export interface FormPage {
  /** Where the form is sent to. */
  path: string
  access: Access
  /** Shows the page, with what was typed and what is wrong. */
  show: (page: Page, state: FormState) => void | Promise<void>
  /** Does what the form asks for, and answers. A problem is shown on the page instead. */
  submit: (page: Page, fields: Fields) => Promise<Problem | void>
  /** The page that the person comes back to after a sign-in. That of the form by default. */
  comeBackTo?: (page: Page) => string
}

/** Adds pages to a server. */
export class PageRoutes {
  readonly #app: FastifyInstance
  readonly #settings: PageSettings
  /** The paths that show something. */
  readonly #shown = new Set<string>()

  constructor(app: FastifyInstance, settings: PageSettings) {
    this.#app = app
    this.#settings = settings
  }

  /** Whether mails are sent. */
  get hasMail(): boolean {
    return this.#settings.hasMail
  }

  /** Adds a page that shows something. */
  page(path: string, access: Access, show: (page: Page) => void | Promise<void>): void {
    this.#shown.add(path)
    this.#settings.paths.add(this.#settings.prefix + path)
    this.#app.get(path, { schema: { hide: true } }, async (request, reply) => {
      // `/account/sessions/` is no session, and the router would take it for one.
      if (Object.values(request.params as object).includes('')) {
        reply.callNotFound()
        return reply
      }
      const page = new Page(request, reply, this.#settings)
      if (await admit(page, access, request.url)) await show(page)
      return reply
    })
  }

  /** Adds a page with a form that is sent to the same path. */
  formPage(form: FormPage): void {
    this.page(form.path, form.access, (page) => form.show(page, emptyForm))
    this.form(form)
  }

  /**
   * Adds only what takes a form. Its page has another path. A reload of an answer with a problem
   * may ask for this path: it leads to that page.
   */
  form({ path, access, show, submit, comeBackTo }: FormPage): void {
    const hasPage = this.#shown.has(path)
    if (!hasPage)
      this.page(path, 'visitor', (page) => page.goTo(comeBackTo?.(page) ?? page.path('/account')))
    this.#app.post(path, { schema: { hide: true } }, async (request, reply) => {
      const page = new Page(request, reply, this.#settings)
      const standsOn = comeBackTo?.(page) ?? page.path(path)
      if (!hasPage) page.here = standsOn
      if (isForeign(request, this.#settings.ownOrigins))
        throw new RefusedPage({ status: 403, code: 'origin_refused' })
      if (!(await admit(page, access, standsOn))) return reply
      const fields = fieldsFrom(request.body)
      const problem: Problem | void = page.hasRightToken(fields(TOKEN_FIELD))
        ? await submit(page, fields)
        : {
            status: 403,
            message: page.hasFormCookie ? page.t.errors.form_expired : page.t.errors.no_cookies
          }
      // A grave change wants a recent sign-in: the person confirms, and comes back.
      if (problem?.code === 'reauthentication_required') {
        page.confirmFirst(standsOn)
        return reply
      }
      if (problem?.retryAfterSeconds) reply.header('retry-after', problem.retryAfterSeconds)
      if (problem) await show(page, { values: typedIn(request.body), problem })
      return reply
    })
  }
}

/**
 * Whether the page may be shown. Otherwise the person was sent elsewhere.
 *
 * @throws RefusedPage 403 where it is for administrators, and the person is none
 */
async function admit(page: Page, access: Access, comeBackTo: string): Promise<boolean> {
  if (access === 'visitor') return true
  if (access === 'anyone') {
    await page.findSession()
    return true
  }
  if (access === 'session') return (await page.requireSession(comeBackTo)) !== null
  const me = await page.requireRecent(comeBackTo)
  if (me && !me.user.roles.includes('admin'))
    throw new RefusedPage({ status: 403, code: 'role_missing' })
  return me !== null
}

/**
 * Whether a browser says that the form is not one of our pages'. `Origin: null` says nothing: it
 * comes from a frame without an origin, and from browsers that hide it. The form's token decides
 * then.
 */
function isForeign({ headers }: FastifyRequest, ownOrigins: readonly string[]): boolean {
  const site = headers['sec-fetch-site']
  if (site === 'cross-site' || site === 'same-site') return true
  return (
    headers.origin !== undefined &&
    headers.origin !== 'null' &&
    !ownOrigins.includes(headers.origin)
  )
}

function fieldsFrom(body: unknown): Fields {
  const sent = (body ?? {}) as Record<string, unknown>
  return (name) => {
    const value = Object.hasOwn(sent, name) ? sent[name] : ''
    return typeof value === 'string' ? value : ''
  }
}

/** Fields that a page never shows again. */
const SECRET = /password|code|token|uri/i

function typedIn(body: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries((body ?? {}) as Record<string, unknown>).filter(
      (pair): pair is [string, string] => typeof pair[1] === 'string' && !SECRET.test(pair[0])
    )
  )
}
