import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { ErrorSummary, Form, UsernameOf, type FormState } from '../parts.js'
import { problemFrom } from '../problem.js'
import { askedIn, forgetAsked, returnQueryOf } from './asked.js'
import {
  addLinkPage,
  forgetLink,
  goToCode,
  isDead,
  LinkForm,
  showDeadLink,
  type LinkPage
} from './link.js'
import {
  AskedFacts,
  codeFrom,
  EmailField,
  MailCodeField,
  NewPasswordField,
  NoMail,
  SentAgain,
  wrongMailCode,
  wrongNewPassword
} from './mail-parts.js'

const PATH = '/reset-password'
const ASK = '/forgot-password'

/** `/forgot-password` and `/reset-password`: a new password by link or by code. */
export function addResetPassword(routes: PageRoutes): void {
  routes.formPage({
    path: ASK,
    access: 'visitor',
    show: showForgotPassword,
    async submit(page, fields) {
      const email = fields('email').trim()
      const answer = await page.api.post('/api/auth/request-password-reset', { email })
      if (answer.status !== 200) return problemFrom(answer, page.t, { invalid_email: 'email' })
      return goToCode(page, PATH, 'reset', email)
    }
  })
  addLinkPage(routes, resetPage)
}

const resetPage: LinkPage = {
  path: PATH,
  purposes: ['reset'],
  showLink(page, link, state) {
    const { t } = page
    page.show({
      title: t.mail.reset.title,
      problem: state.problem,
      children: (
        <>
          <ErrorSummary state={state} />
          <AskedFacts link={link} />
          <p>{t.mail.reset.what}</p>
          <LinkForm action={page.path(PATH, page.returnQuery)} link={link}>
            <UsernameOf email={link.email} />
            <NewPasswordField state={state} isFirst />
            <button type="submit">{t.mail.reset.submit}</button>
          </LinkForm>
        </>
      )
    })
  },
  async submitLink(page, { token }, fields) {
    const answer = await page.api.post('/api/auth/reset-password', {
      token,
      newPassword: fields('password')
    })
    if (isDead(answer)) return showDeadLink(page, resetPage)
    if (answer.status !== 200) return problemFrom(answer, page.t, wrongNewPassword('password'))
    return leave(page)
  },
  next: (page) => (
    <>
      <p>
        <a class="button" href={page.path(ASK, page.returnQuery)}>
          {page.t.mail.reset.again}
        </a>
      </p>
      {askedIn(page, 'reset') === null ? null : (
        <p>
          <a href={page.path(PATH, page.returnQuery)}>{page.t.mail.dead.enterCode}</a>
        </p>
      )}
    </>
  ),
  show: showCode,
  async submit(page, fields) {
    const asked = askedIn(page, 'reset')
    if (!asked) return page.go(ASK, page.returnQuery)
    const answer = await page.api.post('/api/auth/email-otp/reset-password', {
      email: asked.email,
      otp: codeFrom(fields),
      password: fields('password')
    })
    if (answer.status !== 200)
      return problemFrom(answer, page.t, { ...wrongMailCode, ...wrongNewPassword('password') })
    return leave(page)
  }
}

/** The password is set: its owner signs in with it. */
async function leave(page: Page): Promise<void> {
  const back = returnQueryOf(page, 'reset')
  forgetLink(page, PATH)
  forgetAsked(page, 'reset')
  // Somebody else may be signed in here.
  if ((await page.findSession()).status === 200) return page.go('/account', { done: 'reset' })
  return page.go('/sign-in', { done: 'reset', ...back })
}

function showForgotPassword(page: Page, state: FormState): void {
  const { t } = page
  page.show({
    title: t.mail.forgot.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.mail.forgot.what}</p>
        <Form action={page.path(ASK, page.returnQuery)}>
          <EmailField state={state} />
          <button type="submit">{t.mail.forgot.submit}</button>
        </Form>
        <p>
          <a href={page.path('/sign-in', page.returnQuery)}>{t.mail.verify.toSignIn}</a>
        </p>
      </>
    )
  })
}

/** The form for the code of the mail. Without a mail that was asked for, one is asked for first. */
function showCode(page: Page, state: FormState): void {
  const { t } = page
  const asked = askedIn(page, 'reset')
  if (!asked) return page.go(ASK, page.returnQuery)
  page.show({
    title: t.mail.checkMail,
    problem: state.problem,
    children: (
      <>
        <SentAgain />
        <ErrorSummary state={state} />
        <p>{t.mail.forgot.sent({ email: asked.email })}</p>
        <Form action={page.path(PATH, page.returnQuery)}>
          <UsernameOf email={asked.email} />
          <MailCodeField state={state} />
          <NewPasswordField state={state} />
          <button type="submit">{t.mail.reset.submit}</button>
        </Form>
        <NoMail
          again={page.path(ASK, page.returnQuery)}
          email={asked.email}
          other={page.path(ASK, page.returnQuery)}
        />
      </>
    )
  })
}
