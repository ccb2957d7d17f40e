import { Type, type Static } from 'typebox'
import type { Check } from '../../../src/session/session.js'
import type { TokenParties } from '../../../src/token/codec.js'
import { type FastResponse, jsonResponse } from '../../fast-path/fast-path.js'

const seconds = Type.Integer()

/** The answer about a token for a gateway (RFC 7662 2.2). Times are seconds since the epoch. */
export const IntrospectionSchema = Type.Object({
  active: Type.Boolean(),
  iss: Type.Optional(Type.String()),
  sub: Type.Optional(Type.String()),
  sid: Type.Optional(Type.String()),
  aud: Type.Optional(Type.String()),
  client_id: Type.Optional(Type.String()),
  token_type: Type.Optional(Type.String()),
  jti: Type.Optional(Type.String()),
  iat: Type.Optional(seconds),
  exp: Type.Optional(seconds),
  auth_time: Type.Optional(seconds),
  amr: Type.Optional(Type.Array(Type.String())),
  roles: Type.Optional(Type.Array(Type.String())),
  username: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  act: Type.Optional(Type.Object({ sub: Type.String() }))
})

export type Introspection = Static<typeof IntrospectionSchema>

/** Makes the answer about a token. It does not say why a token is inactive (RFC 7662 2.2). */
export function toIntrospection(check: Check, { issuer, audience }: TokenParties): Introspection {
  if (!check.active) return { active: false }
  const { session, user, token } = check
  // An unverified address could belong to another person, and any user can choose a display name. So
  // `username` is the verified address, or else the id.
  const email = user.emailVerified ? { email: user.email } : {}
  return {
    active: true,
    iss: issuer,
    sub: user.id,
    sid: session.id,
    aud: token?.aud ?? audience,
    client_id: token?.client_id ?? session.clientId,
    token_type: 'Bearer',
    ...(token ? { jti: token.jti } : {}),
    iat: token?.iat ?? inSeconds(session.issuedAt),
    exp: Math.min(
      token?.exp ?? Infinity,
      inSeconds(session.expiresAt),
      inSeconds(session.absoluteExpiresAt)
    ),
    auth_time: inSeconds(session.authTime),
    amr: session.amr,
    roles: user.roles,
    username: user.emailVerified ? user.email : user.id,
    name: user.name,
    ...email,
    ...(session.impersonatedBy === null ? {} : { act: { sub: session.impersonatedBy } })
  }
}

const INACTIVE = '{"active":false'
const inactive = jsonResponse(`${INACTIVE}}`)

/** What was made of a check that is shown again, for as long as a copy of the session keeps it. */
const beginnings = new WeakMap<Check, string>()
const responses = new WeakMap<Check, FastResponse>()

/**
 * The answer as JSON without its last brace, so that more members may follow.
 *
 * @param parties the same at every call: a process has one issuer
 */
export function introspectionBeginning(check: Check, parties: TokenParties): string {
  if (!check.active) return INACTIVE
  let known = beginnings.get(check)
  if (known === undefined) {
    known = JSON.stringify(toIntrospection(check, parties)).slice(0, -1)
    beginnings.set(check, known)
  }
  return known
}

/** The answer as a whole response. */
export function introspectionResponse(check: Check, parties: TokenParties): FastResponse {
  return check.active ? jsonResponse(JSON.stringify(toIntrospection(check, parties))) : inactive
}

/** The same for a check that is shown again: the response is made once. */
export function rememberedIntrospectionResponse(check: Check, parties: TokenParties): FastResponse {
  let known = responses.get(check)
  if (!known) responses.set(check, (known = introspectionResponse(check, parties)))
  return known
}

function inSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000)
}
