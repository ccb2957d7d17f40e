import type { HoldfastOptions } from '../../src/config.js'
import type { SendMail } from '../../src/mail/mail.js'
import type { PagesOptions } from '../pages/options.js'

/**
 * The options with which an application registers Holdfast. Settings have the names of their
 * environment variables in camel case.
 */
export interface PluginOptions extends Omit<HoldfastOptions, 'pages'> {
  /** The path of the routes, such as `/identity`. Session cookies keep the path `/`. */
  prefix?: string
  /** The pages for people, below the prefix. Off by default. */
  pages?: boolean | PagesOptions | undefined
  /**
   * Sends a mail, in place of SMTP_URL. It is called again later where it throws.
   *
   * @throws MailRefused where the mail can never be sent
   */
  sendMail?: SendMail | undefined
  /** Called when the store cannot be used with this configuration. By default this is logged. */
  onUnfit?: (error: Error) => void
}
