import { ConfigError } from '../errors.js'
import type { SettingName } from './settings.js'

/** Collects all problems, so that an operator sees every mistake at the first start. */
export class Problems {
  readonly #messages: string[] = []
  readonly #wrong = new Set<SettingName>()

  add(message: string, key?: SettingName): void {
    this.#messages.push(message)
    if (key !== undefined) this.#wrong.add(key)
  }

  /**
   * Runs a check of `keys`, and records the ConfigError that it throws under the first of them. A
   * setting that is known to be wrong is not checked again, because further errors would only
   * follow from it.
   */
  attempt<T>(keys: readonly [SettingName, ...SettingName[]], check: () => T): T | undefined {
    if (keys.some((key) => this.#wrong.has(key))) return undefined
    try {
      return check()
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      this.add(error.message, keys[0])
      return undefined
    }
  }

  /**
   * @param hints lines to show below the problems, if there are any
   * @throws ConfigError with a line for each problem
   */
  throwIfAny(hints: readonly string[] = []): void {
    if (this.#messages.length > 0) throw new ConfigError([...this.#messages, ...hints])
  }
}
