import { Type } from 'typebox'

/** RFC 9457 problem details with the stable `cause`: the form of every refusal of our routes. */
export const ProblemSchema = Type.Object({
  type: Type.Literal('about:blank'),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  cause: Type.String({ description: 'What clients switch on.' }),
  requestId: Type.String()
})

/**
 * A problem below `/api/auth`. It also has the members by which better-auth's clients know an
 * error.
 */
export const AuthProblemSchema = Type.Object({
  ...ProblemSchema.properties,
  code: Type.String({
    description:
      'The cause in capitals, as better-auth writes its codes; where better-auth has a code of its own for it, that.'
  }),
  message: Type.String()
})

const descriptions: Record<number, string> = {
  400: 'The request is not valid, or names more than one credential.',
  401: 'The credential is no good: sign in again.',
  403: 'Who asks may not.',
  404: 'There is nothing here.',
  405: 'The method is not allowed here: `Allow` names those that are.',
  409: 'Somebody else changed it at the same moment: try again.',
  413: 'The body is too large.',
  415: 'The content type, charset or encoding of the body is not supported.',
  429: 'Too many requests: `Retry-After` says when to come back.',
  503: 'Nobody knows: try again, and keep the cookie.'
}

/** The part of a route's `schema.response` that documents its refusals. */
export function refusals<const Status extends number>(...statuses: Status[]) {
  const entries = statuses.map((status) => [
    status,
    {
      description: descriptions[status] ?? 'Refused.',
      content: { 'application/problem+json': { schema: ProblemSchema } }
    }
  ])
  return Object.fromEntries(entries) as Record<
    Status,
    {
      description: string
      content: { 'application/problem+json': { schema: typeof ProblemSchema } }
    }
  >
}
