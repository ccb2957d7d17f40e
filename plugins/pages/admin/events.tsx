import { accountEventKinds } from '../../../src/account/account-event.js'
import { AccountEventList, type AccountEventPage } from '../events.js'
import type { PageRoutes } from '../forms.js'
import type { Page } from '../page.js'
import { NextPage } from '../parts.js'

/** `/admin/events`: what happened to everybody, newest first. */
export function addEvents(routes: PageRoutes): void {
  routes.page('/admin/events', 'administrator', showEvents)
}

async function showEvents(page: Page): Promise<void> {
  const { t } = page
  const kind = accountEventKinds.find((each) => each === page.query('kind'))
  const after = page.query('after')
  const { events, next } = await page.api.read<AccountEventPage>('/api/auth/admin/list-events', {
    limit: '50',
    kind,
    after
  })
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
