import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { ErrorSummary, Form, type FormState } from '../parts.js'
import { problemFrom } from '../problem.js'

const PATH = '/admin/first'

/** `/admin/first`: the link with which the first administrator is made. */
export function addFirstAdministrator(routes: PageRoutes): void {
  routes.formPage({
    path: PATH,
    access: 'session',
    comeBackTo: (page) => page.request.url,
    show: showFirstAdministrator,
    async submit(page) {
      const answer = await page.api.post('/api/auth/admin/become-first-administrator', {
        token: page.query('token') ?? ''
      })
      if (answer.code === 'reauthentication_required') return page.confirmFirst(page.request.url)
      if (answer.code === 'invalid_token' || answer.code === 'invalid_input')
        return page.show({
          title: page.t.firstAdministrator.expired,
          status: 400,
          hasError: true,
          children: <p>{page.t.firstAdministrator.expiredMore}</p>
        })
      if (answer.status !== 200) return problemFrom(answer, page.t)
      return page.go('/admin/users')
    }
  })
}

function showFirstAdministrator(page: Page, state: FormState): void {
  const { t, me } = page
  page.show({
    title: t.firstAdministrator.title,
    status: state.problem?.status ?? 200,
    hasError: state.problem !== null,
    children: (
      <>
        <ErrorSummary state={state} />
        <p>{t.firstAdministrator.what({ email: me?.user.email ?? '' })}</p>
        <Form action={page.path(PATH, { token: page.query('token') })}>
          <button type="submit">{t.firstAdministrator.submit}</button>
        </Form>
      </>
    )
  })
}
