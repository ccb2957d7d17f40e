import { accountEventKinds } from '../../../src/account/account-event.js'
import { AccountEventList, type AccountEventShown } from '../events.js'
import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { NextPage } from '../parts.js'
import { RefusedPage } from '../refused-page.js'
import { requireAdministrator } from './administrator.js'

/** `/admin/events`: what happened to everybody, newest first. */
export function addEvents(routes: PageRoutes): void {
  routes.page('/admin/events', 'recent', showEvents)
}

async function showEvents(page: Page): Promise<void> {
  requireAdministrator(page)
  const { t } = page
  const kind = accountEventKinds.find((each) => each === page.query('kind'))
  const after = page.query('after')
  const answer = await page.api.get<{ events: AccountEventShown[]; next: string | null }>(
    '/api/auth/admin/list-events',
    {
      limit: '50',
      ...(kind === undefined ? {} : { kind }),
      ...(after === undefined ? {} : { after })
    }
  )
  if (answer.status !== 200) throw new RefusedPage(answer)
  const { events, next } = answer.body
  page.show({
    title: t.admin.eventsTitle,
    children: (
      <>
        <form method="get" action={page.path('/admin/events')} class="search">
          <div class="field">
            <label for="kind">{t.admin.kind}</label>
            <select id="kind" name="kind">
              <option value="">{t.admin.allKinds}</option>
              {accountEventKinds.map((each) => (
                <option value={each} selected={each === kind}>
                  {t.accountEvents[each]}
                </option>
              ))}
            </select>
          </div>
          <button type="submit">{t.admin.show}</button>
        </form>
        <AccountEventList
          events={events}
          linkTo={(userId) => page.path(`/admin/users/${encodeURIComponent(userId)}`)}
        />
        <NextPage next={next} />
      </>
    )
  })
}
