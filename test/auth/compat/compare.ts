import type { Normalised } from './normalise.js'
import type { Step } from './scenario.js'

/** A difference between two answers to one request. */
export interface Difference {
  scene: string
  step: Step
  /** `outcome` is the status with the code. `members` are the top-level names of a body. */
  what: 'outcome' | 'members' | 'body' | 'cookie' | 'header'
  /** The key path, the name of the cookie or of the header; else empty. */
  at: string
  /** better-auth's value, and Holdfast's. */
  stock: string
  holdfast: string
}

const ABSENT = 'absent'

/**
 * Finds the differences between two answers. An error is compared by its status, its code and the
 * names of its members; anything else by each value of its body. Cookies and headers are always
 * compared.
 */
export function compare(
  scene: string,
  step: Step,
  stock: Normalised,
  holdfast: Normalised
): Difference[] {
  const found = (what: Difference['what'], at: string, a: string, b: string): Difference[] =>
    a === b ? [] : [{ scene, step, what, at, stock: a, holdfast: b }]
  const each = (what: Difference['what'], a: Map<string, string>, b: Map<string, string>) =>
    [...new Set([...a.keys(), ...b.keys()])].flatMap((at) =>
      found(what, at, a.get(at) ?? ABSENT, b.get(at) ?? ABSENT)
    )
  const outcome = found('outcome', '', outcomeOf(stock), outcomeOf(holdfast))
  const errors = [stock, holdfast].filter(({ status }) => status >= 400).length
  return [
    ...outcome,
    ...(errors === 2 && outcome.length === 0
      ? found('members', '', membersOf(stock), membersOf(holdfast))
      : []),
    ...(errors > 0
      ? []
      : isOther(stock, holdfast)
        ? found('members', '', membersOf(stock), membersOf(holdfast))
        : each('body', stock.body, holdfast.body)),
    ...(errors > 0 ? [] : found('header', 'content-type', stock.type, holdfast.type)),
    ...each('cookie', stock.cookies, holdfast.cookies),
    ...each('header', stock.headers, holdfast.headers)
  ]
}

/** Whether one of the bodies is not an object: no session, or nothing at all. */
function isOther(stock: Normalised, holdfast: Normalised): boolean {
  return stock.body.has('') || holdfast.body.has('')
}

function outcomeOf({ status, code }: Normalised): string {
  return code === '' ? String(status) : `${status} ${code}`
}

/** The top-level names of a body, or the body itself where it is not an object. */
function membersOf({ body }: Normalised): string {
  return (
    body.get('') ??
    [...new Set([...body.keys()].map((path) => path.split(/[.[]/, 1)[0] ?? ''))]
      .toSorted()
      .join(', ')
  )
}

/** A difference as a line. */
export function lineOf({ scene, step, what, at, stock, holdfast }: Difference): string {
  const request = `${step.method} ${step.path} (${step.as})`
  return `${scene}, ${step.title}: ${request}: ${[what, at].filter(Boolean).join(' ')}: better-auth ${stock}, Holdfast ${holdfast}`
}
