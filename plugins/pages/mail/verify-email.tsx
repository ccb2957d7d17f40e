import { emptyForm, ErrorSummary, Field, Form, UsernameOf, type FormState } from '../parts.js'
import type { Fields, PageRoutes } from '../forms.js'
import { usePage, type Page } from '../page.js'
import { problemFrom, type FieldCodes, type Problem } from '../problem.js'
import type { ComponentChildren } from 'preact'
import type { ApiAnswer } from '../api-client.js'
import { askedIn, forgetAsked, keepAsked, returnQueryOf } from './asked.js'
import { goOnWithChange } from './change-email.js'
import {
  addLinkPage,
  forgetLink,
  goToCode,
  isDead,
  LinkForm,
  showDeadLink,
  type Link,
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

const PATH = '/verify-email'
const SEND = `${PATH}/send`
/** The field that says in which of the two ways an address is proven in another browser. */
const WAY = 'way'

const wrong: FieldCodes = {
  ...wrongMailCode,
  ...wrongNewPassword('new_password'),
  invalid_password: 'password'
}

/** `/verify-email`: proves the address of an account, by link or by code. */
export function addVerifyEmail(routes: PageRoutes): void {
  addLinkPage(routes, verifyPage)
  routes.form({
    path: SEND,
    access: 'anyone',
    comeBackTo: (page) => page.path(PATH, page.returnQuery),
    show: showAsk,
    async submit(page, fields) {
      const email = page.me?.user.email ?? fields('email').trim()
      const answer = await page.api.post('/api/auth/send-verification-email', { email })
      if (answer.code === 'email_already_verified') return page.go('/account', { done: 'verified' })
      if (answer.status !== 200) return problemFrom(answer, page.t, { invalid_email: 'email' })
      return goToCode(page, PATH, 'verify', email)
    }
  })
}

/** Leads to the page on which the code of the mail is entered that a sign-up has sent. */
export function goToCheckMail(page: Page, email: string): void {
  forgetLink(page, PATH)
  keepAsked(page, 'verify', email)
  page.go(PATH, page.returnQuery)
}

const verifyPage: LinkPage = {
  path: PATH,
  purposes: ['verify', 'sign-up', 'change-confirm', 'change-verify'],
  showLink(page, link, state) {
    if (link.needsPassword) return showWays(page, { state, link })
    const { t } = page
    const { purpose, email, account, newEmail } = link
    const isChange = purpose === 'change-confirm' || purpose === 'change-verify'
    const question =
      purpose === 'change-confirm'
        ? t.mail.changeEmail.confirm({ email: account ?? email, newEmail: newEmail ?? '' })
        : purpose === 'change-verify'
          ? t.mail.changeEmail.verify({ newEmail: email })
          : t.mail.verify.what({ email })
    page.show({
      title: isChange ? t.mail.changeEmail.title : t.mail.verify.title,
      problem: state.problem,
      children: (
        <>
          <ErrorSummary state={state} />
          <AskedFacts link={link} />
          <p>{question}</p>
          <LinkForm action={page.path(PATH, page.returnQuery)} link={link}>
            <button type="submit">
              {isChange ? t.mail.changeEmail.confirmSubmit : t.mail.verify.submit}
            </button>
          </LinkForm>
        </>
      )
    })
  },
  async submitLink(page, link, fields) {
    const { token, purpose } = link
    const answer = await page.api.post('/api/auth/verify-email', {
      token,
      ...passwordsFrom(fields)
    })
    if (isDead(answer)) return showDeadLink(page, verifyPage)
    if (answer.status !== 200) return problemFrom(answer, page.t, wrong)
    forgetLink(page, PATH)
    if (purpose === 'change-confirm') {
      if (page.me) return goOnWithChange(page, link.newEmail ?? '')
      return page.go(PATH, { done: 'confirmed' })
    }
    return leave(page, purpose === 'change-verify' ? 'email_changed' : 'verified')
  },
  next: (page) => (
    <p>
      <a class="button" href={page.path(PATH, { with: 'other', ...page.returnQuery })}>
        {page.t.mail.verify.again}
      </a>
    </p>
  ),
  show: showWithout,
  async submit(page, fields) {
    const email = addressOf(page)
    if (email === null) return page.go(PATH, page.returnQuery)
    const answer = await page.api.post('/api/auth/email-otp/verify-email', {
      email,
      otp: codeFrom(fields),
      ...passwordsFrom(fields)
    })
    if (answer.status === 200) return leave(page, 'verified')
    return problemOf(page, answer, fields)
  }
}

/** The two ways stay on the page until one of them was right. */
function problemOf(page: Page, answer: ApiAnswer<object>, fields: Fields): Problem {
  const problem = problemFrom(answer, page.t, wrong)
  return fields(WAY) === '' ? problem : { ...problem, code: 'password_needed' }
}

/** The password of one of the two ways. The other one's field is not sent. */
function passwordsFrom(fields: Fields): { password?: string; newPassword?: string } {
  const way = fields(WAY)
  if (way === 'known') return { password: fields('password') }
  return way === 'new' ? { newPassword: fields('new_password') } : {}
}

async function leave(page: Page, done: 'verified' | 'email_changed'): Promise<void> {
  const back = returnQueryOf(page, 'verify')
  forgetAsked(page, 'verify')
  // The first proof by another browser ends all sessions.
  if ((await page.findSession()).status === 200) return page.go('/account', { done })
  return page.go('/sign-in', { done, ...back })
}

/** The address whose code is asked for: that of the account, or the one that was asked for here. */
function addressOf(page: Page): string | null {
  return page.me?.user.email ?? askedIn(page, 'verify')?.email ?? null
}

function showWithout(page: Page, state: FormState): void {
  const { t, me } = page
  if (page.notice(['confirmed']))
    return page.show({
      title: t.mail.changeEmail.checkNew,
      children: (
        <>
          <p>{t.mail.changeEmail.confirmed}</p>
          <p>
            <a href={page.path('/account')}>{t.mail.changeEmail.toAccount}</a>
          </p>
        </>
      )
    })
  if (me?.user.emailVerified) return page.go('/account', { done: 'verified' })
  const asked = askedIn(page, 'verify')
  const email = me?.user.email ?? asked?.email
  if (email === undefined || asked?.email !== email || page.query('with') === 'other')
    return showAsk(page, state)
  if (state.problem?.code === 'password_needed') return showWays(page, { state, email })
  page.show({
    title: t.mail.checkMail,
    problem: state.problem,
    children: (
      <>
        <SentAgain />
        <ErrorSummary state={state} />
        <p>{t.mail.verify.sent({ email })}</p>
        <Form action={page.path(PATH, page.returnQuery)}>
          <MailCodeField state={state} />
          <button type="submit">{t.mail.verify.submit}</button>
        </Form>
        <NoMail
          again={page.path(SEND, page.returnQuery)}
          email={email}
          other={me ? null : page.path(PATH, { with: 'other', ...page.returnQuery })}
        />
        {me ? null : (
          <p>
            <a href={page.path('/sign-in', page.returnQuery)}>{t.mail.verify.toSignIn}</a>
          </p>
        )}
      </>
    )
  })
}

/** Asks for the mail: for the account that is signed in, or for an address that is typed. */
function showAsk(page: Page, state: FormState): void {
  const { t, me } = page
  page.show({
    title: t.mail.verify.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        {me ? (
          <p>
            {t.mail.verify.what({ email: me.user.email })} {t.mail.verify.unverified}
          </p>
        ) : (
          <p>{t.mail.verify.ask}</p>
        )}
        <Form action={page.path(SEND, page.returnQuery)}>
          {me ? null : <EmailField state={state} value={askedIn(page, 'verify')?.email} />}
          <button type="submit">{t.mail.forgot.submit}</button>
        </Form>
        <p>
          <a href={page.path(me ? '/account' : '/sign-in', me ? {} : page.returnQuery)}>
            {me ? t.mail.changeEmail.toAccount : t.mail.verify.toSignIn}
          </a>
        </p>
      </>
    )
  })
}

/**
 * The address is proven in another browser than the one that signed up. Its owner knows the
 * password of the sign-up, or sets a new one, which ends everything older.
 */
function showWays(
  page: Page,
  about: { state: FormState } & ({ link: Link } | { email: string })
): void {
  const { t } = page
  const { state } = about
  const email = 'link' in about ? about.link.email : about.email
  const way = state.values[WAY] ?? ''
  const stateOf = (form: string): FormState => ({
    ...(way === form ? state : emptyForm),
    form: `${form}-`
  })
  page.show({
    title: t.mail.verify.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={way === '' ? state : stateOf(way)} />
        {'link' in about ? <AskedFacts link={about.link} /> : null}
        <p>
          {t.mail.verify.what({ email })} {t.mail.verify.ways}
        </p>
        <section aria-labelledby="known-title">
          <h2 id="known-title">{t.mail.verify.known}</h2>
          <p>{t.mail.verify.knownWhat}</p>
          <WayForm about={about} way="known">
            <UsernameOf email={email} />
            {'link' in about ? null : <MailCodeField state={stateOf('known')} isFirst={false} />}
            <Field
              name="password"
              label={t.mail.verify.knownPassword}
              type="password"
              autocomplete="current-password"
              state={stateOf('known')}
            />
            <button type="submit">{t.mail.verify.submit}</button>
          </WayForm>
        </section>
        <section aria-labelledby="new-title">
          <h2 id="new-title">{t.mail.verify.new}</h2>
          <p>{t.mail.verify.newWhat}</p>
          <WayForm about={about} way="new">
            <UsernameOf email={email} />
            {'link' in about ? null : <MailCodeField state={stateOf('new')} isFirst={false} />}
            <NewPasswordField name="new_password" state={stateOf('new')} />
            <button type="submit">{t.mail.reset.submit}</button>
          </WayForm>
        </section>
      </>
    )
  })
}

function WayForm({
  about,
  way,
  children
}: {
  about: { link: Link } | { email: string }
  way: 'known' | 'new'
  children: ComponentChildren
}) {
  const page = usePage()
  const action = page.path(PATH, page.returnQuery)
  const inner = (
    <>
      <input type="hidden" name={WAY} value={way} />
      {children}
    </>
  )
  return 'link' in about ? (
    <LinkForm action={action} link={about.link}>
      {inner}
    </LinkForm>
  ) : (
    <Form action={action}>{inner}</Form>
  )
}
