/**
 * Milliseconds since 1970 on the clock that better-auth reads. It takes no other one. Times that it
 * has made, or will compare, are compared with this one.
 */
export const betterAuthNow = (): number => Date.now()
