/** Events outside of any request. The caller logs them. */
export interface Events {
  onDebug: (message: string) => void
  onWarning: (message: string, details: unknown) => void
  /** A mail was written to a file. */
  onMail: (path: string) => void
  onError: (message: string, error: unknown) => void
  /** The store cannot be used with this configuration. The process should end. */
  onUnfit: (error: Error) => void
}
