import { usePage, type Page } from './page.js'
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
import { problemFrom, type Problem } from './problem.js'
import { Avatar } from './avatar.js'
import { isLanguage, languages } from '../../src/language.js'

/** `/account`, `/account/delete`, and the way back from an impersonation. */
export function addAccount(routes: PageRoutes): void {
  routes.formPage({
    path: '/account',
    access: 'session',
    show: showAccount,
    async submit(page, fields) {
      const language = fields('language')
      if (isLanguage(language)) page.keepLanguage(language)
      const image = fields('image').trim()
      const wrong = findImageFault(image, page)
      if (wrong) return wrong
      const answer = await page.api.post('/api/auth/update-user', {
        name: fields('name'),
        image: image === '' ? null : image,
        ...(isLanguage(language) ? { language } : {})
      })
      if (answer.status !== 200) return problemFrom(answer, page.t)
      return page.go('/account', { done: 'profile' })
    }
  })

  routes.form({
    path: '/account/stop-impersonating',
    access: 'session',
    comeBackTo: (page) => page.path('/account'),
    show: showAccount,
    async submit(page) {
      const answer = await page.api.post('/api/auth/admin/stop-impersonating')
      return answer.status === 200 ? page.go('/account') : problemFrom(answer, page.t)
    }
  })

  routes.formPage({
    path: '/account/delete',
    access: 'session',
    show: showDelete,
    async submit(page, fields) {
      const answer = await page.api.post('/api/auth/delete-user', { password: fields('password') })
      if (answer.status !== 200)
        return problemFrom(answer, page.t, { invalid_password: 'password' })
      page.me = null
      return page.show({
        title: page.t.remove.done,
        children: <p>{page.t.remove.doneMore}</p>
      })
    }
  })
}

/** Only an address that a browser fetches by http. Others could carry script or data. */
function findImageFault(image: string, { t }: Page): Problem | null {
  if (image === '') return null
  const url = URL.canParse(image) ? new URL(image) : null
  return url && /^https?:$/.test(url.protocol)
    ? null
    : { status: 400, message: t.wrongFields, fields: { image: t.account.imageWrong } }
}

function showAccount(page: Page, state: FormState): void {
  const { t, me } = page
  if (!me) return
  const { user } = me
  page.show({
    title: t.account.title,
    problem: state.problem,
    children: (
      <>
        <Done />
        {me.session.act ? (
          <Notice>
            <p>{t.account.impersonated}</p>
            <ButtonForm
              action={page.path('/account/stop-impersonating')}
              label={t.account.stopImpersonating}
            />
          </Notice>
        ) : null}
        {user.emailVerified || me.session.act || !page.settings.hasMail ? null : <Unverified />}
        <ErrorSummary state={state} />
        <p class="person">
          <Avatar user={user} />
          <span>
            <strong>
              <bdi>{user.name}</bdi>
            </strong>
            <br />
            {user.email}
          </span>
        </p>
        {page.settings.hasMail ? (
          <p>
            <a href={page.path('/account/email')}>{t.mail.changeEmail.begin}</a>
          </p>
        ) : null}
        <Form action={page.path('/account')}>
          <Field
            name="name"
            label={t.fields.name}
            autocomplete="name"
            state={state}
            value={user.name}
            maxlength={256}
          />
          <Field
            name="image"
            label={t.account.image}
            hint={t.account.imageHint}
            type="url"
            inputmode="url"
            state={state}
            value={user.image ?? ''}
            required={false}
            maxlength={2048}
          />
          <div class="field">
            <label for="language">{t.account.language}</label>
            <select id="language" name="language">
              {languages.map(({ code, name }) => (
                <option value={code} lang={code} selected={code === page.language}>
                  {name}
                </option>
              ))}
            </select>
          </div>
          <button type="submit">{t.save}</button>
        </Form>
        <section aria-labelledby="delete">
          <h2 id="delete">{t.remove.title}</h2>
          <p>{t.remove.what}</p>
          <p>
            <a href={page.path('/account/delete')}>{t.remove.begin}</a>
          </p>
        </section>
      </>
    )
  })
}

/** What was just done. */
function Done() {
  const page = usePage()
  const { t } = page
  const done = page.notice([
    'profile',
    'reset',
    'email_changed',
    ...(page.me?.user.emailVerified ? (['verified'] as const) : [])
  ])
  if (done === undefined) return null
  return <Notice>{done === 'profile' ? t.account.saved : t.mail.accountDone[done]}</Notice>
}

/** That the address is not proven yet, and how to prove it. */
function Unverified() {
  const page = usePage()
  const { t } = page
  return (
    <Notice>
      <p>{t.mail.verify.banner}</p>
      <p>
        <a href={page.path('/verify-email')}>{t.mail.verify.enterCode}</a>
      </p>
      <ButtonForm action={page.path('/verify-email/send')} label={t.mail.sendAgain} />
    </Notice>
  )
}

function showDelete(page: Page, state: FormState): void {
  const { t } = page
  page.show({
    title: t.remove.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.remove.what}</p>
        <p>{t.remove.final}</p>
        <Form action={page.path('/account/delete')}>
          <CurrentPassword state={state} isFirst />
          <button type="submit" class="danger">
            {t.remove.submit}
          </button>
        </Form>
        <p>
          <a href={page.path('/account')}>{t.cancel}</a>
        </p>
      </>
    )
  })
}
