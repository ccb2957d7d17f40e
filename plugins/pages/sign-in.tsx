import type { Page } from './page.js'
import {
  ButtonForm,
  ErrorSummary,
  Field,
  Form,
  Notice,
  CurrentPassword,
  type FormState
} from './parts.js'
import type { PageRoutes } from './forms.js'
import { RenewByMail } from './mail/sign-in-code.js'
import { problemFrom } from './problem.js'
import { CodeField, OtherCode, postCode, withBackup, wrongCode } from './second-factor-code.js'

/** What a sign-in answers: who signed in, or that a second factor must follow. */
interface SignInAnswer {
  twoFactorRedirect?: boolean
}

/** The ends of a session that a person is told about when they have to sign in again. */
const told = [
  'session_revoked',
  'session_expired',
  'user_banned',
  'user_gone',
  'credential_ambiguous'
] as const

/** `/sign-in`, `/sign-in/confirm`, `/sign-out`. */
export function addSignIn(routes: PageRoutes): void {
  routes.formPage({
    path: '/sign-in',
    access: 'visitor',
    show: showSignIn,
    async submit(page, fields) {
      const answer = await page.api.post<SignInAnswer>('/api/auth/sign-in/email', {
        email: fields('email'),
        password: fields('password')
      })
      if (answer.status !== 200)
        return problemFrom(answer, page.t, {
          invalid_email: 'email',
          invalid_email_or_password: 'password'
        })
      if (answer.body.twoFactorRedirect) return page.go('/second-factor', page.returnQuery)
      return page.leave(page.returnTo)
    }
  })

  routes.formPage({
    path: '/sign-in/confirm',
    access: 'session',
    show: showConfirm,
    async submit(page, fields) {
      const { t, api } = page
      const password = await api.post('/api/auth/verify-password', { password: fields('password') })
      if (password.status !== 200) return problemFrom(password, t, { invalid_password: 'password' })
      if ((await page.findRecentSignIn()).secondFactor) {
        const code = await postCode(page, fields)
        if (code.status !== 200) return problemFrom(code, t, wrongCode)
      }
      return page.leave(page.returnTo)
    }
  })

  routes.page('/sign-out', 'anyone', showSignOut)
  routes.form({
    path: '/sign-out',
    access: 'anyone',
    show: showSignOut,
    async submit(page) {
      if (!page.me) return page.go('/sign-out')
      const answer = await page.api.post('/api/auth/sign-out')
      if (answer.status !== 200) return problemFrom(answer, page.t)
      return page.go('/sign-out', { done: answer.effectiveBy === null ? undefined : 'pending' })
    }
  })
}

async function showSignIn(page: Page, state: FormState): Promise<void> {
  const { t, settings } = page
  if (settings.signInUrl !== null) return leadToOwn(page, settings.signInUrl)
  // After a failed sign-in the person is told of that alone.
  const answer = state.problem ? null : await page.findSession()
  if (page.me) return page.goOn(page.returnTo)
  const ended = told.find((cause) => cause === answer?.code)
  const expired = page.notice(['second_factor', 'codes'], 'expired')
  const done = page.notice(['reset', 'verified', 'email_changed'])
  page.show({
    title: t.signIn.title,
    problem: state.problem,
    children: (
      <>
        {expired === undefined ? null : <Notice>{t.signIn.expired[expired]}</Notice>}
        {done === undefined ? null : <Notice>{t.mail.done[done]}</Notice>}
        {ended === undefined || done ? null : <Notice>{t.signIn.ended[ended]}</Notice>}
        <ErrorSummary state={state} />
        {state.problem?.code === 'email_not_verified' && settings.hasMail ? (
          <div class="action">
            <ButtonForm
              action={page.path('/verify-email/send', page.returnQuery)}
              fields={{ email: state.values['email'] ?? '' }}
              label={t.mail.sendAgain}
            />
          </div>
        ) : null}
        <Form action={page.path('/sign-in', page.returnQuery)}>
          <Field
            name="email"
            label={t.fields.email}
            type="email"
            autocomplete="username webauthn"
            inputmode="email"
            state={state}
            isFirst
          />
          <Field
            name="password"
            label={t.fields.password}
            type="password"
            autocomplete="current-password"
            state={state}
          />
          <button type="submit">{t.signIn.submit}</button>
        </Form>
        {settings.hasMail ? (
          <>
            <p>
              <a href={page.path('/forgot-password', page.returnQuery)}>{t.mail.forgot.link}</a>
            </p>
            <p>
              <a href={page.path('/sign-in/code', page.returnQuery)}>{t.mail.signInCode.link}</a>
            </p>
          </>
        ) : null}
        {settings.signUpIsOpen ? (
          <p>
            {t.signIn.noAccount}{' '}
            <a href={page.path('/sign-up', page.returnQuery)}>{t.signUp.title}</a>
          </p>
        ) : null}
      </>
    )
  })
}

async function showConfirm(page: Page, state: FormState): Promise<void> {
  const { t } = page
  const { secondFactor, password } = await page.findRecentSignIn()
  // Without a password, the sign-in is renewed by mail, and then with the second factor.
  const byMail = !password && page.settings.hasMail
  page.show({
    title: t.confirm.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.confirm.why}</p>
        {byMail ? (
          <RenewByMail page={page} />
        ) : (
          <>
            <Form
              action={page.path('/sign-in/confirm', { ...withBackup(page), ...page.returnQuery })}
            >
              <CurrentPassword state={state} isFirst />
              {secondFactor ? <CodeField state={state} /> : null}
              <button type="submit">{t.confirm.submit}</button>
            </Form>
            {secondFactor ? <OtherCode path="/sign-in/confirm" /> : null}
          </>
        )}
        <p>
          <a href={page.path('/account')}>{t.cancel}</a>
        </p>
      </>
    )
  })
}

function showSignOut(page: Page, state?: FormState): void {
  const { t, me } = page
  if (me) {
    page.show({
      title: t.signOut.title,
      problem: state?.problem ?? null,
      children: (
        <>
          {state ? <ErrorSummary state={state} /> : null}
          <p>{t.signOut.question({ email: me.user.email })}</p>
          <Form action={page.path('/sign-out')}>
            <button type="submit">{t.nav.signOut}</button>
          </Form>
        </>
      )
    })
    return
  }
  page.show({
    title: t.signOut.done,
    children: (
      <>
        {page.notice(['pending']) ? <Notice>{t.pending}</Notice> : null}
        <p>
          <a class="button" href={page.path('/sign-in')}>
            {t.signOut.again}
          </a>
        </p>
      </>
    )
  })
}

/** Leads to the sign-in page of the operator, which takes the place of ours. */
function leadToOwn(page: Page, signInUrl: string): void {
  const url = new URL(signInUrl)
  for (const [name, value] of Object.entries(page.returnQuery))
    if (value !== undefined) url.searchParams.set(name, value)
  page.goTo(url.href)
}
