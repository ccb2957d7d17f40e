/** The tokens that a client is given (RFC 6749, section 5.1). */
export interface TokenSet {
  access_token: string
  token_type: 'Bearer'
  /** Seconds for which the access token is valid. */
  expires_in: number
  refresh_token: string
  session_id: string
  /** Ends the session at /oauth2/revoke, and is good for nothing else. */
  revocation_token: string
}
