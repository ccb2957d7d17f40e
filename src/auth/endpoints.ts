/** An endpoint of better-auth as its router knows it. */
export interface AuthEndpoint {
  /** Below the base path. Parameters are written `:name`. */
  path: string
  methods: readonly string[]
  /** Whether it takes forms beside JSON. */
  takesForms: boolean
}

interface Declared {
  path?: string | undefined
  options?:
    | {
        method?: string | string[] | undefined
        metadata?: { SERVER_ONLY?: boolean; allowedMediaTypes?: string[] } | undefined
      }
    | undefined
}

/** The endpoints that better-auth's router can reach, from its own table. */
export function listEndpoints(api: Record<string, unknown>): AuthEndpoint[] {
  const endpoints = (Object.values(api) as Declared[]).flatMap(({ path, options }) => {
    const { method = [], metadata } = options ?? {}
    if (path === undefined || metadata?.SERVER_ONLY) return []
    return [
      {
        path,
        methods: [method].flat(),
        takesForms:
          metadata?.allowedMediaTypes?.includes('application/x-www-form-urlencoded') ?? false
      }
    ]
  })
  return endpoints
}
