import { ConfigError } from '../errors.js'
import { nearNames } from '../near-names.js'
import { allSettings, schemaFor } from './settings.js'

/** Kubernetes gives every pod variables with such values for a Service, whatever its name. */
export const SERVICE_LINK = /^(tcp|udp|sctp):\/\//
const UNITS = /_(SECONDS|MS|BYTES)$/

/**
 * A line for each variable whose name almost matches a setting that is not set. Values are never
 * shown.
 */
export function misspeltVariables(env: NodeJS.ProcessEnv): string[] {
  const known = knownVariables()
  const unset = [...known].filter((name) => !env[name])
  return Object.keys(env).flatMap((name) => {
    if (known.has(name) || !env[name] || SERVICE_LINK.test(env[name]) || name.startsWith('npm_'))
      return []
    const plain = name.replace(/^HOLDFAST_/i, '')
    const [meant] = [
      ...unset.filter((candidate) => candidate.replace(UNITS, '') === plain),
      ...nearNames(plain, unset)
    ]
    return meant === undefined ? [] : [`${name}: is no setting, and is not read: ${meant} is one`]
  })
}

/** The names of all variables that are read. */
function knownVariables(): Set<string> {
  const schemas = allSettings.map(schemaFor)
  return new Set(schemas.flatMap(({ env, secret }) => (secret ? [env, `${env}_FILE`] : [env])))
}

// better-auth reads these variables past its options. With another secret every user would be
// signed out; with other origins, those would be trusted.
const foreign = ['BETTER_AUTH_SECRETS', 'BETTER_AUTH_TRUSTED_ORIGINS', 'BETTER_AUTH_TELEMETRY']

/** A line for each variable that would override our configuration of better-auth. */
export function foreignVariables(env: NodeJS.ProcessEnv): string[] {
  return foreign
    .filter((name) => env[name])
    .map((name) => `${name}: must not be set: it would override Holdfast's own settings`)
}

/**
 * Refuses an environment that would override our configuration of better-auth.
 *
 * @throws ConfigError naming the variables
 */
export function refuseForeignVariables(env: NodeJS.ProcessEnv): void {
  const found = foreignVariables(env)
  if (found.length > 0) throw new ConfigError(found)
}
