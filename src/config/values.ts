import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { neverReport } from '../error-report.js'
import type { Problems } from './problems.js'
import {
  allSettings,
  schemaFor,
  Settings,
  type HoldfastOptions,
  type SettingName,
  type SettingSchema
} from './settings.js'
import { SERVICE_LINK } from './unknown-variables.js'

/**
 * Checks each value by itself, and adds the defaults. Wrong settings are reported and left out, so
 * that the others can be checked.
 */
export function withDefaults(options: HoldfastOptions, problems: Problems): Settings {
  neverReport(secretsIn(options))
  const right = Object.entries(options).filter(([name, value]) => {
    const schema =
      value === undefined ? undefined : (Settings.properties as Record<string, TSchema>)[name]
    if (schema === undefined) return false
    const isRight = Value.Check(schema, value)
    if (!isRight)
      problems.add(describeWrong(schema as unknown as SettingSchema, value), name as SettingName)
    return isRight
  })
  const settings = Value.Default(Settings, Object.fromEntries(right)) as Settings
  return {
    ...settings,
    host: withoutBrackets(settings.host),
    metricsHost: withoutBrackets(settings.metricsHost)
  }
}

// In a URL an IPv6 address has brackets.
function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1')
}

function describeWrong(
  { env, type, secret, minimum, maximum, anyOf, mustBe }: SettingSchema,
  value: unknown
): string {
  const shown = secret ? '' : ` (it is ${JSON.stringify(value)})`
  const [, service] = /^(.+)_PORT$/.exec(env) ?? []
  const origin =
    service !== undefined && typeof value === 'string' && SERVICE_LINK.test(value)
      ? `. Kubernetes sets this variable for a Service of the name ${service.toLowerCase()}: write \`enableServiceLinks: false\` into the pod's spec, or give the Service another name`
      : ''
  if (mustBe) return `${env}: must be ${mustBe}${shown}`
  if (anyOf)
    return `${env}: must be one of ${anyOf.map((option) => option.const).join(', ')}${shown}`
  if (type === 'integer')
    return `${env}: must be a whole number from ${minimum} to ${maximum}${shown}${origin}`
  if (type === 'boolean') return `${env}: must be on or off${shown}`
  return `${env}: is not valid${shown}`
}

/** The values of secret settings, and the passwords within them: of a URL, of `id:secret`. */
function secretsIn(options: HoldfastOptions): string[] {
  return allSettings.flatMap((key) => {
    if (!schemaFor(key).secret) return []
    return [options[key] ?? []]
      .flat()
      .map(String)
      .flatMap((value) => [value, ...passwordsIn(value)])
  })
}

function passwordsIn(value: string): string[] {
  const [, ofUrl] = /^[a-z+]+:\/\/[^:@/]*:(.*)@/i.exec(value) ?? []
  const first = ofUrl ?? /^[^:]+:([^/].*)$/s.exec(value)?.[1]
  const further = [...value.matchAll(/[?&][^=&]*password=([^&#]*)/gi)].map(
    ([, password = '']) => password
  )
  return [...(first === undefined ? [] : [first]), ...further].flatMap((password) => [
    password,
    decodeOr(password)
  ])
}

function decodeOr(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
