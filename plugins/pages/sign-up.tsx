import type { Page } from './page.js'
import { ErrorSummary, Field, Form, type FormState } from './parts.js'
import type { PageRoutes } from './forms.js'
import { keepAsked } from './mail/asked.js'
import { goToCheckMail } from './mail/verify-email.js'
import { problemFrom } from './problem.js'

/** `/sign-up`. */
export function addSignUp(routes: PageRoutes): void {
  routes.formPage({
    path: '/sign-up',
    access: 'visitor',
    show: showSignUp,
    async submit(page, fields) {
      const email = fields('email')
      const answer = await page.api.post<{ token?: string | null }>('/api/auth/sign-up/email', {
        name: fields('name'),
        email,
        password: fields('password')
      })
      if (answer.status !== 200)
        return problemFrom(answer, page.t, {
          invalid_email: 'email',
          user_already_exists_use_another_email: 'email',
          user_already_exists: 'email',
          password_too_short: 'password',
          password_too_long: 'password',
          password_too_common: 'password'
        })
      // The account begins when its address is proven.
      if (answer.body.token === null) return goToCheckMail(page, email)
      if (page.settings.hasMail) keepAsked(page, 'verify', email)
      return page.leave(page.returnTo)
    }
  })
}

async function showSignUp(page: Page, state: FormState): Promise<void> {
  const { t, settings } = page
  if (!state.problem) await page.findSession()
  if (page.me) return page.goOn(page.returnTo)
  const toSignIn = (
    <p>
      {t.signUp.haveAccount} <a href={page.path('/sign-in', page.returnQuery)}>{t.signIn.title}</a>
    </p>
  )
  if (!settings.signUpIsOpen) {
    return page.show({
      title: t.signUp.title,
      status: 403,
      children: (
        <>
          <p>{t.signUp.closed}</p>
          {toSignIn}
        </>
      )
    })
  }
  page.show({
    title: t.signUp.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <Form action={page.path('/sign-up', page.returnQuery)}>
          <Field name="name" label={t.fields.name} autocomplete="name" state={state} isFirst />
          <Field
            name="email"
            label={t.fields.email}
            type="email"
            autocomplete="username"
            inputmode="email"
            state={state}
          />
          <Field
            name="password"
            label={t.fields.password}
            hint={t.fields.passwordHint}
            type="password"
            autocomplete="new-password"
            state={state}
          />
          <button type="submit">{t.signUp.submit}</button>
        </Form>
        {toSignIn}
      </>
    )
  })
}
