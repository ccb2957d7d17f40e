import type { HoldfastOptions } from '../../src/config.js'

/**
 * What an application may say when it registers Holdfast. Settings have the names of their
 * environment variables in camel case.
 */
export interface PluginOptions extends HoldfastOptions {
  /** Where the routes hang, such as `/identity`. Sessions' cookies keep the path `/`. */
  prefix?: string
  /** Told that the store cannot be worked on with this configuration; by default it is logged. */
  onUnfit?: (error: Error) => void
}
