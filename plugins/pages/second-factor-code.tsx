import type { ApiAnswer } from './api-client.js'
import type { Fields } from './forms.js'
import { usePage, type Page } from './page.js'
import { Field, type FormState } from './parts.js'
import type { FieldCodes } from './problem.js'

/** The field that each code of the API is about. */
export const wrongCode: FieldCodes = { invalid_code: 'code', invalid_backup_code: 'code' }

/** Whether a backup code is asked for, in place of that of the app. */
function isBackup(page: Page): boolean {
  return page.query('with') === 'backup_code'
}

/** The parameter that asks for a backup code, where the page has it. */
export function withBackup(page: Page): { with?: string } {
  return isBackup(page) ? { with: 'backup_code' } : {}
}

/** Sends the code that was typed. */
export function postCode(
  page: Page,
  fields: Fields,
  trustDevice = false
): Promise<ApiAnswer<object>> {
  return page.api.post(
    isBackup(page) ? '/api/auth/two-factor/verify-backup-code' : '/api/auth/two-factor/verify-totp',
    { code: fields('code').replace(/\s/g, ''), ...(trustDevice ? { trustDevice } : {}) }
  )
}

/** The field for the code of the app, or for a backup code. */
export function CodeField({ state, isFirst = false }: { state: FormState; isFirst?: boolean }) {
  const page = usePage()
  const { t } = page
  return isBackup(page) ? (
    <Field
      name="code"
      label={t.secondFactor.backupCode}
      hint={t.secondFactor.backupCodeHint}
      autocomplete="off"
      state={state}
      isFirst={isFirst}
    />
  ) : (
    <Field
      name="code"
      label={t.secondFactor.code}
      hint={t.secondFactor.codeHint}
      autocomplete="one-time-code"
      inputmode="numeric"
      state={state}
      isFirst={isFirst}
    />
  )
}

/** A link to the same page with the other kind of code. */
export function OtherCode({ path }: { path: string }) {
  const page = usePage()
  const { t } = page
  return (
    <p>
      {isBackup(page) ? (
        <a href={page.path(path, page.returnQuery)}>{t.secondFactor.useApp}</a>
      ) : (
        <a href={page.path(path, { with: 'backup_code', ...page.returnQuery })}>
          {t.secondFactor.useBackup}
        </a>
      )}
    </p>
  )
}
