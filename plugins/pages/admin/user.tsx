import { Avatar } from '../avatar.js'
import {
  AccountEventList,
  SessionEventList,
  type AccountEventPage,
  type SessionEventPage
} from '../events.js'
import type { PageRoutes } from '../forms.js'
import { usePage, type Page } from '../page.js'
import {
  ButtonForm,
  emptyForm,
  ErrorSummary,
  Field,
  Form,
  NextPage,
  Notice,
  Time,
  type FormState
} from '../parts.js'
import { problemFrom } from '../problem.js'
import { nothingThere, RefusedPage } from '../refused-page.js'
import { SessionCard, sessionName, type SessionPage } from '../sessions.js'
import { changes } from './user-changes.js'
import { rolesOf, type UserShown } from './users.js'

const PATH = '/admin/users/:id'

/** The id of the user in the address, as one part of a path. */
function encodedId({ request }: Page): string {
  return encodeURIComponent((request.params as { id: string }).id)
}

const comeBackTo = (page: Page) => page.path(`/admin/users/${encodedId(page)}`)

/** `/admin/users/:id` and `/admin/users/:id/sessions/:session`. */
export function addUser(routes: PageRoutes): void {
  routes.page(PATH, 'administrator', (page) => showUser(page, emptyForm))
  routes.page(`${PATH}/sessions/:session`, 'administrator', showSession)
  for (const { name, change, fields: about, mails } of changes) {
    if (mails && !routes.hasMail) continue
    routes.form({
      path: `${PATH}/${name}`,
      access: 'administrator',
      comeBackTo,
      show: (page, state) => showUser(page, { ...state, form: `${name}-` }),
      async submit(page, fields) {
        const userId = (page.request.params as { id: string }).id
        const answer = await change(page, fields, userId)
        if ('message' in answer) return answer
        if (answer.status !== 200) return problemFrom(answer, page.t, about)
        return page.go(`/admin/users/${encodedId(page)}`, {
          done: answer.effectiveBy === null ? name : 'pending'
        })
      }
    })
  }
  routes.form({
    path: `${PATH}/erase`,
    access: 'administrator',
    comeBackTo,
    show: (page, state) => showUser(page, { ...state, form: 'erase-' }),
    async submit(page, fields) {
      const userId = (page.request.params as { id: string }).id
      const user = await findUser(page)
      if (user && fields('email').trim().toLowerCase() !== user.email)
        return {
          status: 400,
          message: page.t.wrongFields,
          fields: { email: page.t.admin.eraseWrong }
        }
      const answer = await page.api.post<{ erased?: boolean }>('/api/auth/admin/erase-user', {
        userId
      })
      if (answer.status !== 200) return problemFrom(answer, page.t)
      const { t } = page
      return page.show({
        title: answer.body.erased ? t.admin.erased : t.admin.erasing,
        children: (
          <p>
            <a href={page.path('/admin/users')}>{t.admin.users}</a>
          </p>
        )
      })
    }
  })
}

/** The user in the address. Null where they are gone. */
async function findUser(page: Page): Promise<UserShown | null> {
  const { id } = page.request.params as { id: string }
  const answer = await page.api.get<UserShown>('/api/auth/admin/get-user', { id })
  if (answer.status === 404) return null
  if (answer.status !== 200) throw new RefusedPage(answer)
  return answer.body
}

async function showUser(page: Page, sent: FormState): Promise<void> {
  const { t } = page
  const { id: userId } = page.request.params as { id: string }
  const after = page.query('after')
  const eventsAfter = page.query('events_after')
  const [user, { sessions, next }, { events, next: moreEvents }] = await Promise.all([
    findUser(page),
    page.api.read<SessionPage>('/api/auth/admin/list-user-session-history', {
      userId,
      limit: '20',
      after
    }),
    page.api.read<AccountEventPage>('/api/auth/admin/list-user-events', {
      userId,
      limit: '20',
      after: eventsAfter
    })
  ])
  if (!user && sessions.length === 0 && events.length === 0) throw nothingThere()
  const path = `/admin/users/${encodedId(page)}`
  const stateOf = (form: string): FormState => (sent.form === form ? sent : { ...emptyForm, form })
  page.show({
    title: user?.email ?? userId,
    problem: sent.problem,
    children: (
      <>
        <Done />
        <ErrorSummary state={sent} />
        {user ? <Facts user={user} /> : <Notice>{t.admin.gone}</Notice>}
        <section aria-labelledby="sessions">
          <h2 id="sessions">{t.admin.sessions}</h2>
          <ul class="cards">
            {sessions.map((session) => (
              <SessionCard session={session} details={page.path(`${path}/sessions/${session.id}`)}>
                {session.state === 'active' ? (
                  <ButtonForm
                    action={page.path(`${path}/end-session`)}
                    fields={{ session: session.id }}
                    label={t.admin.endSession}
                    described={sessionName(session, t)}
                  />
                ) : null}
              </SessionCard>
            ))}
          </ul>
          <NextPage next={next} />
          {user ? (
            <ButtonForm
              action={page.path(`${path}/end-sessions`)}
              label={t.admin.endSessions}
              danger
            />
          ) : null}
        </section>
        <section aria-labelledby="events">
          <h2 id="events">{t.admin.events}</h2>
          <AccountEventList events={events} />
          <NextPage next={moreEvents} parameter="events_after" />
        </section>
        {user ? (
          <>
            <section aria-labelledby="roles-title">
              <h2 id="roles-title">{t.admin.roles}</h2>
              <Form action={page.path(`${path}/roles`)}>
                <Field
                  name="roles"
                  label={t.admin.roles}
                  hint={t.admin.rolesHint}
                  state={stateOf('roles-')}
                  value={rolesOf(user).join(', ')}
                  required={false}
                  autocomplete="off"
                />
                <button type="submit">{t.admin.saveRoles}</button>
              </Form>
            </section>
            {page.settings.hasMail ? (
              <section aria-labelledby="password-title">
                <h2 id="password-title">{t.fields.password}</h2>
                <p>{t.admin.sendPasswordWhat}</p>
                <ButtonForm
                  action={page.path(`${path}/send-password`)}
                  label={t.admin.sendPassword}
                />
              </section>
            ) : null}
            <Block user={user} path={path} state={stateOf('ban-')} />
          </>
        ) : null}
        <section aria-labelledby="erase">
          <h2 id="erase">{t.admin.erase}</h2>
          <p>{t.admin.eraseWhat}</p>
          <Form action={page.path(`${path}/erase`)}>
            {user ? (
              <Field
                name="email"
                label={t.admin.eraseConfirm}
                type="email"
                autocomplete="off"
                state={stateOf('erase-')}
              />
            ) : null}
            <button type="submit" class="danger">
              {t.admin.erase}
            </button>
          </Form>
        </section>
      </>
    )
  })
}

/** What was just done. */
function Done() {
  const page = usePage()
  const { t } = page
  const done = page.notice(['pending', ...changes.map(({ name }) => name)])
  if (done === undefined) return null
  const change = changes.find(({ name }) => name === done)
  return <Notice>{change ? t.admin[change.notice] : t.pending}</Notice>
}

/** What happened to one session of the user. */
async function showSession(page: Page): Promise<void> {
  const { t } = page
  const { session } = page.request.params as { session: string }
  const { events, next } = await page.api.read<SessionEventPage>(
    '/api/auth/admin/list-session-events',
    {
      sessionId: session,
      limit: '50',
      after: page.query('after')
    }
  )
  page.show({
    title: t.sessions.events,
    children: (
      <>
        <p>
          {t.admin.id}: <code>{session}</code>
        </p>
        <SessionEventList events={events} />
        <NextPage next={next} />
        <p>
          <a href={page.path(`/admin/users/${encodedId(page)}`)}>{t.admin.backToUser}</a>
        </p>
      </>
    )
  })
}

/** Who the user is. */
function Facts({ user }: { user: UserShown }) {
  const { t } = usePage()
  return (
    <>
      <p class="person">
        <Avatar user={user} />
        <span>
          <strong>
            <bdi>{user.name}</bdi>
          </strong>
          <br />
          {user.email} ({user.emailVerified ? t.admin.verified : t.admin.notVerified})
        </span>
      </p>
      <dl>
        <dt>{t.admin.id}</dt>
        <dd>
          <code>{user.id}</code>
        </dd>
        <dt>{t.admin.created}</dt>
        <dd>
          <Time at={user.createdAt} />
        </dd>
        <dt>{t.admin.factor}</dt>
        <dd>{user.twoFactorEnabled ? t.admin.on : t.admin.off}</dd>
      </dl>
    </>
  )
}

/** The form that blocks the account, or the block and its end. */
function Block({ user, path, state }: { user: UserShown; path: string; state: FormState }) {
  const page = usePage()
  const { t } = page
  if (user.banned)
    return (
      <section aria-labelledby="ban-title">
        <h2 id="ban-title">{t.admin.isBanned}</h2>
        <dl>
          {user.banReason === null ? null : (
            <>
              <dt>{t.admin.banReason}</dt>
              <dd>{user.banReason}</dd>
            </>
          )}
          {user.banExpires === null ? null : (
            <>
              <dt>{t.admin.isBannedUntil}</dt>
              <dd>
                <Time at={user.banExpires} />
              </dd>
            </>
          )}
        </dl>
        <ButtonForm action={page.path(`${path}/unban`)} label={t.admin.unban} />
      </section>
    )
  return (
    <section aria-labelledby="ban-title">
      <h2 id="ban-title">{t.admin.banTitle}</h2>
      <p>{t.admin.banWhat}</p>
      <Form action={page.path(`${path}/ban`)}>
        <Field
          name="reason"
          label={t.admin.banReason}
          hint={t.admin.banReasonHint}
          state={state}
          required={false}
          maxlength={1024}
          autocomplete="off"
        />
        <Field
          name="until"
          label={t.admin.banUntil}
          hint={t.admin.banUntilHint}
          type="datetime-local"
          state={state}
          required={false}
        />
        <button type="submit" class="danger">
          {t.admin.ban}
        </button>
      </Form>
    </section>
  )
}
