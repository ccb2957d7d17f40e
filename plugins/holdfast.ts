import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { ConfigError } from '../src/errors.js'
import { resolveConfig, type HoldfastOptions } from '../src/config.js'
import { refuseForeignVariables } from '../src/config/unknown-variables.js'
import { errorLine, redact, reportError } from '../src/error-report.js'
import { openWithControl } from '../src/operator/control.js'
import type { Events } from '../src/holdfast.js'
import type { Holdfast } from '../src/public.js'
import { addAllRoutes } from './routes/all-routes.js'
import { addGuest } from './host-application/guest.js'
import { addGuards, requestIdentity } from './guard.js'
import type { PluginOptions } from './host-application/plugin-options.js'
import type { PageDetails, PagesOptions } from './pages/options.js'
import { maxHeadersFrom } from './http/request-headers.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** Holdfast without HTTP: it checks whether a credential belongs to an active session. */
    holdfast: Holdfast
  }
}

/**
 * The whole server as one Fastify plugin: `app.register(holdfast, options)`. The application gets
 * `requireSession` and `requireRole(…)` for its own routes. Everything else of Holdfast stays below
 * `prefix`, and everything else of the application outside.
 */
async function holdfastPlugin(
  app: FastifyInstance,
  { prefix: below = '', onUnfit, fastPath, pages = false, sendMail, ...options }: PluginOptions
): Promise<void> {
  refuseForeignVariables(process.env)
  const prefix = below.replace(/\/+$/, '')
  if (prefix !== '' && !prefix.startsWith('/'))
    throw new ConfigError(`prefix: must begin with a slash (it is ${JSON.stringify(below)})`)
  const config = resolveConfig({ ...options, pages: pages !== false })
  const events: Events = {
    onDebug: (message) => app.log.debug(redact(message)),
    onWarning: (message, details) =>
      app.log.warn(details === null ? {} : { err: reportError(details) }, redact(message)),
    onError: (message, error) => app.log.error({ err: reportError(error) }, message),
    onMail: (path) => app.log.info(`a mail was written to ${path}`),
    onUnfit: (error) => {
      app.log.fatal(errorLine(error))
      onUnfit?.(error)
    }
  }
  const holdfast = await openWithControl(config, app.prefix + prefix, events, { sendMail })
  app.addHook('onClose', () => holdfast.close())
  if (fastPath !== undefined) {
    await addAllRoutes(app, {
      holdfast,
      fastPath,
      pages: config.pages ? {} : null,
      isAlone: true,
      mostHeaders: () => maxHeadersFrom(app.server)
    })
    return
  }
  app.decorate('holdfast', holdfast)
  addGuards(app, holdfast)
  const pagesHere = pages === true ? { admin: false } : pages
  await addGuest(app, {
    holdfast,
    ownsPrefix: prefix !== '',
    pages: pagesHere ? { admin: false, ...pagesHere } : null
  })
}

const holdfastAsPlugin: FastifyPluginAsync<PluginOptions> = fp(holdfastPlugin, {
  name: 'holdfast',
  fastify: '5.x'
})

export type { Check, Credential, Session, User } from '../src/session/session.js'
export type { Guard, Identity } from './guard.js'
export { MailRefused } from '../src/mail/mail.js'
export { requestIdentity as identityOf }
export type { MailKind, MailMessage } from '../src/mail/mail.js'
export type { Holdfast, HoldfastOptions, PageDetails, PagesOptions, PluginOptions }
export default holdfastAsPlugin
