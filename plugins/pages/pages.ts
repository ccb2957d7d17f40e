import formbody from '@fastify/formbody'
import fastifyHelmet from '@fastify/helmet'
import type { FastifyError, FastifyInstance } from 'fastify'
import type { AppError } from '../../src/errors.js'
import type { Holdfast } from '../../src/holdfast.js'
import { limits } from '../../src/limits.js'
import type { PagesOptions } from './options.js'
import { LONGEST_PARAMETER, refuseAddress } from '../http/http-options.js'
import { ReturnAddresses } from '../http/return-address.js'
import { toAppError } from '../http/send-error.js'
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
import { FormTokens } from './form-token.js'
import { PageRoutes } from './forms.js'
import { Page, type PageSettings } from './page.js'
import { nothingThere, RefusedPage } from './refused-page.js'
import { addSecondFactor } from './second-factor.js'
import { addSecurity } from './security.js'
import { addSessions } from './sessions.js'
import { addSignIn } from './sign-in.js'
import { addSignUp } from './sign-up.js'

/** The largest form, in bytes. */
const BODY_LIMIT = 32 * 1024

/**
 * Pages for people: sign-in, account, devices, and the administration. A page calls the API of this
 * server for its reader, and decides nothing of its own.
 */
export default async function pages(
  app: FastifyInstance,
  {
    holdfast,
    isAlone,
    layout,
    admin = true
  }: PagesOptions & { holdfast: Holdfast; isAlone: boolean }
): Promise<void> {
  const { config, prefix, auth } = holdfast
  const isHttps = config.baseUrl.startsWith('https:')
  app.removeAllContentTypeParsers()
  await app.register(formbody, { bodyLimit: BODY_LIMIT })
  await app.register(fastifyHelmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", 'data:'],
        scriptSrc: ["'self'"],
        connectSrc: ["'self'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        baseUri: ["'none'"]
      }
    },
    strictTransportSecurity: isHttps ? { maxAge: YEAR_SECONDS, includeSubDomains: false } : false,
    // Under `no-referrer` browsers send `Origin: null` with forms.
    referrerPolicy: { policy: 'same-origin' },
    xFrameOptions: { action: 'deny' }
  })
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
  })
  const { styleSheets, script, logo } = addAssets(app, config)
  const settings: PageSettings = {
    prefix,
    origin: config.baseUrl,
    ownOrigins: auth.ownOrigins,
    isHttps,
    brand: {
      name: config.brandName ?? config.appName,
      logo,
      termsUrl: config.termsUrl ?? null,
      privacyUrl: config.privacyUrl ?? null
    },
    styleSheets,
    script,
    signUpIsOpen: config.signUp === 'open',
    hasAdmin: admin,
    formTokens: new FormTokens(holdfast.pageKeys),
    returnAddresses: new ReturnAddresses({
      config,
      trustedOrigins: auth.trustedOrigins,
      keys: holdfast.pageKeys
    }),
    seal: holdfast.pageSeal,
    layout: layout ?? null,
    signInUrl: config.signInUrl ?? null
  }
  app.setErrorHandler<FastifyError | AppError>((error, request, reply) => {
    const page = new Page(request, reply, settings)
    if (error instanceof RefusedPage) return showError(page, error.refusal)
    const { statusCode, code } = toAppError(error, request)
    const retryAfter = Number(reply.getHeader('retry-after') ?? NaN)
    return showError(page, {
      status: statusCode,
      code,
      retryAfterSeconds: Number.isFinite(retryAfter) ? retryAfter : null,
      requestId: request.id
    })
  })
  const routes = new PageRoutes(app, settings)
  if (prefix === '' && isAlone) {
    routes.page('/', 'anyone', (page) => page.go(page.me ? '/account' : '/sign-in'))
    addNotFound(app, settings)
  }
  routes.page('/error', 'visitor', (page) =>
    showError(page, { status: 400, code: page.query('error') ?? null })
  )
  addSignIn(routes)
  addSignUp(routes)
  addSecondFactor(routes)
  addAccount(routes)
  addSecurity(routes)
  addSessions(routes)
  if (!admin) return
  addUsers(routes)
  addUser(routes)
  addEvents(routes)
  addFirstAdministrator(routes)
}

/**
 * Shows a page where there is nothing, to a browser that opens an address. Programs get the answer
 * of the API.
 */
function addNotFound(app: FastifyInstance, settings: PageSettings): void {
  app.get('/*', { schema: { hide: true } }, async (request, reply) => {
    // Without this route, the router refuses a part that is too long for a route's parameter.
    const [path = ''] = request.url.split('?', 1)
    if (path.split('/').some((part) => part.length > LONGEST_PARAMETER)) {
      refuseAddress(request, reply, { status: 414, prefix: settings.prefix })
      return reply
    }
    if (!/\btext\/html\b/i.test(request.headers.accept ?? ''))
      return sendNotFound(request, reply.header('referrer-policy', 'no-referrer'))
    await request.server.budgets?.take(reply, limits.notFoundByAddress, clientNetwork(request))
    showError(new Page(request, reply, settings), nothingThere().refusal)
    return reply
  })
}
