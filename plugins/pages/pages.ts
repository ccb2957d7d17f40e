import formbody from '@fastify/formbody'
import fastifyHelmet from '@fastify/helmet'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../src/errors.js'
import { limits } from '../../src/limits.js'
import { acceptsHtml } from '../http/accepts-html.js'
import { noteMethods } from '../http/other-methods.js'
import { sendError, toAppError } from '../http/send-error.js'
import { clientNetwork } from '../limits/budgets.js'
import { sendNotFound } from '../limits/not-found.js'
import { YEAR_SECONDS } from '../security.js'
import { addAccount } from './account.js'
import { addEvents } from './admin/events.js'
import { addFirstAdministrator } from './admin/first-administrator.js'
import { addUser } from './admin/user.js'
import { addUsers } from './admin/users.js'
import { addAssets } from './assets.js'
import { showError } from './error-page.js'
import { PageRoutes } from './forms.js'
import { addChangeEmail } from './mail/change-email.js'
import { addNotMe } from './mail/not-me.js'
import { addResetPassword } from './mail/reset-password.js'
import { addSignInCode } from './mail/sign-in-code.js'
import { addVerifyEmail } from './mail/verify-email.js'
import { Page, type PageSettings } from './page.js'
import { nothingThere, RefusedPage } from './refused-page.js'
import { addSecondFactor } from './second-factor.js'
import { addSecurity } from './security.js'
import { addSessions } from './sessions.js'
import { addSignIn } from './sign-in.js'
import { addSignUp } from './sign-up.js'

/** The largest form, in bytes. */
const BODY_LIMIT = 32 * 1024

/** What browsers may do on a page (Content Security Policy, level 3). */
const POLICY = {
  'default-src': ["'none'"],
  'style-src': ["'self'"],
  'img-src': ["'self'", 'data:'],
  'script-src': ["'self'"],
  'connect-src': ["'self'"],
  'form-action': ["'self'"],
  'frame-ancestors': ["'none'"],
  'base-uri': ["'none'"]
}
const POLICY_TEXT = Object.entries(POLICY)
  .map(([name, sources]) => `${name} ${sources.join(' ')}`)
  .join(';')
/** Under `no-referrer` browsers send `Origin: null` with forms. */
const REFERRER_POLICY = 'same-origin'

/**
 * Pages for people: sign-in, account, devices, and the administration. A page calls the API of this
 * server for its reader, and decides nothing of its own.
 */
export default async function pages(
  app: FastifyInstance,
  { settings, isAlone }: { settings: PageSettings; isAlone: boolean }
): Promise<void> {
  app.removeAllContentTypeParsers()
  await app.register(formbody, { bodyLimit: BODY_LIMIT })
  await app.register(fastifyHelmet, {
    contentSecurityPolicy: { useDefaults: false, directives: POLICY },
    strictTransportSecurity: settings.isHttps
      ? { maxAge: YEAR_SECONDS, includeSubDomains: false }
      : false,
    referrerPolicy: { policy: REFERRER_POLICY },
    xFrameOptions: { action: 'deny' }
  })
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
  })
  app.setErrorHandler<FastifyError | AppError>((error, request, reply) =>
    error instanceof AppError &&
    error.code === 'method_not_allowed' &&
    !acceptsHtml(request.headers)
      ? sendError(request, reply, error)
      : showThrown(new Page(request, reply, settings), error)
  )
  const refuseOthers = noteMethods(app)
  addAssets(app, settings.assets)
  addPages(app, settings, isAlone)
  if (isAlone) refuseOthers()
}

function addPages(app: FastifyInstance, settings: PageSettings, isAlone: boolean): void {
  const routes = new PageRoutes(app, settings)
  if (settings.prefix === '' && isAlone)
    routes.page('/', 'anyone', (page) => page.go(page.me ? '/account' : '/sign-in'))
  routes.page('/error', 'visitor', (page) =>
    showError(page, { status: 400, code: page.query('error') ?? null })
  )
  addSignIn(routes)
  addSignUp(routes)
  addSecondFactor(routes)
  addAccount(routes)
  addSecurity(routes)
  addSessions(routes)
  if (settings.hasMail) {
    addResetPassword(routes)
    addVerifyEmail(routes)
    addSignInCode(routes)
    addChangeEmail(routes)
    addNotMe(routes)
  }
  if (!settings.hasAdmin) return
  addUsers(routes)
  addUser(routes)
  addEvents(routes)
  addFirstAdministrator(routes)
}

function showThrown(page: Page, error: FastifyError | AppError): void {
  if (error instanceof RefusedPage) return showError(page, error.refusal)
  const { request, reply } = page
  const { statusCode, code } = toAppError(error, request)
  const retryAfter = Number(reply.getHeader('retry-after') ?? NaN)
  return showError(page, {
    status: statusCode,
    code,
    retryAfterSeconds: Number.isFinite(retryAfter) ? retryAfter : null,
    requestId: request.id
  })
}

/**
 * Answers where there is nothing: with a page to a browser that opens an address or sends a form,
 * and as the API does to programs. The address of a page with a slash behind it leads to the page.
 */
export function notFoundPage(settings: PageSettings) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    if (!/^(GET|POST)$/.test(request.method) || !acceptsHtml(request.headers))
      return sendNotFound(request, reply)
    reply.headers({
      'cache-control': 'no-store',
      'content-security-policy': POLICY_TEXT,
      'referrer-policy': REFERRER_POLICY
    })
    const path = withoutSlash(request, settings)
    // The path of a page: it begins with one slash and a name, so it is no address elsewhere.
    if (path !== null) return reply.code(308).header('location', path).send()
    const page = new Page(request, reply, settings)
    try {
      await request.server.budgets?.take(reply, limits.notFoundByAddress, clientNetwork(request))
      showError(page, nothingThere().refusal)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      showThrown(page, error)
    }
    return reply
  }
}

/** The address of a page that was asked for with a slash behind it. Null for any other. */
function withoutSlash({ url, method }: FastifyRequest, { paths }: PageSettings): string | null {
  const [, path = '', query = ''] = /^([^?]*)\/(\?.*)?$/.exec(url) ?? []
  return method === 'GET' && path.length > 1 && paths.has(path) ? path + query : null
}
