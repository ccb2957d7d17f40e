/** Longest user agent that is kept, because lists show it and caches copy it. */
const USER_AGENT_LENGTH = 512

/** A user agent as it is stored. */
export function userAgentFrom(userAgent: string | null): string | null {
  return userAgent?.slice(0, USER_AGENT_LENGTH) ?? null
}
