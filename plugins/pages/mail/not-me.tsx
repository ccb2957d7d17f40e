import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { ErrorSummary } from '../parts.js'
import { problemFrom } from '../problem.js'
import { addLinkPage, forgetLink, isDead, LinkForm, showDeadLink, type LinkPage } from './link.js'

const PATH = '/not-me'

/** `/not-me`: what somebody does who is told by mail of something that they have not done. */
export function addNotMe(routes: PageRoutes): void {
  addLinkPage(routes, notMePage)
}

const notMePage: LinkPage = {
  path: PATH,
  purposes: ['not-me'],
  showLink(page, link, state) {
    const { t } = page
    page.show({
      title: t.mail.notMe.title,
      problem: state.problem,
      children: (
        <>
          <ErrorSummary state={state} />
          <p>{t.mail.notMe.what({ email: link.account ?? link.email })}</p>
          <LinkForm action={page.path(PATH)} link={link}>
            <button type="submit" class="danger">
              {t.mail.notMe.submit}
            </button>
          </LinkForm>
          <p>
            <a href={page.path('/account')}>{t.cancel}</a>
          </p>
        </>
      )
    })
  },
  async submitLink(page, { token }) {
    const answer = await page.api.post<{ resetMailed: boolean }>('/api/auth/not-me', { token })
    if (isDead(answer)) return showDeadLink(page, notMePage)
    if (answer.status !== 200) return problemFrom(answer, page.t)
    forgetLink(page, PATH)
    return page.go(PATH, { done: answer.body.resetMailed ? 'mailed' : 'ended' })
  },
  next: (page) => <ToNewPassword page={page} more={page.t.mail.notMe.deadMore} />,
  show: showDone,
  submit: async (page) => showDone(page)
}

/** What was done. Without a link there is nothing to do here. */
function showDone(page: Page): void {
  const { t } = page
  const done = page.notice(['mailed', 'ended'])
  if (done === undefined) return showDeadLink(page, notMePage)
  page.show({
    title: t.mail.notMe.done,
    children: (
      <>
        <p>{t.mail.notMe.doneWhat}</p>
        {done === 'mailed' ? (
          <p>{t.mail.notMe.mailed}</p>
        ) : (
          <ToNewPassword page={page} more={t.mail.notMe.notMailed} />
        )}
      </>
    )
  })
}

function ToNewPassword({ page, more }: { page: Page; more: string }) {
  return (
    <>
      <p>{more}</p>
      <p>
        <a class="button" href={page.path('/forgot-password')}>
          {page.t.mail.reset.title}
        </a>
      </p>
    </>
  )
}
