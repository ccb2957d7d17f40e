import { cookieHeader, keepCookies, type Actor, type Answer, type Side } from './side.js'
import type { Cast, Scene, Step } from './scenario.js'

/** An ended session, with what a browser and an app would still send of it. */
export interface Dead {
  cookie: string
  bearer: string
}

/** The users that every scene has. */
export interface Company {
  cast: Cast
  dead: Dead
}

export async function gather(side: Side): Promise<Company> {
  return {
    cast: await castOf(side, {
      name: 'all',
      people: ['user', 'other'],
      admins: ['admin'],
      visitors: []
    }),
    dead: await deadSession(side)
  }
}

/** Signs a user in and out again. */
async function deadSession(side: Side): Promise<Dead> {
  const gone = await side.person('gone')
  const cookie = cookieHeader(gone)
  await side.post('/sign-out', {}, { cookie, origin: side.url })
  return { cookie, bearer: gone.bearer }
}

export interface Played {
  step: Step
  answer: Answer
}

/** Plays a scene on one side, and returns the answers in its order. */
export async function play(
  side: Side,
  scene: Scene,
  { dead, cast: standing }: Company
): Promise<Played[]> {
  const cast = { ...standing, ...(await castOf(side, scene)) }
  const played: Played[] = []
  for (const step of scene.steps) {
    await betweenCodes(step)
    const answer = await perform(side, step, cast, dead)
    step.keep?.(answer, cast)
    played.push({ step, answer })
  }
  return played
}

async function castOf(
  side: Side,
  { name, people, admins, visitors }: Omit<Scene, 'steps'>
): Promise<Cast> {
  const local = (actor: string) =>
    `${name}.${actor}`
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .replaceAll(/^-|-$/g, '')
  const pairs = await Promise.all([
    ...people.map(async (actor) => [actor, await side.person(local(actor))] as const),
    ...admins.map(async (actor) => [actor, await side.administrator(local(actor))] as const)
  ])
  return Object.fromEntries([
    ...pairs,
    ...visitors.map((actor) => [actor, side.visitor(local(actor))] as const)
  ])
}

async function perform(side: Side, step: Step, cast: Cast, dead: Dead): Promise<Answer> {
  const actor = cast[step.by]
  if (!actor) throw new Error(`${step.title}: nobody here is called ${step.by}`)
  const query = new URLSearchParams(valuesOf(step.query, cast) as Record<string, string>).toString()
  const body = bodyOf(step, cast)
  const answer = await side.send({
    method: step.method,
    path: `/api/auth${step.path}${query ? `?${query}` : ''}`,
    headers: headersOf(side, step, actor, dead),
    ...(body === null ? {} : { body })
  })
  if (step.as === 'cookies') keepCookies(actor, answer)
  return answer
}

function headersOf(
  side: Side,
  { as, method, json, form, headers = {} }: Step,
  actor: Actor,
  dead: Dead
): Record<string, string> {
  const page: Record<string, string> =
    method === 'GET' || method === 'HEAD' ? {} : { origin: side.url }
  const cookie = cookieHeader(actor)
  const credential: Record<Step['as'], Record<string, string>> = {
    nothing: {},
    cookies: { 'user-agent': 'A browser', ...(cookie === '' ? {} : { cookie, ...page }) },
    bearer: { authorization: `Bearer ${actor.bearer}` },
    'dead cookie': { cookie: dead.cookie, ...page },
    'forged cookie': {
      cookie: cookie.replace(
        /(session_token=[^;]{12})(.)/,
        (_all, before: string, next: string) => before + (next === 'A' ? 'B' : 'A')
      ),
      ...page
    },
    'dead bearer': { authorization: `Bearer ${dead.bearer}` }
  }
  const type: Record<string, string> = json
    ? { 'content-type': 'application/json' }
    : form
      ? { 'content-type': 'application/x-www-form-urlencoded' }
      : {}
  const own: Record<string, string | null> = { ...type, ...credential[as], ...headers }
  const places: Record<string, string> = {
    '<origin>': side.url,
    '<lower-case bearer>': `bearer ${actor.bearer}`,
    '<listed token>': `Bearer ${actor.listedToken}`
  }
  return Object.fromEntries(
    Object.entries(own).flatMap(([name, value]) =>
      value === null ? [] : [[name, places[value] ?? value]]
    )
  )
}

function bodyOf({ json, form, raw }: Step, cast: Cast): string | null {
  if (json) return JSON.stringify(valuesOf(json, cast))
  if (form) return new URLSearchParams(valuesOf(form, cast) as Record<string, string>).toString()
  return raw ?? null
}

function valuesOf(values: Step['query'], cast: Cast): Record<string, unknown> {
  return typeof values === 'function' ? values(cast) : (values ?? {})
}

/** Waits where a one-time code would be out of date before it arrives. */
async function betweenCodes({ path }: Step): Promise<void> {
  const left = 30_000 - (Date.now() % 30_000)
  if (path === '/two-factor/verify-totp' && left < 500)
    await new Promise((resolve) => {
      setTimeout(resolve, left)
    })
}
