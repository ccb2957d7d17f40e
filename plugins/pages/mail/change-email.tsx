import type { ApiAnswer } from '../api-client.js'
import type { Fields, PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { ErrorSummary, Field, Form, type FormState } from '../parts.js'
import { problemFrom, type Problem } from '../problem.js'
import { codeFrom, MailCodeField, wrongMailCode } from './mail-parts.js'

const PATH = '/account/email'
const OLD = `${PATH}/old`
const NEW = `${PATH}/new`
const CHANGE = 'holdfast.new-email'
/** As long as the mails count, in seconds. */
const KEPT_SECONDS = 7_200

/** A change of address that was begun in this browser. */
interface EmailChange {
  newEmail: string
  /** Whose mailbox is asked. */
  step: 'old' | 'new'
}

/** `/account/email`: changes the address, with a mail to the old one and one to the new one. */
export function addChangeEmail(routes: PageRoutes): void {
  routes.formPage({
    path: PATH,
    access: 'session',
    show: showChange,
    async submit(page, fields) {
      const newEmail = fields('new_email').trim()
      const answer = await postChange(page, newEmail)
      if (answer.status !== 200)
        return problemFrom(answer, page.t, {
          invalid_email: 'new_email',
          email_is_the_same: 'new_email'
        })
      // An old address that was never proven is not asked.
      return keepStep(page, { newEmail, step: page.me?.user.emailVerified ? 'old' : 'new' })
    }
  })
  codeForm(routes, OLD, async (page, { newEmail }, fields) => {
    const answer = await postChange(page, newEmail, codeFrom(fields))
    if (answer.status !== 200) return problemFrom(answer, page.t, wrongMailCode)
    return keepStep(page, { newEmail, step: 'new' })
  })
  codeForm(routes, NEW, async (page, { newEmail }, fields) => {
    const answer = await page.api.post('/api/auth/email-otp/change-email', {
      newEmail,
      otp: codeFrom(fields)
    })
    if (answer.status !== 200) return problemFrom(answer, page.t, wrongMailCode)
    page.forget(CHANGE)
    return page.go('/account', { done: 'email_changed' })
  })
}

/** Goes on after the link of the old address was confirmed: the new one has a mail. */
export function goOnWithChange(page: Page, newEmail: string): void {
  keepStep(page, { newEmail, step: 'new' })
}

function codeForm(
  routes: PageRoutes,
  path: string,
  submit: (page: Page, change: EmailChange, fields: Fields) => Promise<Problem | void>
): void {
  routes.form({
    path,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: showChange,
    async submit(page, fields) {
      const change = changeIn(page)
      return change ? submit(page, change, fields) : page.go(PATH)
    }
  })
}

function postChange(page: Page, newEmail: string, otp?: string): Promise<ApiAnswer<object>> {
  return page.api.post('/api/auth/email-otp/request-email-change', {
    newEmail,
    ...(otp === undefined ? {} : { otp })
  })
}

function keepStep(page: Page, change: EmailChange): void {
  page.keep(CHANGE, JSON.stringify(change), KEPT_SECONDS)
  page.go(PATH)
}

function changeIn(page: Page): EmailChange | null {
  const kept = page.kept(CHANGE)
  return kept === null ? null : (JSON.parse(kept) as EmailChange)
}

function showChange(page: Page, state: FormState): void {
  const change = changeIn(page)
  const wanted = page.query('step')
  if (!change || wanted === 'begin' || state.problem?.fields?.['new_email'] !== undefined)
    return showBegin(page, state)
  return showStep(page, { ...change, ...(wanted === 'new' ? { step: 'new' } : {}) }, state)
}

function showBegin(page: Page, state: FormState): void {
  const { t, me } = page
  page.show({
    title: t.mail.changeEmail.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.mail.changeEmail.current({ email: me?.user.email ?? '' })}</p>
        <Form action={page.path(PATH)}>
          <Field
            name="new_email"
            label={t.mail.changeEmail.newEmail}
            type="email"
            autocomplete="email"
            inputmode="email"
            state={state}
            isFirst
          />
          <button type="submit">{t.mail.changeEmail.submit}</button>
        </Form>
        <p>
          <a href={page.path('/account')}>{t.cancel}</a>
        </p>
      </>
    )
  })
}

/** Asks for the code of the mail at the old address, or at the new one. */
function showStep(page: Page, { newEmail, step }: EmailChange, state: FormState): void {
  const { t, me } = page
  const words = t.mail.changeEmail
  const isOld = step === 'old'
  page.show({
    title: isOld ? words.checkOld : words.checkNew,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>
          {isOld
            ? words.sentOld({ email: me?.user.email ?? '', newEmail })
            : words.sentNew({ newEmail })}
        </p>
        <Form action={page.path(isOld ? OLD : NEW)}>
          <MailCodeField state={state} />
          <button type="submit">{words.submit}</button>
        </Form>
        <p class="hint">{t.mail.notThere}</p>
        {isOld ? (
          <p>
            <a href={page.path(PATH, { step: 'new' })}>{words.usedLink}</a>
          </p>
        ) : null}
        <p>
          <a href={page.path(PATH, { step: 'begin' })}>{words.again}</a>
        </p>
        <p>
          <a href={page.path('/account')}>{t.cancel}</a>
        </p>
      </>
    )
  })
}
