import { parse } from 'bowser'

/** The program in a user agent that is not a browser's: the first product (RFC 9110 10.1.5). */
const PRODUCT = /^([^\s/(;]{1,40})(?:\/|\s|$)/
/** The first product of browsers, and of clients that imitate them. */
const BROWSER = /^(Mozilla|Opera|Dalvik)\//
/**
 * The products of browsers themselves. In an app's web view the app's own product follows at the
 * end.
 */
const BROWSERS_OWN =
  /^(Mozilla|Opera|AppleWebKit|Gecko|KHTML|Version|Chrome|CriOS|HeadlessChrome|Chromium|Firefox|FxiOS|Focus|Safari|Mobile|Edge?|EdgA|EdgiOS|OPR|OPX|OPT|SamsungBrowser|Presto|Ubuntu|DuckDuckGo|Ddg)$/

/** A device, as its user agent describes it. The client chose the user agent, so it proves nothing. */
export interface Device {
  /** A browser or an app. Null where it is not known. */
  program: string | null
  /** The system, or `apple` for some device of Apple's. Null where it is not known. */
  system: string | null
}

/** A system that the user agent does not name any closer. */
export const SOME_APPLE_DEVICE = 'apple'

/**
 * Describes a device from its user agent.
 *
 * @returns null where the user agent says nothing
 */
export function describeDevice(userAgent: string | null): Device | null {
  if (userAgent === null || userAgent.trim() === '') return null
  const { browser, os, platform } = parse(userAgent)
  const program = BROWSER.test(userAgent)
    ? (appIn(userAgent) ?? shortName(browser.name))
    : PRODUCT.exec(userAgent)?.[1]
  const system =
    platform.model === 'iPhone' || platform.model === 'iPad'
      ? platform.model
      : (os.name ?? (/\bDarwin\//.test(userAgent) ? SOME_APPLE_DEVICE : undefined))
  return { program: program ?? null, system: system ?? null }
}

/**
 * Describes a device in English: "Chrome on Windows", "Safari on iPhone", "FieldNotes on Android",
 * "curl".
 *
 * @returns null where the user agent says nothing
 */
export function deviceInWords(userAgent: string | null): string | null {
  const device = describeDevice(userAgent)
  if (!device) return null
  const system = device.system === SOME_APPLE_DEVICE ? 'an Apple device' : device.system
  if (device.program === null) return system ?? 'unknown program'
  return system === null ? device.program : `${device.program} on ${system}`
}

/** The app in whose web view a page was open: "… Mobile Safari/537.36 FieldNotes/3". */
function appIn(userAgent: string): string | undefined {
  const last = /\s([A-Za-z][\w.-]{2,39})\/[\w.-]+$/.exec(userAgent)?.[1]
  return last === undefined || BROWSERS_OWN.test(last) ? undefined : last
}

function shortName(name: string | undefined): string | undefined {
  return name
    ?.replace(/^Microsoft Edge$/, 'Edge')
    .replace(/ for Android$/, '')
    .replace(/^Android Browser$/, '')
}
