import { accountEventKinds } from '../../../src/account/account-event.js'
import { AccountEventList, type AccountEventPage } from '../events.js'
import type { PageRoutes } from '../forms.js'
import { usePage, type Page } from '../page.js'
import { ErrorSummary, Field, NextPage, type FormState } from '../parts.js'
import type { FoundUsers } from './users.js'

const PATH = '/admin/events'

/** `/admin/events`: what happened to everybody or to one account, newest first. */
export function addEvents(routes: PageRoutes): void {
  routes.page(PATH, 'administrator', showEvents)
}

async function showEvents(page: Page): Promise<void> {
  const { t } = page
  const kind = accountEventKinds.find((each) => each === page.query('kind'))
  const account = (page.query('account') ?? '').trim().slice(0, 256)
  const user = account === '' ? null : await findAccount(page, account)
  const found = account !== '' && user === null ? null : await findEvents(page, kind, user?.id)
  const state: FormState = {
    values: { account },
    problem:
      found === null
        ? { status: 404, message: t.wrongFields, fields: { account: t.admin.none } }
        : null
  }
  page.show({
    title: t.admin.eventsTitle,
    problem: state.problem,
    children: (
      <>
        <ErrorSummary state={state} />
        <Filter kind={kind} state={state} />
        {user === null ? null : (
          <p>
            <a href={pathOf(page, user.id)}>{user.email ?? user.id}</a>
          </p>
        )}
        {found === null ? null : (
          <>
            <AccountEventList
              events={found.events}
              {...(user === null ? { linkTo: (userId: string) => pathOf(page, userId) } : {})}
            />
            <NextPage next={found.next} />
          </>
        )}
      </>
    )
  })
}

/** An account whose events are shown. Without an address it does not exist any more. */
interface Account {
  id: string
  email: string | null
}

/**
 * The account with an e-mail address or id. Null where there is none. The events of an account that
 * is gone are kept for a while, under its id.
 */
async function findAccount(page: Page, wanted: string): Promise<Account | null> {
  const { users } = await page.api.read<FoundUsers>('/api/auth/admin/find-users', {
    limit: '1',
    q: wanted
  })
  // Anything else has the text in its address or name.
  const user = users.find(({ id, email }) => id === wanted || email === wanted.toLowerCase())
  if (user) return user
  if (wanted.includes('@') || wanted.length > 64) return null
  const { events } = await page.api.read<AccountEventPage>('/api/auth/admin/list-user-events', {
    userId: wanted,
    limit: '1'
  })
  return events.length === 0 ? null : { id: wanted, email: null }
}

/** A page of events: of one user, or of everybody. */
function findEvents(
  page: Page,
  kind: string | undefined,
  userId: string | undefined
): Promise<AccountEventPage> {
  const which = { limit: '50', kind, after: page.query('after') }
  return userId === undefined
    ? page.api.read('/api/auth/admin/list-events', which)
    : page.api.read('/api/auth/admin/list-user-events', { userId, ...which })
}

function pathOf(page: Page, userId: string): string {
  return page.path(`/admin/users/${encodeURIComponent(userId)}`)
}

/** What is shown: one account or all, one kind or all. */
function Filter({ kind, state }: { kind: string | undefined; state: FormState }) {
  const page = usePage()
  const { t } = page
  return (
    <form method="get" action={page.path(PATH)} class="search">
      <Field
        name="account"
        label={t.admin.who}
        hint={t.admin.whoHint}
        state={state}
        required={false}
        maxlength={256}
        autocomplete="off"
      />
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
  )
}
