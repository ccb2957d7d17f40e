import type { Page } from './page.js'
import { tooManyAttempts } from './problem.js'
import type { Refusal } from './refused-page.js'
import type { Texts } from './texts/texts.js'

interface ErrorText {
  title: string
  more: string
}

/** Shows what went wrong, and where to go from there. */
export function showError(page: Page, refusal: Refusal): void {
  const { t, request, reply, settings } = page
  const { code, retryAfterSeconds = null, requestId = null } = refusal
  // The address names something by an id that nothing can have.
  const isNowhere =
    refusal.status === 400 && code === 'invalid_input' && page.query('error') === undefined
  const status = isNowhere ? 404 : refusal.status
  const { title, more } = textFor({ status, code }, t, settings.origin)
  if (retryAfterSeconds !== null) reply.header('retry-after', retryAfterSeconds)
  page.show({
    title,
    status,
    hasError: true,
    children: (
      <>
        {more === '' ? null : <p>{more}</p>}
        {status === 429 ? <p>{tooManyAttempts(retryAfterSeconds, t)}</p> : null}
        {status >= 500 && request.method === 'GET' ? (
          <p>
            <a class="button" href={request.url}>
              {t.pageErrors.again}
            </a>
          </p>
        ) : null}
        <p>
          <a href={page.path('/account')}>{t.pageErrors.home}</a>
        </p>
        {status >= 500 ? (
          <p class="hint">{t.pageErrors.requestId({ id: requestId ?? request.id })}</p>
        ) : null}
      </>
    )
  })
}

function textFor(
  { status, code }: { status: number; code: string | null },
  { pageErrors, codes }: Texts,
  origin: string
): ErrorText {
  if (status === 404) return { title: pageErrors.not_found, more: pageErrors.notFoundMore }
  if (status === 503) return { title: pageErrors.unavailable, more: pageErrors.unavailableMore }
  if (status === 429) return { title: pageErrors.rateLimited, more: '' }
  if (code === 'origin_refused')
    return { title: pageErrors.foreign, more: pageErrors.foreignMore({ origin }) }
  if (status === 403) return { title: pageErrors.forbidden, more: pageErrors.forbiddenMore }
  if (code !== null && Object.hasOwn(codes, code))
    return { title: pageErrors.title, more: codes[code as keyof Texts['codes']] }
  return {
    title: pageErrors.title,
    more: status >= 500 ? pageErrors.internalMore : pageErrors.more
  }
}
