import type { ComponentChildren } from 'preact'
import { removeNotices, usePage } from './page.js'
import type { Problem } from './problem.js'

/** The name of the field with the form's token. */
export const TOKEN_FIELD = 'form_token'

/** The hidden field that every form has. */
function TokenField() {
  return <input type="hidden" name={TOKEN_FIELD} value={usePage().formToken()} />
}

/** A form of this server. `action` is the path of a page, or the address of this one. */
export function Form({
  action,
  children,
  class: name
}: {
  action: string
  children: ComponentChildren
  class?: string
}) {
  return (
    <form method="post" action={action} class={name} novalidate>
      <TokenField />
      {children}
    </form>
  )
}

/** A form that is a button. */
export function ButtonForm({
  action,
  label,
  described,
  danger = false,
  fields = {}
}: {
  action: string
  label: string
  /** What it is about, for those who do not see where the button stands. */
  described?: string
  danger?: boolean
  fields?: Record<string, string>
}) {
  return (
    <Form action={action} class="inline">
      {Object.entries(fields).map(([name, value]) => (
        <input type="hidden" name={name} value={value} />
      ))}
      <button
        type="submit"
        class={danger ? 'danger' : 'secondary'}
        aria-label={described === undefined ? undefined : `${label}: ${described}`}
      >
        {label}
      </button>
    </Form>
  )
}

/** What a form looks like when it is shown: what was typed, and what is wrong with it. */
export interface FormState {
  /** What was typed, without passwords and codes. */
  values: Record<string, string>
  problem: Problem | null
  /** Begins the ids of its fields, where a page has several forms. */
  form?: string
}

export const emptyForm: FormState = { values: {}, problem: null }

export interface FieldProps {
  name: string
  label: string
  state: FormState
  type?: 'text' | 'email' | 'password' | 'url' | 'datetime-local'
  autocomplete?: string
  inputmode?: 'numeric' | 'email' | 'text' | 'url'
  hint?: string
  required?: boolean
  /** Where nothing is wrong, this field has the focus. */
  isFirst?: boolean
  /** The value where nothing was typed. */
  value?: string
  maxlength?: number
}

/** A labelled field, with its hint and its error. The first wrong one has the focus. */
export function Field({
  name,
  label,
  state: { values, problem, form = '' },
  type = 'text',
  autocomplete,
  inputmode,
  hint,
  required = true,
  isFirst = false,
  value,
  maxlength
}: FieldProps) {
  const id = form + name
  // Preact's types have attributes for each type of input, and no input of several types.
  const oneType = type as 'text'
  const error = problem?.fields?.[name]
  const wrongFields = Object.keys(problem?.fields ?? {})
  const hasFocus = wrongFields.length > 0 ? wrongFields[0] === name : isFirst
  const describedBy = [
    ...(hint === undefined ? [] : [`${id}-hint`]),
    ...(error === undefined ? [] : [`${id}-error`])
  ].join(' ')
  const isSecret = type === 'password' || autocomplete === 'one-time-code'
  return (
    <div class={error === undefined ? 'field' : 'field wrong'}>
      <label for={id}>{label}</label>
      {hint === undefined ? null : (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error === undefined ? null : (
        <p class="error" id={`${id}-error`}>
          {error}
        </p>
      )}
      <input
        id={id}
        name={name}
        type={oneType}
        value={isSecret ? undefined : (values[name] ?? value)}
        autocomplete={autocomplete}
        inputmode={inputmode}
        required={required}
        maxlength={maxlength}
        autofocus={hasFocus}
        aria-invalid={error === undefined ? undefined : 'true'}
        aria-describedby={describedBy === '' ? undefined : describedBy}
        spellcheck={type === 'email' || isSecret ? false : undefined}
        autocapitalize={type === 'email' || isSecret ? 'none' : undefined}
      />
    </div>
  )
}

/**
 * The address of the person who is asked for a password, for password managers: they keep a
 * password by the field that stands before it.
 */
export function UsernameOf({ email }: { email: string | undefined }) {
  return <input type="text" name="username" value={email} autocomplete="username" readonly hidden />
}

/** The field for the password of the person who is signed in. */
export function CurrentPassword({
  state,
  label,
  isFirst = false
}: {
  state: FormState
  label?: string
  isFirst?: boolean
}) {
  const { t, me } = usePage()
  return (
    <>
      <UsernameOf email={me?.user.email} />
      <Field
        name="password"
        label={label ?? t.fields.password}
        type="password"
        autocomplete="current-password"
        state={state}
        isFirst={isFirst}
      />
    </>
  )
}

/** What is wrong, above a form, with a link to each field. */
export function ErrorSummary({ state: { problem, form = '' } }: { state: FormState }) {
  if (!problem) return null
  const fields = Object.entries(problem.fields ?? {})
  return (
    <div class="notice wrong" role="alert">
      <p>{problem.message}</p>
      {fields.length === 0 ? null : (
        <ul>
          {fields.map(([name, message]) => (
            <li>
              <a href={`#${form}${name}`}>{message}</a>
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}

/** Something that the person should know. */
export function Notice({ children }: { children: ComponentChildren }) {
  return (
    <div class="notice" role="status">
      {children}
    </div>
  )
}

const steps = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['week', 604_800],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60]
] as const

/** A time, relative to now. The exact one is shown on hover, in UTC. */
export function Time({ at }: { at: string }) {
  const { language, now } = usePage()
  return (
    <time dateTime={at} title={exactTime(at, language)}>
      {relativeTime(at, now, language)}
    </time>
  )
}

/** A time in UTC, in full. */
export function exactTime(at: string, language: string): string {
  return new Intl.DateTimeFormat(language, {
    dateStyle: 'long',
    timeStyle: 'long',
    timeZone: 'UTC'
  }).format(new Date(at))
}

/** A time in words: "12 minutes ago", "in 3 days". */
export function relativeTime(at: string, now: number, language: string): string {
  const seconds = Math.round((Date.parse(at) - now) / 1_000)
  const format = new Intl.RelativeTimeFormat(language, { numeric: 'auto' })
  for (const [unit, length] of steps) {
    if (Math.abs(seconds) >= length) return format.format(Math.trunc(seconds / length), unit)
  }
  return format.format(Math.abs(seconds) < 10 ? 0 : seconds, 'second')
}

/** Links to the next page of a list. */
export function NextPage({
  next,
  label,
  parameter = 'after'
}: {
  next: string | null
  label?: string
  /** The parameter that says where the page begins, where a page has several lists. */
  parameter?: string
}) {
  const { here, settings, t } = usePage()
  if (next === null) return null
  const url = new URL(here, settings.origin)
  removeNotices(url)
  url.searchParams.set(parameter, next)
  return (
    <p>
      <a href={url.pathname + url.search}>{label ?? t.nextPage}</a>
    </p>
  )
}
