/** What happens outside any request; the caller logs it. */
export interface Events {
  onDebug: (message: string) => void
  onWarning: (message: string, details: unknown) => void
  onError: (message: string, error: unknown) => void
  /** The store cannot be worked on with this configuration: the process should end. */
  onUnfit: (error: Error) => void
}
