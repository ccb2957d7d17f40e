import type { PageRoutes } from './forms.js'
import type { Page } from './page.js'
import { ErrorSummary, Form, type FormState } from './parts.js'
import { problemFrom } from './problem.js'
import { CodeField, OtherCode, postCode, withBackup, wrongCode } from './second-factor-code.js'

/** `/second-factor`: the code of an app, or a backup code. */
export function addSecondFactor(routes: PageRoutes): void {
  routes.formPage({
    path: '/second-factor',
    access: 'visitor',
    show: showSecondFactor,
    async submit(page, fields) {
      const answer = await postCode(page, fields, fields('trust') === 'on')
      if (answer.status === 200) return page.leave(page.returnTo)
      // The password was shown too long ago, or in another browser; or too many codes were wrong.
      if (answer.code === 'invalid_two_factor_cookie')
        return page.go('/sign-in', { expired: 'second_factor', ...page.returnQuery })
      if (answer.code === 'too_many_attempts_request_new_code')
        return page.go('/sign-in', { expired: 'codes', ...page.returnQuery })
      return problemFrom(answer, page.t, wrongCode)
    }
  })
}

function showSecondFactor(page: Page, state: FormState): void {
  const { t } = page
  page.show({
    title: t.secondFactor.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <Form action={page.path('/second-factor', { ...withBackup(page), ...page.returnQuery })}>
          <CodeField state={state} isFirst />
          <div class="choice">
            <input type="checkbox" id="trust" name="trust" aria-describedby="trust-hint" />
            <label for="trust">{t.secondFactor.trust}</label>
            <p class="hint" id="trust-hint">
              {t.secondFactor.trustHint}
            </p>
          </div>
          <button type="submit">{t.secondFactor.submit}</button>
        </Form>
        <OtherCode path="/second-factor" />
        <p>
          <a href={page.path('/sign-in', page.returnQuery)}>{t.secondFactor.startAgain}</a>
        </p>
      </>
    )
  })
}
