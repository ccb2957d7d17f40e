import { openHoldfast, type Events, type OpenOptions } from '../holdfast.js'
import type { Config } from '../config.js'
import type { Holdfast } from '../public.js'
import { runCommand } from './commands.js'
import { listenForControl } from './control-socket.js'

/**
 * Opens Holdfast. Where it holds an embedded store, the command line reaches it by a socket in the
 * data directory, which is closed with it.
 *
 * @throws ConfigError as `openHoldfast`
 */
export async function openWithControl(
  config: Config,
  prefix: string,
  events: Events,
  options: OpenOptions = {}
): Promise<Holdfast> {
  const holdfast = await openHoldfast(config, prefix, events, options)
  if (config.databaseUrl !== undefined) return holdfast
  try {
    const socket = await listenForControl(config.dataDir, (request) =>
      runCommand(holdfast, request)
    )
    holdfast.onClose(() => socket.close())
  } catch (error) {
    // A path that is too long for a socket costs the command line, not the start.
    events.onWarning(
      'the command line cannot reach this server: no socket could be made in DATA_DIR',
      error
    )
  }
  return holdfast
}
