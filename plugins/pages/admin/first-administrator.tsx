import { FIRST_ADMINISTRATOR_MINUTES } from '../../../src/auth/first-administrator.js'
import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { emptyForm, ErrorSummary, Form, type FormState } from '../parts.js'
import { problemFrom } from '../problem.js'

const PATH = '/admin/first'
/** The cookie to which the token moves from the address, which logs and histories keep. */
const TOKEN = 'holdfast.first'

/** `/admin/first`: the link with which the first administrator is made. */
export function addFirstAdministrator(routes: PageRoutes): void {
  routes.page(PATH, 'visitor', async (page) => {
    const token = page.query('token')
    if (token !== undefined) {
      page.keep(TOKEN, token.slice(0, 128), FIRST_ADMINISTRATOR_MINUTES * 60)
      return page.go(PATH)
    }
    if (await page.requireSession()) showFirstAdministrator(page, emptyForm)
  })
  routes.form({
    path: PATH,
    access: 'session',
    show: showFirstAdministrator,
    async submit(page) {
      const answer = await page.api.post('/api/auth/admin/become-first-administrator', {
        token: page.kept(TOKEN) ?? ''
      })
      if (answer.status === 400) return showExpired(page)
      if (answer.status !== 200) return problemFrom(answer, page.t)
      page.forget(TOKEN)
      return page.go('/admin/users')
    }
  })
}

function showExpired(page: Page): void {
  const { t } = page
  page.forget(TOKEN)
  page.show({
    title: t.firstAdministrator.expired,
    status: 400,
    hasError: true,
    children: <p>{t.firstAdministrator.expiredMore}</p>
  })
}

function showFirstAdministrator(page: Page, state: FormState): void {
  const { t, me } = page
  if (page.kept(TOKEN) === null) return showExpired(page)
  page.show({
    title: t.firstAdministrator.title,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.firstAdministrator.what({ email: me?.user.email ?? '' })}</p>
        <Form action={page.path(PATH)}>
          <button type="submit">{t.firstAdministrator.submit}</button>
        </Form>
      </>
    )
  })
}
