import { readEnvironment } from './config/environment.js'
import { Problems } from './config/problems.js'
import { baseUrlFrom, checkDatabaseUrl, rules } from './config/rules.js'
import {
  allSettings,
  Settings,
  storeSettings,
  type Config,
  type HoldfastOptions,
  type StoreConfig
} from './config/settings.js'
import { foreignVariables, misspeltVariables } from './config/unknown-variables.js'
import { withDefaults } from './config/values.js'

export {
  secretSettings,
  type Config,
  type HoldfastOptions,
  type StoreConfig
} from './config/settings.js'

/**
 * Checks settings and adds the defaults.
 *
 * @throws ConfigError naming every wrong setting by its environment variable
 */
export function resolveConfig(options: HoldfastOptions): Config {
  const problems = new Problems()
  const config = resolve(options, problems)
  problems.throwIfAny()
  return config
}

function resolve(options: HoldfastOptions, problems: Problems): Config {
  for (const key of Object.keys(options))
    if (!(key in Settings.properties)) problems.add(`${key}: there is no such setting`)
  const settings = withDefaults(options, problems)
  const baseUrl =
    problems.attempt(['baseUrl', 'databaseUrl', 'host'], () => baseUrlFrom(settings)) ?? ''
  const config = { ...settings, baseUrl }
  for (const { keys, check } of rules) problems.attempt(keys, () => check(config))
  return Object.freeze(config)
}

/**
 * Reads the settings from environment variables. Each secret may also come from a file that
 * `<NAME>_FILE` names.
 *
 * @throws ConfigError naming every variable that cannot be read
 */
export function optionsFromEnvironment(env: NodeJS.ProcessEnv): HoldfastOptions {
  const problems = new Problems()
  const options = readEnvironment(env, allSettings, problems)
  problems.throwIfAny()
  return options
}

/** The settings in the environment, and variables that look like misspelt names of settings. */
export interface EnvironmentConfig {
  config: Config
  /** A line for each variable that looks like a setting but is not one. */
  misspelt: string[]
}

/**
 * Reads and checks the whole environment.
 *
 * @throws ConfigError naming everything that is wrong, and what may be misspelt
 */
export function configFromEnvironment(env: NodeJS.ProcessEnv): EnvironmentConfig {
  const problems = new Problems()
  for (const message of foreignVariables(env)) problems.add(message)
  const config = resolve(readEnvironment(env, allSettings, problems), problems)
  const misspelt = misspeltVariables(env)
  problems.throwIfAny(misspelt)
  return { config, misspelt }
}

/**
 * Reads only the settings of the store: a command that works on the store alone needs no address
 * and no secret.
 *
 * @throws ConfigError naming every wrong one by its environment variable
 */
export function storeConfigFrom(env: NodeJS.ProcessEnv): {
  config: StoreConfig
  misspelt: string[]
} {
  const problems = new Problems()
  const config = withDefaults(readEnvironment(env, storeSettings, problems), problems)
  problems.attempt(['databaseUrl'], () => checkDatabaseUrl(config))
  const misspelt = misspeltVariables(env)
  problems.throwIfAny(misspelt)
  return { config, misspelt }
}
