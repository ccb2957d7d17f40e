/** The claims of an access token (RFC 9068). Times are seconds since the epoch. */
export interface AccessTokenClaims {
  iss: string
  aud: string
  /** The user's id. */
  sub: string
  client_id: string
  iat: number
  exp: number
  jti: string
  /** The session's id. */
  sid: string
  /** The generation of the refresh token with which it was issued. */
  gen: number
  roles: string[]
  auth_time: number
  amr: string[]
  /** The administrator, where the session is an impersonation (RFC 8693). */
  act?: { sub: string }
}
