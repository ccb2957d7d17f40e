/** Not that of the package `uuid`, which takes 13 ms to load: the command line has no other use. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Whether a value is the text of a UUID (RFC 9562), in either case and of any version. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value)
}
