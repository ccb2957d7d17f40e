import type { Page } from './page.js'
import { ErrorSummary, Field, Form, type FormState } from './parts.js'
import type { PageRoutes } from './forms.js'
import { problemFrom } from './problem.js'

/** `/second-factor`: the code of an app, or a backup code. */
export function addSecondFactor(routes: PageRoutes): void {
  routes.formPage({
    path: '/second-factor',
    access: 'visitor',
    show: showSecondFactor,
    async submit(page, fields) {
      const answer = await page.api.post(
        isBackup(page)
          ? '/api/auth/two-factor/verify-backup-code'
          : '/api/auth/two-factor/verify-totp',
        {
          code: fields('code').replace(/\s/g, ''),
          ...(fields('trust') === 'on' ? { trustDevice: true } : {})
        }
      )
      if (answer.status === 200) return page.leave(page.returnTo)
      // The password was shown too long ago, or in another browser.
      if (answer.code === 'invalid_two_factor_cookie')
        return page.go('/sign-in', {
          expired: 'second_factor',
          ...page.returnQuery
        })
      return problemFrom(answer, page.t, { invalid_code: 'code', invalid_backup_code: 'code' })
    }
  })
}

function isBackup(page: Page): boolean {
  return page.query('with') === 'backup_code'
}

function showSecondFactor(page: Page, state: FormState): void {
  const { t } = page
  const backup = isBackup(page)
  page.show({
    title: t.secondFactor.title,
    status: state.problem?.status ?? 200,
    hasError: state.problem !== null,
    children: (
      <>
        <ErrorSummary state={state} />
        <Form
          action={page.path('/second-factor', {
            with: backup ? 'backup_code' : undefined,
            ...page.returnQuery
          })}
        >
          {backup ? (
            <Field
              name="code"
              label={t.secondFactor.backupCode}
              hint={t.secondFactor.backupCodeHint}
              autocomplete="off"
              state={state}
              isFirst
            />
          ) : (
            <Field
              name="code"
              label={t.secondFactor.code}
              hint={t.secondFactor.codeHint}
              autocomplete="one-time-code"
              inputmode="numeric"
              state={state}
              isFirst
            />
          )}
          <div class="choice">
            <input type="checkbox" id="trust" name="trust" aria-describedby="trust-hint" />
            <label for="trust">{t.secondFactor.trust}</label>
            <p class="hint" id="trust-hint">
              {t.secondFactor.trustHint}
            </p>
          </div>
          <button type="submit">{t.secondFactor.submit}</button>
        </Form>
        <p>
          {backup ? (
            <a href={page.path('/second-factor', page.returnQuery)}>{t.secondFactor.useApp}</a>
          ) : (
            <a href={page.path('/second-factor', { with: 'backup_code', ...page.returnQuery })}>
              {t.secondFactor.useBackup}
            </a>
          )}
        </p>
        <p>
          <a href={page.path('/sign-in', page.returnQuery)}>{t.secondFactor.startAgain}</a>
        </p>
      </>
    )
  })
}
