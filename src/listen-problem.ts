import { ConfigError } from './errors.js'

/**
 * A ConfigError where a server could not listen because of its settings; else the failure itself.
 *
 * @param names the variables of the address and the port
 */
export function listenProblem(
  error: unknown,
  { host, port }: { host: string; port: number },
  [hostName, portName]: [string, string]
): unknown {
  switch (error instanceof Error && 'code' in error ? error.code : undefined) {
    case 'EADDRINUSE':
      return new ConfigError(
        `${portName}: ${port} is in use: stop what listens there, or set another`,
        { cause: error }
      )
    case 'EACCES':
      return new ConfigError(
        `${portName}: this user may not listen on ${port}: set one above 1023`,
        { cause: error }
      )
    case 'EADDRNOTAVAIL':
      return new ConfigError(`${hostName}: ${host} is no address of this machine`, { cause: error })
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new ConfigError(`${hostName}: the name ${host} has no address`, { cause: error })
    default:
      return error
  }
}
