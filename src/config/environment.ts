import { readFileSync } from 'node:fs'
import { ConfigError } from '../errors.js'
import type { Problems } from './problems.js'
import { schemaFor, type HoldfastOptions, type SettingName } from './settings.js'

/**
 * Reads settings from environment variables. Each secret may also come from a file that
 * `<NAME>_FILE` names. The values are not checked. What cannot be read goes to `problems`.
 */
export function readEnvironment(
  env: NodeJS.ProcessEnv,
  keys: readonly SettingName[],
  problems: Problems
): HoldfastOptions {
  const options: Record<string, unknown> = {}
  for (const key of keys) {
    const setting = schemaFor(key)
    const raw = problems.attempt([key], () =>
      setting.secret ? secretFrom(env, setting.env) : env[setting.env]
    )
    if (raw !== undefined && raw !== '') options[key] = parse(raw.trim(), setting.type)
  }
  return options
}

function parse(raw: string, type: string | undefined): unknown {
  if (type === 'integer') return /^-?\d+$/.test(raw) ? Number(raw) : raw
  if (type === 'boolean')
    return raw === 'on' || raw === 'true' ? true : raw === 'off' || raw === 'false' ? false : raw
  if (type === 'array')
    return raw
      .split(/[,\n]/)
      .map((item) => item.trim())
      .filter(Boolean)
  return raw
}

function secretFrom(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const path = env[`${name}_FILE`]
  if (!path) return env[name]
  if (env[name]) throw new ConfigError(`${name} and ${name}_FILE are both set: set one of them`)
  return readNamedFile(`${name}_FILE`, path).trim()
}

/**
 * Reads the file that a variable names.
 *
 * @throws ConfigError when it cannot be read
 */
export function readNamedFile(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(`${name}: the file cannot be read (${path})`, { cause: error })
  }
}
