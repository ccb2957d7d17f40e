import type { Holdfast } from '../../src/holdfast.js'
import { ReturnAddresses } from '../http/return-address.js'
import { assetsFrom } from './assets.js'
import { FormTokens } from './form-token.js'
import type { PagesOptions } from './options.js'
import type { PageSettings } from './page.js'
import { PagePaths } from './page-paths.js'

/**
 * What all pages of a server have in common.
 *
 * @throws ConfigError for a file that cannot be served
 */
export function pageSettings(
  { config, prefix, auth, mail, pageKeys, pageSeal }: Holdfast,
  { layout, admin = true }: PagesOptions
): PageSettings {
  return {
    prefix,
    origin: config.baseUrl,
    paths: new PagePaths(),
    ownOrigins: auth.ownOrigins,
    isHttps: config.baseUrl.startsWith('https:'),
    brand: {
      name: config.brandName ?? config.appName,
      termsUrl: config.termsUrl ?? null,
      privacyUrl: config.privacyUrl ?? null
    },
    assets: assetsFrom(config, prefix),
    signUpIsOpen: config.signUp === 'open',
    hasMail: mail !== null,
    hasAdmin: admin,
    formTokens: new FormTokens(pageKeys),
    returnAddresses: new ReturnAddresses({
      config,
      trustedOrigins: auth.trustedOrigins,
      keys: pageKeys
    }),
    seal: pageSeal,
    layout: layout ?? null,
    signInUrl: config.signInUrl ?? null
  }
}
