import { createHash } from 'node:crypto'
import type { ComponentChildren } from 'preact'
import type { ApiAnswer } from '../api-client.js'
import type { Fields, PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { ButtonForm, emptyForm, Form, type FormState } from '../parts.js'
import { problemFrom, type Problem } from '../problem.js'
import { RefusedPage } from '../refused-page.js'
import { keepAsked, type AskedFor } from './asked.js'

/** What `describe-link` says of a link. Times are RFC 3339. */
export interface LinkFacts {
  purpose:
    'verify' | 'sign-up' | 'reset' | 'sign-in' | 'change-confirm' | 'change-verify' | 'not-me'
  /** The address that the mail went to. */
  email: string
  newEmail: string | null
  /** The address of the account as it is now. Null where there is no account yet. */
  account: string | null
  /** Whether the mail was asked for in this browser. */
  askedHere: boolean
  askedAt: string
  askedFrom: { device?: { program: string | null; system: string | null }; from?: string }
  needsPassword: boolean
}

/** A link that still counts. */
export interface Link extends LinkFacts {
  token: string
}

/** A page that the link of a mail leads to. */
export interface LinkPage {
  path: string
  purposes: readonly LinkFacts['purpose'][]
  /** Shows what the link would do, with the form that does it. */
  showLink: (page: Page, link: Link, state: FormState) => void
  /** Does what the link is for. */
  submitLink: (page: Page, link: Link, fields: Fields) => Promise<Problem | void>
  /** What to do where the link does not count any more. */
  next: (page: Page) => ComponentChildren
  /** Shows the page without a link. */
  show: (page: Page, state: FormState) => void | Promise<void>
  /** Takes the form of a page without a link. */
  submit: (page: Page, fields: Fields) => Promise<Problem | void>
}

/** The hidden field that says for which link a form is: another tab may have opened another one. */
const LINK_FIELD = 'link'
/** Longer than any link lives for which a person would come back to the page. In seconds. */
const KEPT_SECONDS = 7_200
/** No token of ours is longer. */
const LONGEST_TOKEN = 128

const cookieOf = (path: string) => `holdfast.link-${path.slice(1).replaceAll('/', '-')}`

/**
 * Adds a page that a link leads to. A GET moves the token from the address, which logs and histories
 * keep, into a cookie, and changes nothing: programs that scan mails open links, too.
 */
export function addLinkPage(routes: PageRoutes, linkPage: LinkPage): void {
  const { path } = linkPage
  const show = (page: Page, state: FormState) => showLinkPage(page, linkPage, state)
  routes.page(path, 'visitor', async (page) => {
    const sent = sentToken(page)
    if (sent !== null) {
      page.keep(cookieOf(path), sent, KEPT_SECONDS)
      return page.go(path, page.returnQuery)
    }
    await page.findSession()
    return show(page, emptyForm)
  })
  routes.form({
    path,
    access: 'anyone',
    show,
    submit: (page, fields) => submitLinkPage(page, linkPage, fields)
  })
  routes.form({
    path: `${path}/switch`,
    access: 'anyone',
    comeBackTo: (page) => page.path(path, page.returnQuery),
    show,
    async submit(page) {
      const answer = page.me ? await page.api.post('/api/auth/sign-out') : null
      if (answer && answer.status !== 200) return problemFrom(answer, page.t)
      return page.go(path, page.returnQuery)
    }
  })
}

/** Forgets the link that the browser keeps for a page. */
export function forgetLink(page: Page, path: string): void {
  page.forget(cookieOf(path))
}

/**
 * Leads to the page of a code, after its mail was asked for. Who asks anew goes on with the new mail,
 * and not with a link from before.
 */
export function goToCode(page: Page, path: string, what: AskedFor, email: string): void {
  forgetLink(page, path)
  const isAgain = keepAsked(page, what, email)
  page.go(path, { ...(isAgain ? { done: 'sent' } : {}), ...page.returnQuery })
}

/** Whether an answer says that the link does not count any more. */
export function isDead({ status, code }: ApiAnswer<unknown>): boolean {
  return status === 400 && code === 'invalid_token'
}

/** Shows that a link does not count any more, and what to do next. */
export function showDeadLink(page: Page, { path, next }: LinkPage): void {
  forgetLink(page, path)
  const { t } = page
  page.show({
    title: t.mail.dead.title,
    status: 400,
    hasError: true,
    children: (
      <>
        <p>{t.mail.dead.more}</p>
        {next(page)}
      </>
    )
  })
}

/** A form that is for a link. */
export function LinkForm({
  action,
  link,
  children
}: {
  action: string
  link: Link
  children: ComponentChildren
}) {
  return (
    <Form action={action}>
      <input type="hidden" name={LINK_FIELD} value={idOf(link.token)} />
      {children}
    </Form>
  )
}

/** A token in the address. Where several were sent, the first one is taken: none may stay there. */
function sentToken({ request }: Page): string | null {
  const [token] = [(request.query as Record<string, unknown>)['token']].flat()
  return typeof token === 'string' ? token.slice(0, LONGEST_TOKEN) : null
}

/** What tells links apart on a page. The token itself never stands there. */
function idOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url').slice(0, 16)
}

async function showLinkPage(page: Page, linkPage: LinkPage, state: FormState): Promise<void> {
  const token = page.kept(cookieOf(linkPage.path))
  if (token === null) return linkPage.show(page, state)
  const link = await findLink(page, linkPage, token)
  if (!link) return showDeadLink(page, linkPage)
  const other = otherAccount(page, link)
  if (other !== null) return showOtherAccount(page, { path: linkPage.path, other })
  return linkPage.showLink(page, link, state)
}

async function submitLinkPage(
  page: Page,
  linkPage: LinkPage,
  fields: Fields
): Promise<Problem | void> {
  const id = fields(LINK_FIELD)
  if (id === '') return linkPage.submit(page, fields)
  const token = page.kept(cookieOf(linkPage.path))
  if (token === null) return showDeadLink(page, linkPage)
  if (id !== idOf(token)) return { status: 403, message: page.t.errors.form_expired }
  const link = await findLink(page, linkPage, token)
  if (!link) return showDeadLink(page, linkPage)
  const other = otherAccount(page, link)
  if (other !== null) return showOtherAccount(page, { path: linkPage.path, other })
  return linkPage.submitLink(page, link, fields)
}

/**
 * Asks what a link is for. It changes nothing.
 *
 * @returns null where it does not count any more
 * @throws RefusedPage where that is not known
 */
async function findLink(page: Page, { purposes }: LinkPage, token: string): Promise<Link | null> {
  const answer = await page.api.post<LinkFacts>('/api/auth/describe-link', { token })
  if (answer.status === 400) return null
  if (answer.status !== 200) throw new RefusedPage(answer)
  return purposes.includes(answer.body.purpose) ? { ...answer.body, token } : null
}

/** The account of a link, where somebody is signed in to another one. */
function otherAccount({ me }: Page, { account, email }: LinkFacts): string | null {
  const theirs = account ?? email
  return me && me.user.email !== theirs ? theirs : null
}

/** Shows that another account is signed in. Nothing happens until it is signed out. */
export function showOtherAccount(
  page: Page,
  { path, other }: { path: string; other: string }
): void {
  const { t, me } = page
  page.show({
    title: t.mail.other.title,
    children: (
      <>
        <p>{t.mail.other.what({ email: me?.user.email ?? '', other })}</p>
        <p>{t.mail.other.switchMore}</p>
        <div class="action">
          <ButtonForm
            action={page.path(`${path}/switch`, page.returnQuery)}
            label={t.mail.other.switch}
          />
        </div>
        <p>
          <a href={page.path('/account')}>{t.mail.other.stay}</a>
        </p>
      </>
    )
  })
}
