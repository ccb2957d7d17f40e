/** Longest user agent that is kept: it is shown to people, and copied by caches. */
const USER_AGENT_LENGTH = 512

/** A user agent as it is kept. */
export function userAgentFrom(userAgent: string | null): string | null {
  return userAgent?.slice(0, USER_AGENT_LENGTH) ?? null
}
