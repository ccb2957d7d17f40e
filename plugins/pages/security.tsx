import type { Page } from './page.js'
import {
  emptyForm,
  ErrorSummary,
  Field,
  Form,
  NextPage,
  Notice,
  UsernameOf,
  type FormState
} from './parts.js'
import type { PageRoutes } from './forms.js'
import { problemFrom } from './problem.js'
import { QrCode } from './qr-code.js'
import { RefusedPage } from './refused-page.js'
import { hasSecondFactor } from './sign-in.js'
import { AccountEventList, type AccountEventShown } from './events.js'

const PATH = '/account/security'
/** The code with which the API asks for a recent sign-in. */
const CONFIRM = 'reauthentication_required'
const wrongPassword = { invalid_password: 'password', credential_account_not_found: 'password' }

/** What turning on a second factor answers, and new backup codes. */
interface FactorAnswer {
  totpURI?: string
  backupCodes?: string[]
}

/** `/account/security`: password, second factor, and what happened to the account. */
export function addSecurity(routes: PageRoutes): void {
  routes.page(PATH, 'session', (page) => showSecurity(page, emptyForm))

  routes.form({
    path: `${PATH}/password`,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: (page, state) => showSecurity(page, { ...state, form: 'change-' }),
    async submit(page, fields) {
      const answer = await page.api.post('/api/auth/change-password', {
        currentPassword: fields('password'),
        newPassword: fields('new_password'),
        revokeOtherSessions: true
      })
      if (answer.code === CONFIRM) return page.confirmFirst(page.path(PATH))
      if (answer.status !== 200)
        return problemFrom(answer, page.t, {
          ...wrongPassword,
          password_too_short: 'new_password',
          password_too_long: 'new_password',
          password_too_common: 'new_password'
        })
      return page.go(PATH, { done: 'password' })
    }
  })

  routes.form({
    path: `${PATH}/second-factor`,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: (page, state) => showSecurity(page, { ...state, form: 'on-' }),
    async submit(page, fields) {
      const answer = await page.api.post<FactorAnswer>('/api/auth/two-factor/enable', {
        password: fields('password')
      })
      if (answer.code === CONFIRM) return page.confirmFirst(page.path(PATH))
      if (answer.status !== 200) return problemFrom(answer, page.t, wrongPassword)
      const { totpURI = '', backupCodes = [] } = answer.body
      return showEnrolment(page, emptyForm, { totpURI, backupCodes })
    }
  })

  routes.form({
    path: `${PATH}/second-factor/confirm`,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: (page, state) => showSecurity(page, { ...state, form: 'on-' }),
    async submit(page, fields) {
      const enrolment = {
        totpURI: fields('totp_uri'),
        backupCodes: fields('backup_codes').split(' ').filter(Boolean)
      }
      const answer = await page.api.post('/api/auth/two-factor/verify-totp', {
        code: fields('code').replace(/\s/g, '')
      })
      if (answer.status !== 200) {
        const problem = problemFrom(answer, page.t, { invalid_code: 'code' })
        return enrolment.totpURI.startsWith('otpauth://totp/')
          ? showEnrolment(page, { values: {}, problem }, enrolment)
          : problem
      }
      return showBackupCodes(page, enrolment.backupCodes, page.t.security.factorOn)
    }
  })

  routes.form({
    path: `${PATH}/second-factor/off`,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: (page, state) => showSecurity(page, { ...state, form: 'off-' }),
    async submit(page, fields) {
      const answer = await page.api.post('/api/auth/two-factor/disable', {
        password: fields('password')
      })
      if (answer.code === CONFIRM) return page.confirmFirst(page.path(PATH))
      if (answer.status !== 200) return problemFrom(answer, page.t, wrongPassword)
      return page.go(PATH, { done: 'factor_off' })
    }
  })

  routes.form({
    path: `${PATH}/backup-codes`,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: (page, state) => showSecurity(page, { ...state, form: 'codes-' }),
    async submit(page, fields) {
      const answer = await page.api.post<FactorAnswer>(
        '/api/auth/two-factor/generate-backup-codes',
        { password: fields('password') }
      )
      if (answer.code === CONFIRM) return page.confirmFirst(page.path(PATH))
      if (answer.status !== 200) return problemFrom(answer, page.t, wrongPassword)
      return showBackupCodes(page, answer.body.backupCodes ?? [], page.t.security.newCodes)
    }
  })
}

/** @param sent the form that was sent, where one was */
async function showSecurity(page: Page, sent: FormState): Promise<void> {
  const { t, me } = page
  const hasFactor = await hasSecondFactor(page)
  const events = await page.api.get<{ events: AccountEventShown[]; next: string | null }>(
    '/account/events',
    {
      limit: '20',
      ...(page.query('after') === undefined ? {} : { after: page.query('after') ?? '' })
    }
  )
  if (events.status !== 200) throw new RefusedPage(events)
  const { problem } = sent
  const done = page.query('done')
  const stateOf = (form: string): FormState => (sent.form === form ? sent : { ...emptyForm, form })
  const passwordForm = (form: string, action: string, label: string, danger = false) => (
    <Form action={page.path(action)}>
      <ErrorSummary state={stateOf(form)} />
      <UsernameOf email={me?.user.email} />
      <Field
        name="password"
        label={t.fields.password}
        type="password"
        autocomplete="current-password"
        state={stateOf(form)}
      />
      <button type="submit" class={danger ? 'danger' : undefined}>
        {label}
      </button>
    </Form>
  )
  page.show({
    title: t.security.title,
    status: problem?.status ?? 200,
    hasError: problem !== null,
    children: (
      <>
        {done === 'password' ? <Notice>{t.security.passwordChanged}</Notice> : null}
        {done === 'factor_off' ? <Notice>{t.security.factorIsOff}</Notice> : null}
        <section aria-labelledby="password-title">
          <h2 id="password-title">{t.security.password}</h2>
          <ErrorSummary state={stateOf('change-')} />
          <p>{t.security.passwordWhat}</p>
          <Form action={page.path(`${PATH}/password`)}>
            <UsernameOf email={me?.user.email} />
            <Field
              name="password"
              label={t.security.currentPassword}
              type="password"
              autocomplete="current-password"
              state={stateOf('change-')}
            />
            <Field
              name="new_password"
              label={t.security.newPassword}
              hint={t.fields.passwordHint}
              type="password"
              autocomplete="new-password"
              state={stateOf('change-')}
            />
            <button type="submit">{t.security.changePassword}</button>
          </Form>
        </section>
        <section aria-labelledby="factor-title">
          <h2 id="factor-title">{t.secondFactor.title}</h2>
          <p>{hasFactor ? t.security.factorIsOn : t.security.factorWhat}</p>
          {hasFactor ? (
            <>
              <h3>{t.security.backupCodes}</h3>
              <p>{t.security.newCodesWhat}</p>
              {passwordForm('codes-', `${PATH}/backup-codes`, t.security.makeCodes)}
              <h3>{t.security.turnOffTitle}</h3>
              {passwordForm('off-', `${PATH}/second-factor/off`, t.security.turnOff, true)}
            </>
          ) : (
            passwordForm('on-', `${PATH}/second-factor`, t.security.turnOn)
          )}
        </section>
        <section aria-labelledby="events-title">
          <h2 id="events-title">{t.security.events}</h2>
          <AccountEventList events={events.body.events} />
          <NextPage next={events.body.next} />
        </section>
      </>
    )
  })
}

/** The QR code, and the form that takes the first code of the app. */
function showEnrolment(
  page: Page,
  state: FormState,
  { totpURI, backupCodes }: { totpURI: string; backupCodes: string[] }
): void {
  const { t } = page
  const secret = new URL(totpURI).searchParams.get('secret') ?? ''
  page.show({
    title: t.security.enrol,
    status: state.problem?.status ?? 200,
    hasError: state.problem !== null,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.security.scan}</p>
        <QrCode text={totpURI} label={t.security.qrCode} />
        <p>
          {t.security.typeSecret} <code class="secret">{inGroups(secret)}</code>
        </p>
        <Form action={page.path(`${PATH}/second-factor/confirm`)}>
          <input type="hidden" name="totp_uri" value={totpURI} />
          <input type="hidden" name="backup_codes" value={backupCodes.join(' ')} />
          <Field
            name="code"
            label={t.secondFactor.code}
            hint={t.security.firstCode}
            autocomplete="one-time-code"
            inputmode="numeric"
            state={state}
            isFirst
          />
          <button type="submit">{t.security.turnOn}</button>
        </Form>
        <p>
          <a href={page.path(PATH)}>{t.cancel}</a>
        </p>
      </>
    )
  })
}

async function showBackupCodes(page: Page, codes: readonly string[], what: string): Promise<void> {
  const { t } = page
  // The change may have begun a new session, to which the forms of this page must belong.
  await page.findSession()
  page.show({
    title: t.security.backupCodes,
    children: (
      <>
        <Notice>{what}</Notice>
        <p>{t.security.codesWhat}</p>
        <ul class="codes" id="backup-codes">
          {codes.map((code) => (
            <li>
              <code>{code}</code>
            </li>
          ))}
        </ul>
        <p>
          <button
            type="button"
            class="secondary"
            hidden
            data-copy="backup-codes"
            data-done={t.copied}
          >
            {t.copy}
          </button>
        </p>
        <p>
          <a class="button" href={page.path(PATH)}>
            {t.security.codesKept}
          </a>
        </p>
      </>
    )
  })
}

/** "JBSW Y3DP …": easier to type. */
function inGroups(secret: string): string {
  return secret.match(/.{1,4}/g)?.join(' ') ?? ''
}
