import { createContext, type ComponentChildren } from 'preact'
import { useContext } from 'preact/hooks'
import { renderToString } from 'preact-render-to-string'
import { fastifyCookie } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Holdfast } from '../../src/holdfast.js'
import type { ReturnAddresses } from '../http/return-address.js'
import type { PageDetails } from './options.js'
import { ApiClient, withQuery, type ApiAnswer, type Query } from './api-client.js'
import type { FormTokens } from './form-token.js'
import type { Assets } from './assets.js'
import { Document } from './layout.js'
import type { PagePaths } from './page-paths.js'
import type { Problem } from './problem.js'
import { RefusedPage } from './refused-page.js'
import type { Language } from '../../src/language.js'
import { dictionaries, languageFrom, type Texts } from './texts/texts.js'

/** What all pages of a server have in common. */
export interface PageSettings {
  /** The path below which the pages and the API are: that of a host application, or empty. */
  prefix: string
  /** The origin of BASE_URL. */
  origin: string
  /** The pages that were added. */
  paths: PagePaths
  /** The origins from which forms are taken. */
  ownOrigins: readonly string[]
  isHttps: boolean
  brand: { name: string; termsUrl: string | null; privacyUrl: string | null }
  assets: Assets
  signUpIsOpen: boolean
  /** Whether mails are sent. Without them the pages that lead through a mailbox do not exist. */
  hasMail: boolean
  /** Whether there are pages for administrators. */
  hasAdmin: boolean
  formTokens: FormTokens
  returnAddresses: ReturnAddresses
  /** Encrypts what a page keeps in a cookie. */
  seal: Holdfast['pageSeal']
  /** Wraps what a page shows into the document of a host application. */
  layout: ((html: string, details: PageDetails) => string) | null
  /** The sign-in page of the operator, in place of ours. */
  signInUrl: string | null
}

/** Who is signed in, as `GET /session` says. Times are RFC 3339. */
export interface SignedIn {
  session: { id: string; act?: { sub: string } }
  user: {
    id: string
    email: string
    emailVerified: boolean
    name: string
    image: string | null
    roles: string[]
  }
}

/** What `GET /api/auth/recent-sign-in` says. */
export interface RecentSignIn {
  recent: boolean
  secondFactor: boolean
  /** Whether there is a password with which it could be renewed. */
  password: boolean
}

export interface Shown {
  /** The title, which is also the heading. */
  title: string
  /** That of the problem by default, and 200 without one. */
  status?: number
  /** What is wrong with a form on the page. */
  problem?: Problem | null
  /** Whether something is wrong. Then the title says so first. As `problem` says by default. */
  hasError?: boolean
  /** An address that the browser goes to by itself. */
  refreshTo?: string
  children: ComponentChildren
}

/** The first parts of the paths of pages that lead on after a sign-in. */
const beforeSignIn = new Set(['sign-in', 'sign-up', 'sign-out', 'second-factor'])

/** What a page keeps in the browser for a while, encrypted. */
interface Kept {
  /** Whose it is. Empty where nobody was signed in: then it is anybody's in this browser. */
  userId: string
  /** Until when, in milliseconds since the epoch. */
  until: number
  text: string
}

const FORM_COOKIE = 'holdfast.form'
const LANGUAGE_COOKIE = 'holdfast.language'
/** A year. */
const LANGUAGE_SECONDS = 31_536_000

/** One request of a page, and its answer. */
export class Page {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly settings: PageSettings
  readonly api: ApiClient
  readonly language: Language
  /** When the request arrived, in milliseconds since the epoch. */
  readonly now = Date.now()
  readonly t: Texts
  /** The path of the page, with its query. Of a form it is that of the page on which it stands. */
  here: string
  /** Who is signed in. Null before `findSession`, and where nobody is. */
  me: SignedIn | null = null
  readonly #cookies: Record<string, string | undefined>
  #formCookie: string | undefined

  constructor(request: FastifyRequest, reply: FastifyReply, settings: PageSettings) {
    this.request = request
    this.reply = reply
    this.settings = settings
    // An address that nothing has may begin as that of another origin does: `//evil.example`.
    this.here = `/${request.url.replace(/^[/\\]+/, '')}`
    this.#cookies = fastifyCookie.parse(request.headers.cookie ?? '')
    this.#formCookie = this.#cookies[this.#cookieName(FORM_COOKIE)]
    const wanted = this.query('lang')
    this.language = languageFrom(
      wanted,
      this.#cookies[this.#cookieName(LANGUAGE_COOKIE)],
      request.headers['accept-language']
    )
    this.t = dictionaries[this.language]
    this.api = new ApiClient(request, reply, { ...settings, language: this.language })
    if (wanted === this.language) this.keepLanguage(wanted)
  }

  /** A parameter of the address. Undefined where it is missing, or was sent more than once. */
  query(name: string): string | undefined {
    const value = (this.request.query as Record<string, unknown>)[name]
    return typeof value === 'string' ? value : undefined
  }

  /**
   * What was just done, for a notice. Undefined for a name that the page does not know. Undefined
   * also where the browser says that it did not come from a page of ours: no link may invent what
   * was done.
   */
  notice<Name extends string>(
    names: readonly Name[],
    parameter: (typeof noticeParameters)[number] = 'done'
  ): Name | undefined {
    const site = this.request.headers['sec-fetch-site']
    if (site !== undefined && site !== 'same-origin') return undefined
    const sent = this.query(parameter)
    return names.find((name) => name === sent)
  }

  /** The path of a page of this server. */
  path(path: string, query: Query = {}): string {
    return withQuery(this.settings.prefix + path, query)
  }

  /** Where the person wants to go back to. Null where the address names nothing that is allowed. */
  get returnTo(): string | null {
    return this.settings.returnAddresses.parse(this.query('return_to'), this.query('return_mac'))
  }

  /** The parameters that carry that on to the next page. */
  get returnQuery(): { return_to?: string | undefined; return_mac?: string | undefined } {
    return this.returnTo === null
      ? {}
      : { return_to: this.query('return_to'), return_mac: this.query('return_mac') }
  }

  /**
   * Finds who is signed in.
   *
   * @throws RefusedPage where that is not known
   */
  async findSession(): Promise<ApiAnswer<SignedIn>> {
    const answer = await this.api.get<SignedIn>('/session')
    if (answer.status === 200) this.me = answer.body
    else if (answer.status !== 401 && answer.code !== 'credential_ambiguous')
      throw new RefusedPage(answer)
    return answer
  }

  /** Who is signed in. Null where nobody is: then the person was sent to the sign-in page. */
  async requireSession(comeBackTo = this.request.url): Promise<SignedIn | null> {
    await this.findSession()
    if (!this.me) this.go('/sign-in', { return_to: this.settings.origin + comeBackTo })
    return this.me
  }

  /**
   * As `requireSession`, with a sign-in of the last ten minutes. Otherwise the person was sent to
   * confirm who they are.
   */
  async requireRecent(comeBackTo = this.request.url): Promise<SignedIn | null> {
    const me = await this.requireSession(comeBackTo)
    if (!me || (await this.findRecentSignIn()).recent) return me
    this.confirmFirst(comeBackTo)
    return null
  }

  /**
   * Whether the sign-in is recent, and whether there is a second factor.
   *
   * @throws RefusedPage where that is not known
   */
  findRecentSignIn(): Promise<RecentSignIn> {
    return this.api.read('/api/auth/recent-sign-in')
  }

  /** Sends the person to confirm who they are, and back. */
  confirmFirst(comeBackTo: string): void {
    this.go('/sign-in/confirm', { return_to: this.settings.origin + comeBackTo })
  }

  /** Goes to a page of this server. */
  go(path: string, query: Query = {}): void {
    this.goTo(this.path(path, query))
  }

  /** As `go`, with a path that has the prefix. */
  goTo(path: string): void {
    this.reply.code(303).header('location', path).send()
  }

  /**
   * Leads on after a sign-in. Browsers apply the policy `form-action` to the whole chain of
   * redirects behind a form, so an address that is not a page of ours is gone to by a page.
   */
  leave(address: string | null): void {
    const url = address === null ? null : new URL(address)
    const first =
      url?.origin === this.settings.origin && url.pathname.startsWith(`${this.settings.prefix}/`)
        ? url.pathname.slice(this.settings.prefix.length + 1).split('/', 1)[0]
        : undefined
    // A sign-in that led back to a sign-in would go on for ever.
    if (address === null || url === null || beforeSignIn.has(first ?? ''))
      return this.go('/account')
    if (first === 'account' || first === 'admin') {
      // A browser would say that it came from our sign-in page, whoever has made the address.
      removeNotices(url)
      return this.goTo(url.pathname + url.search)
    }
    this.#showOnward(url, true)
  }

  /**
   * Leads on somebody who was signed in already. An address elsewhere is only offered: a page there
   * that does not see the session would send the person back, without end.
   */
  goOn(address: string | null): void {
    const url = address === null ? null : new URL(address)
    if (url === null || url.origin === this.settings.origin) this.leave(address)
    else this.#showOnward(url, false)
  }

  #showOnward(url: URL, goes: boolean): void {
    this.show({
      title: this.t.onward.title,
      ...(goes ? { refreshTo: url.href } : {}),
      children: (
        <>
          {this.me ? <p>{this.t.onward.as({ email: this.me.user.email })}</p> : null}
          <p>
            <a href={url.href} class="button">
              {this.t.onward.link({ host: url.host })}
            </a>
          </p>
        </>
      )
    })
  }

  /** Sends the page. */
  show(shown: Shown): void {
    const { layout, assets } = this.settings
    const { problem = null, hasError = problem !== null } = shown
    const title = hasError ? this.t.errorTitle({ title: shown.title }) : shown.title
    const html = renderToString(
      <CurrentPage.Provider value={this}>
        <Document page={this} shown={shown} title={title} isWhole={layout === null} />
      </CurrentPage.Provider>
    )
    // The document of a host application has no place for a `<meta>` of ours.
    if (layout && shown.refreshTo !== undefined)
      this.reply.header('refresh', `0; url=${shown.refreshTo}`)
    this.reply
      .code(shown.status ?? problem?.status ?? 200)
      .header('content-language', this.language)
      .type('text/html; charset=utf-8')
      .send(
        layout
          ? layout(html, {
              title,
              language: this.language,
              styleSheets: assets.styleSheets.map(({ href }) => href),
              script: assets.script.href
            })
          : `<!doctype html>\n${html}`
      )
  }

  /** The token of a form on this page. Sets the cookie that it belongs to. */
  formToken(): string {
    const { formTokens } = this.settings
    if (this.#formCookie === undefined) {
      this.#formCookie = formTokens.newCookie()
      this.#setCookie(FORM_COOKIE, this.#formCookie)
    }
    return formTokens.tokenFor(this.#formCookie, this.me?.session.id ?? null)
  }

  /** Whether a form that was sent has a token of this browser and session. */
  hasRightToken(token: string): boolean {
    return this.settings.formTokens.isRight(token, this.#formCookie, this.me?.session.id ?? null)
  }

  /** Remembers a language for this browser. */
  keepLanguage(language: Language): void {
    this.#setCookie(LANGUAGE_COOKIE, language, LANGUAGE_SECONDS)
  }

  /** Keeps a text in the browser, encrypted, for the user that is signed in, if one is. */
  keep(name: string, text: string, seconds: number): void {
    const kept: Kept = {
      userId: this.me?.user.id ?? '',
      until: Date.now() + seconds * 1_000,
      text
    }
    this.#setCookie(name, this.settings.seal.seal(JSON.stringify(kept)), seconds)
  }

  /** A text that was kept for the user that is signed in, or for anybody. Null without one. */
  kept(name: string): string | null {
    const sealed = this.#cookies[this.#cookieName(name)]
    const text = sealed === undefined ? null : this.settings.seal.unseal(sealed)
    if (text === null) return null
    const { userId, until, text: kept } = JSON.parse(text) as Kept
    const isTheirs = userId === '' || userId === this.me?.user.id
    return isTheirs && until > Date.now() ? kept : null
  }

  /** Removes what was kept. */
  forget(name: string): void {
    if (this.#cookies[this.#cookieName(name)] !== undefined) this.#setCookie(name, '', 0)
  }

  /** Whether the browser has sent the cookie that forms belong to. */
  get hasFormCookie(): boolean {
    return this.#cookies[this.#cookieName(FORM_COOKIE)] !== undefined
  }

  #cookieName(name: string): string {
    return this.settings.isHttps ? `__Host-${name}` : name
  }

  #setCookie(name: string, value: string, maxAge?: number): void {
    this.reply.header(
      'set-cookie',
      fastifyCookie.serialize(this.#cookieName(name), value, {
        path: '/',
        httpOnly: true,
        sameSite: 'lax',
        secure: this.settings.isHttps,
        ...(maxAge === undefined ? {} : { maxAge })
      })
    )
  }
}

/** The parameters that say what was just done. */
const noticeParameters = ['done', 'expired'] as const

/** Removes from the address of a page what was just done. */
export function removeNotices({ searchParams }: URL): void {
  for (const name of noticeParameters) searchParams.delete(name)
}

const CurrentPage = createContext<Page | null>(null)

/** The page that is being shown, for its parts. */
export function usePage(): Page {
  const page = useContext(CurrentPage)
  if (!page) throw new Error('this part is not on a page')
  return page
}
