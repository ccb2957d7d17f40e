import type { ApiAnswer } from './api-client.js'
import { AccountEventList, type AccountEventPage } from './events.js'
import type { PageRoutes } from './forms.js'
import { usePage, type Page } from './page.js'
import {
  emptyForm,
  ErrorSummary,
  Field,
  Form,
  NextPage,
  Notice,
  CurrentPassword,
  type FormState
} from './parts.js'
import { problemFrom, type FieldCodes, type Problem } from './problem.js'
import { QrCode } from './qr-code.js'

const PATH = '/account/security'
const FACTOR = `${PATH}/second-factor`
const CODES = `${PATH}/backup-codes`

/** The cookies in which the browser keeps a new second factor, and new backup codes. */
const NEW_FACTOR = 'holdfast.new-factor'
const NEW_CODES = 'holdfast.new-codes'
/** How long it keeps them, in seconds. */
const KEPT_SECONDS = 600

const wrongPassword: FieldCodes = {
  invalid_password: 'password',
  credential_account_not_found: 'password'
}

/** What turning on a second factor answers. */
interface NewFactor {
  totpURI: string
  backupCodes: string[]
}

/** `/account/security`: password, second factor, and what happened to the account. */
export function addSecurity(routes: PageRoutes): void {
  routes.page(PATH, 'session', (page) => showSecurity(page, emptyForm))
  routes.page(CODES, 'session', showBackupCodes)

  passwordForm(routes, 'change-', `${PATH}/password`, {
    call: (page, password, fields) =>
      page.api.post('/api/auth/change-password', {
        currentPassword: password,
        newPassword: fields('new_password'),
        revokeOtherSessions: true
      }),
    wrong: {
      password_too_short: 'new_password',
      password_too_long: 'new_password',
      password_too_common: 'new_password'
    },
    done: (page, { effectiveBy }) =>
      page.go(PATH, { done: effectiveBy === null ? 'password' : 'pending' })
  })
  passwordForm<NewFactor>(routes, 'on-', `${FACTOR}/on`, {
    call: (page, password) => page.api.post('/api/auth/two-factor/enable', { password }),
    done(page, { body }) {
      page.keep(NEW_FACTOR, JSON.stringify(body), KEPT_SECONDS)
      page.go(FACTOR)
    }
  })
  passwordForm(routes, 'off-', `${FACTOR}/off`, {
    call: (page, password) => page.api.post('/api/auth/two-factor/disable', { password }),
    done: (page) => page.go(PATH, { done: 'factor_off' })
  })
  passwordForm<{ backupCodes: string[] }>(routes, 'codes-', `${CODES}/new`, {
    call: (page, password) =>
      page.api.post('/api/auth/two-factor/generate-backup-codes', { password }),
    done(page, { body }) {
      page.keep(NEW_CODES, JSON.stringify(body.backupCodes), KEPT_SECONDS)
      page.go(CODES, { done: 'new' })
    }
  })

  routes.formPage({
    path: FACTOR,
    access: 'session',
    show: showEnrolment,
    async submit(page, fields) {
      const factor = newFactorOf(page)
      if (!factor) return page.go(PATH)
      const answer = await page.api.post('/api/auth/two-factor/verify-totp', {
        code: fields('code').replace(/\s/g, '')
      })
      // A form that was sent twice: the first one has turned it on.
      if (answer.status !== 200 && !(await page.findRecentSignIn()).secondFactor)
        return problemFrom(answer, page.t, { invalid_code: 'code' })
      page.forget(NEW_FACTOR)
      page.keep(NEW_CODES, JSON.stringify(factor.backupCodes), KEPT_SECONDS)
      return page.go(CODES, { done: 'on' })
    }
  })
}

/** What a form does that asks for the password. */
interface PasswordForm<Body> {
  call: (page: Page, password: string, fields: (name: string) => string) => Promise<ApiAnswer<Body>>
  /** Further codes of the API, and the fields that they are about. */
  wrong?: FieldCodes
  done: (page: Page, answer: ApiAnswer<Body>) => void
}

function passwordForm<Body = object>(
  routes: PageRoutes,
  form: string,
  path: string,
  { call, wrong = {}, done }: PasswordForm<Body>
): void {
  routes.form({
    path,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: (page, state) => showSecurity(page, { ...state, form }),
    async submit(page, fields): Promise<Problem | void> {
      const answer = await call(page, fields('password'), fields)
      if (answer.status !== 200) return problemFrom(answer, page.t, { ...wrongPassword, ...wrong })
      return done(page, answer)
    }
  })
}

/** @param sent the form that was sent, where one was */
async function showSecurity(page: Page, sent: FormState): Promise<void> {
  const { t } = page
  const { secondFactor } = await page.findRecentSignIn()
  const after = page.query('after')
  const { events, next } = await page.api.read<AccountEventPage>('/account/events', {
    limit: '20',
    after
  })
  page.forget(NEW_CODES)
  const stateOf = (form: string): FormState => (sent.form === form ? sent : { ...emptyForm, form })
  page.show({
    title: t.security.title,
    problem: sent.problem,
    children: (
      <>
        <Done hasFactor={secondFactor} />
        <ErrorSummary state={sent} />
        {sent.problem?.code === 'email_not_verified' ? (
          <p>
            <a href={page.path('/verify-email')}>{t.mail.verify.title}</a>
          </p>
        ) : null}
        <section aria-labelledby="password-title">
          <h2 id="password-title">{t.security.password}</h2>
          <p>{t.security.passwordWhat}</p>
          <Form action={page.path(`${PATH}/password`)}>
            <CurrentPassword label={t.security.currentPassword} state={stateOf('change-')} />
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
          <p>{secondFactor ? t.security.factorIsOn : t.security.factorWhat}</p>
          {secondFactor ? (
            <>
              <h3>{t.security.backupCodes}</h3>
              <p>{t.security.newCodesWhat}</p>
              <OnlyPassword
                state={stateOf('codes-')}
                action={`${CODES}/new`}
                label={t.security.makeCodes}
              />
              <h3>{t.security.turnOffTitle}</h3>
              <OnlyPassword
                state={stateOf('off-')}
                action={`${FACTOR}/off`}
                label={t.security.turnOff}
                danger
              />
            </>
          ) : (
            <OnlyPassword
              state={stateOf('on-')}
              action={`${FACTOR}/on`}
              label={t.security.turnOn}
            />
          )}
        </section>
        <section aria-labelledby="events-title">
          <h2 id="events-title">{t.security.events}</h2>
          <AccountEventList events={events} />
          <NextPage next={next} />
        </section>
      </>
    )
  })
}

/** What was just done. */
function Done({ hasFactor }: { hasFactor: boolean }) {
  const page = usePage()
  const { t } = page
  const done = page.notice(['pending', 'password', 'factor_off'])
  if (done === 'pending') return <Notice>{t.pending}</Notice>
  if (done === 'password') return <Notice>{t.security.passwordChanged}</Notice>
  return done === 'factor_off' && !hasFactor ? <Notice>{t.security.factorIsOff}</Notice> : null
}

/** A form that asks for nothing but the password. */
function OnlyPassword({
  state,
  action,
  label,
  danger = false
}: {
  state: FormState
  action: string
  label: string
  danger?: boolean
}) {
  const page = usePage()
  return (
    <Form action={page.path(action)}>
      <CurrentPassword state={state} />
      <button type="submit" class={danger ? 'danger' : undefined}>
        {label}
      </button>
    </Form>
  )
}

/** The second factor that is being turned on. Null where there is none. */
function newFactorOf(page: Page): NewFactor | null {
  const kept = page.kept(NEW_FACTOR)
  return kept === null ? null : (JSON.parse(kept) as NewFactor)
}

/** The QR code, and the form that takes the first code of the app. */
function showEnrolment(page: Page, state: FormState): void {
  const { t } = page
  const factor = newFactorOf(page)
  if (!factor) return page.go(PATH)
  const { totpURI } = factor
  page.show({
    title: t.security.enrol,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.security.scan}</p>
        <QrCode text={totpURI} label={t.security.qrCode} />
        <p>
          {t.security.typeSecret}{' '}
          <code class="secret">{inGroups(new URL(totpURI).searchParams.get('secret') ?? '')}</code>
        </p>
        <Form action={page.path(FACTOR)}>
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

/** New backup codes, for as long as the browser keeps them. */
function showBackupCodes(page: Page): void {
  const { t } = page
  const kept = page.kept(NEW_CODES)
  if (kept === null) return page.go(PATH)
  const done = page.notice(['on', 'new'])
  page.show({
    title: t.security.backupCodes,
    children: (
      <>
        {done === undefined ? null : (
          <Notice>{done === 'on' ? t.security.factorOn : t.security.newCodes}</Notice>
        )}
        <p>{t.security.codesWhat}</p>
        <ul class="codes" id="backup-codes">
          {(JSON.parse(kept) as string[]).map((code) => (
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
