import type { ApiAnswer } from '../api-client.js'
import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { ErrorSummary, Form, type FormState } from '../parts.js'
import { problemFrom, type Problem } from '../problem.js'
import { askedIn, forgetAsked, returnQueryOf, type ReturnQuery } from './asked.js'
import {
  addLinkPage,
  forgetLink,
  goToCode,
  isDead,
  LinkForm,
  showDeadLink,
  showOtherAccount,
  type LinkPage
} from './link.js'
import {
  AskedFacts,
  codeFrom,
  EmailField,
  MailCodeField,
  NoMail,
  SentAgain,
  wrongMailCode
} from './mail-parts.js'

const PATH = '/sign-in/code'
const SEND = `${PATH}/send`

/** What a sign-in by mail answers. */
interface SignInAnswer {
  twoFactorRedirect?: boolean
  /** Where the application that asked for the link wants its person to go. */
  callbackURL?: string | null
}

/** `/sign-in/code`: signs in by the code of a mail, or by its link. */
export function addSignInCode(routes: PageRoutes): void {
  addLinkPage(routes, signInPage)
  routes.form({
    path: SEND,
    access: 'anyone',
    comeBackTo: (page) => page.path(PATH, page.returnQuery),
    show: showAsk,
    async submit(page, fields) {
      // Who is signed in renews the sign-in to that account.
      const email = page.me?.user.email ?? fields('email').trim()
      const { returnTo } = page
      const answer = await page.api.post('/api/auth/sign-in/magic-link', {
        email,
        // An address that only its signature allows is kept in this browser alone.
        ...(returnTo !== null && page.query('return_mac') === undefined
          ? { callbackURL: returnTo }
          : {})
      })
      if (answer.status !== 200) return problemFrom(answer, page.t, { invalid_email: 'email' })
      return goToCode(page, PATH, 'sign-in', email)
    }
  })
}

/** The form with which somebody renews the sign-in who has no password. */
export function RenewByMail({ page }: { page: Page }) {
  const { t, me } = page
  return (
    <>
      <p>{t.mail.signInCode.confirm({ email: me?.user.email ?? '' })}</p>
      <Form action={page.path(SEND, page.returnQuery)}>
        <button type="submit">{t.mail.signInCode.submit}</button>
      </Form>
    </>
  )
}

const signInPage: LinkPage = {
  path: PATH,
  purposes: ['sign-in'],
  showLink(page, link, state) {
    const { t } = page
    page.show({
      title: t.mail.signInCode.title,
      problem: state.problem,
      children: (
        <>
          <ErrorSummary state={state} />
          <AskedFacts link={link} />
          <p>{t.mail.signInCode.byLink({ email: link.account ?? link.email })}</p>
          <LinkForm action={page.path(PATH, page.returnQuery)} link={link}>
            <button type="submit">{t.mail.signInCode.signIn}</button>
          </LinkForm>
        </>
      )
    })
  },
  async submitLink(page, { token }) {
    const answer = await page.api.post<SignInAnswer>('/api/auth/magic-link/verify', { token })
    if (isDead(answer)) return showDeadLink(page, signInPage)
    return leave(page, answer)
  },
  next: (page) => (
    <p>
      <a class="button" href={page.path(PATH, { with: 'other', ...page.returnQuery })}>
        {page.t.mail.signInCode.again}
      </a>
    </p>
  ),
  show: showCode,
  async submit(page, fields) {
    const asked = askedIn(page, 'sign-in')
    if (!asked) return page.go(PATH, page.returnQuery)
    if (page.me && page.me.user.email !== asked.email)
      return showOtherAccount(page, { path: PATH, other: asked.email })
    const answer = await page.api.post<SignInAnswer>('/api/auth/sign-in/email-otp', {
      email: asked.email,
      otp: codeFrom(fields)
    })
    return leave(page, answer)
  }
}

/** Leads on after a sign-in, or says why there is none. */
function leave(page: Page, answer: ApiAnswer<SignInAnswer>): Problem | void {
  if (answer.status !== 200) return problemFrom(answer, page.t, wrongMailCode)
  const back = returnQueryOf(page, 'sign-in')
  forgetLink(page, PATH)
  forgetAsked(page, 'sign-in')
  const { twoFactorRedirect, callbackURL } = answer.body
  if (twoFactorRedirect) return page.go('/second-factor', backOf(page, back, callbackURL))
  const { return_to: returnTo, return_mac: mac } = backOf(page, back, callbackURL)
  return page.leave(page.settings.returnAddresses.parse(returnTo, mac))
}

/** Where to go back to: as this browser says, or as the answer does. */
function backOf(page: Page, back: ReturnQuery, callbackURL: string | null = null): ReturnQuery {
  if (back.return_to !== undefined || callbackURL === null) return back
  return page.settings.returnAddresses.parse(callbackURL) === null ? {} : { return_to: callbackURL }
}

function showCode(page: Page, state: FormState): void {
  const { t, me } = page
  const asked = askedIn(page, 'sign-in')
  if (!asked) return me ? page.goOn(page.returnTo) : showAsk(page, state)
  if (!me && page.query('with') === 'other') return showAsk(page, state)
  if (me && me.user.email !== asked.email)
    return showOtherAccount(page, { path: PATH, other: asked.email })
  page.show({
    title: t.mail.checkMail,
    problem: state.problem,
    children: (
      <>
        <SentAgain />
        <ErrorSummary state={state} />
        <p>{t.mail.signInCode.sent({ email: asked.email })}</p>
        <Form action={page.path(PATH, page.returnQuery)}>
          <MailCodeField state={state} />
          <button type="submit">{t.mail.signInCode.signIn}</button>
        </Form>
        <NoMail
          again={page.path(SEND, page.returnQuery)}
          email={asked.email}
          other={me ? null : page.path(PATH, { with: 'other', ...page.returnQuery })}
        />
      </>
    )
  })
}

function showAsk(page: Page, state: FormState): void {
  const { t } = page
  page.show({
    title: t.mail.signInCode.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.mail.signInCode.what}</p>
        <Form action={page.path(SEND, page.returnQuery)}>
          <EmailField state={state} value={askedIn(page, 'sign-in')?.email} />
          <button type="submit">{t.mail.signInCode.submit}</button>
        </Form>
        <p>
          <a href={page.path('/sign-in', page.returnQuery)}>{t.mail.signInCode.byPassword}</a>
        </p>
      </>
    )
  })
}
