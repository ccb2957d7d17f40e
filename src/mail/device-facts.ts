import { describeDevice } from '../session/device-words.js'
import type { MailFacts } from './mail.js'

/**
 * The programs that a mail names. The user agent is chosen by the client: a name that is not known
 * could be an advertisement, or a text that frightens.
 */
const KNOWN_PROGRAM = /^(Chrome|Chromium|Edge|Firefox|Opera|Safari|Samsung Internet|Vivaldi)\b/
const KNOWN_SYSTEM = /^(Android|Chrome OS|Linux|Windows|iOS|iPadOS|iPad|iPhone|macOS|apple)\b/

/** From where something was done, as a mail says it. */
export function deviceFacts(
  address: string | null | undefined,
  userAgent: string | null | undefined
): Pick<MailFacts, 'device' | 'from'> {
  const { program = null, system = null } = describeDevice(userAgent ?? null) ?? {}
  const device = {
    program: program !== null && KNOWN_PROGRAM.test(program) ? program : null,
    system: system !== null && KNOWN_SYSTEM.test(system) ? system : null
  }
  return {
    ...(device.program === null && device.system === null ? {} : { device }),
    ...(address === null || address === undefined ? {} : { from: address })
  }
}
