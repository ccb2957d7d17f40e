import {
  deviceInTexts,
  EventOrigin,
  endInWords,
  SessionEventList,
  type SessionEventPage
} from './events.js'
import type { PageRoutes } from './forms.js'
import { usePage, type Page } from './page.js'
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
} from './parts.js'
import { problemFrom } from './problem.js'
import { nothingThere } from './refused-page.js'
import type { Texts } from './texts/texts.js'
import { isUuid } from '../../src/uuid.js'

const PATH = '/account/sessions'

/** A session, as the API shows it, to its person and to administrators. */
export interface SessionShown {
  id: string
  issuedAt: string
  lastSeenAt: string
  expiresAt: string
  ipAddress: string | null
  userAgent: string | null
  name: string | null
  amr: string[]
  current?: boolean
  act?: { sub: string }
  impersonatedBy?: string | null
  state?: 'active' | 'expired' | 'revoked'
  endedAt?: string | null
  endedReason?: string | null
}

/** A page of sessions. */
export interface SessionPage {
  sessions: SessionShown[]
  next: string | null
}

/** `/account/sessions` and `/account/sessions/:id`. */
export function addSessions(routes: PageRoutes): void {
  routes.page(PATH, 'session', (page) => showSessions(page, emptyForm))
  routes.page(`${PATH}/:id`, 'session', (page) => showSession(page, emptyForm))

  routes.form({
    path: `${PATH}/end-others`,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: showSessions,
    async submit(page) {
      const answer = await page.api.delete('/sessions?except=current')
      if (answer.status !== 200 && answer.status !== 202) return problemFrom(answer, page.t)
      return page.go(PATH, { done: answer.status === 202 ? 'pending' : 'others' })
    }
  })

  routes.form({
    path: `${PATH}/:id/end`,
    access: 'session',
    comeBackTo: (page) => page.path(PATH),
    show: showSessions,
    async submit(page) {
      const answer = await page.api.delete(`/sessions/${idOf(page)}`)
      if (answer.status !== 200 && answer.status !== 202) return problemFrom(answer, page.t)
      if (idOf(page) === page.me?.session.id)
        return page.go('/sign-out', { done: answer.effectiveBy === null ? undefined : 'pending' })
      return page.go(PATH, { done: answer.status === 202 ? 'pending' : 'one' })
    }
  })

  routes.form({
    path: `${PATH}/:id/name`,
    access: 'session',
    comeBackTo: (page) => page.path(`${PATH}/${idOf(page)}`),
    show: showSession,
    async submit(page, fields) {
      const name = fields('name').trim()
      const answer = await page.api.patch(`/sessions/${idOf(page)}`, {
        name: name === '' ? null : name
      })
      if (answer.status !== 200 && answer.status !== 202)
        return problemFrom(answer, page.t, { invalid_input: 'name' })
      return page.go(`${PATH}/${idOf(page)}`, { done: 'name' })
    }
  })
}

/**
 * The id of the session in the address.
 *
 * @throws RefusedPage 404 where no session can have it
 */
function idOf({ request }: Page): string {
  const { id } = request.params as { id: string }
  if (!isUuid(id)) throw nothingThere()
  return id
}

async function showSessions(page: Page, state: FormState): Promise<void> {
  const { t } = page
  const after = page.query('after')
  const more = page.query('more')
  const [{ sessions: active, next: moreActive }, { sessions: ended, next }] = await Promise.all([
    page.api.read<SessionPage>('/sessions', {
      limit: '200',
      after: more
    }),
    page.api.read<SessionPage>('/sessions/history', {
      limit: '50',
      state: 'ended',
      after
    })
  ])
  const done = page.notice(['one', 'others', 'pending'])
  page.show({
    title: t.sessions.title,
    problem: state.problem,
    children: (
      <>
        {done === undefined ? null : (
          <Notice>{done === 'pending' ? t.pending : t.sessions.done[done]}</Notice>
        )}
        <ErrorSummary state={state} />
        <section aria-labelledby="active">
          <h2 id="active">{t.sessions.active}</h2>
          <ul class="cards">
            {active.map((session) => (
              <SessionCard session={session} details={page.path(`${PATH}/${session.id}`)}>
                <ButtonForm
                  action={page.path(`${PATH}/${session.id}/end`)}
                  label={session.current ? t.nav.signOut : t.sessions.end}
                  described={sessionName(session, t)}
                />
              </SessionCard>
            ))}
          </ul>
          {moreActive === null ? null : (
            <p>
              <a href={page.path(PATH, { more: moreActive })}>{t.sessions.more}</a>
            </p>
          )}
          {active.length > 1 || more !== undefined ? (
            <ButtonForm
              action={page.path(`${PATH}/end-others`)}
              label={t.sessions.endOthers}
              danger
            />
          ) : null}
        </section>
        {ended.length === 0 ? null : (
          <section aria-labelledby="ended">
            <h2 id="ended">{t.sessions.ended}</h2>
            <ul class="cards">
              {ended.map((session) => (
                <SessionCard session={session} details={page.path(`${PATH}/${session.id}`)} />
              ))}
            </ul>
          </section>
        )}
        <NextPage next={next} />
      </>
    )
  })
}

/** A session in a list. */
export function SessionCard({
  session,
  details,
  children
}: {
  session: SessionShown
  /** The page with what happened to it. */
  details: string
  children?: preact.ComponentChildren
}) {
  const { t } = usePage()
  const hasEnded = session.state !== undefined && session.state !== 'active'
  return (
    <li class={hasEnded ? 'card ended' : 'card'}>
      <p>
        <a href={details}>
          <strong>
            <bdi>{sessionName(session, t)}</bdi>
          </strong>
        </a>
        {session.current ? <span class="badge">{t.sessions.thisDevice}</span> : null}
        {isImpersonation(session) ? <span class="badge">{t.sessions.impersonation}</span> : null}
      </p>
      {hasEnded ? (
        <p>
          {endInWords(session.state === 'expired' ? null : (session.endedReason ?? null), t)}
          {session.endedAt ? (
            <>
              {' · '}
              <Time at={session.endedAt} />
            </>
          ) : null}
        </p>
      ) : null}
      {session.endedReason === 'refresh_reused' ? <p>{t.sessions.ifNotYou}</p> : null}
      <p class="hint">
        {t.sessions.began} <Time at={session.issuedAt} />
        {' · '}
        {t.sessions.lastUsed} <Time at={session.lastSeenAt} />
        <EventOrigin event={{ ipAddress: session.ipAddress, userAgent: null }} />
      </p>
      {children}
    </li>
  )
}

function isImpersonation({ act, impersonatedBy }: SessionShown): boolean {
  return act !== undefined || Boolean(impersonatedBy)
}

/** What a person calls the device, or what its user agent says. */
export function sessionName({ name, userAgent }: SessionShown, t: Texts): string {
  return name ?? deviceInTexts(userAgent, t) ?? t.sessions.unknownDevice
}

async function showSession(page: Page, state: FormState): Promise<void> {
  const { t } = page
  const id = idOf(page)
  const [{ session }, { events, next }] = await Promise.all([
    page.api.read<{ session: SessionShown }>(`/sessions/${id}`),
    page.api.read<SessionEventPage>(`/sessions/${id}/events`, {
      limit: '50',
      after: page.query('after')
    })
  ])
  page.show({
    title: sessionName(session, t),
    problem: state.problem,
    children: (
      <>
        {page.notice(['name']) ? <Notice>{t.sessions.renamed}</Notice> : null}
        <ErrorSummary state={state} />
        <ul class="cards">
          <SessionCard session={session} details={page.path(`${PATH}/${session.id}`)} />
        </ul>
        {session.state === 'active' ? (
          <Form action={page.path(`${PATH}/${session.id}/name`)}>
            <Field
              name="name"
              label={t.sessions.name}
              hint={t.sessions.nameHint}
              state={state}
              value={session.name ?? ''}
              required={false}
              maxlength={64}
              autocomplete="off"
            />
            <button type="submit" class="secondary">
              {t.save}
            </button>
          </Form>
        ) : null}
        <h2>{t.sessions.events}</h2>
        <SessionEventList events={events} />
        <NextPage next={next} />
        <p>
          <a href={page.path(PATH)}>{t.sessions.back}</a>
        </p>
      </>
    )
  })
}
