import { deviceNamed } from '../events.js'
import { usePage } from '../page.js'
import { ButtonForm, Field, Notice, Time, type FormState } from '../parts.js'
import type { FieldCodes } from '../problem.js'
import type { Fields } from '../forms.js'
import type { LinkFacts } from './link.js'

/** The field of each code of the API that is about the code of a mail. */
export const wrongMailCode: FieldCodes = { invalid_otp: 'code' }

/** The code that was typed, as the API takes it. */
export function codeFrom(fields: Fields): string {
  return fields('code').replace(/\s/g, '').slice(0, 16)
}

/** The field for an e-mail address. */
export function EmailField({ state, value }: { state: FormState; value?: string | undefined }) {
  const { t } = usePage()
  return (
    <Field
      name="email"
      label={t.fields.email}
      type="email"
      autocomplete="username"
      inputmode="email"
      state={state}
      isFirst
      {...(value === undefined ? {} : { value })}
    />
  )
}

/** The field for the code of a mail. */
export function MailCodeField({ state, isFirst = true }: { state: FormState; isFirst?: boolean }) {
  const { t } = usePage()
  return (
    <Field
      name="code"
      label={t.mail.code}
      hint={t.mail.codeHint}
      autocomplete="one-time-code"
      inputmode="numeric"
      maxlength={16}
      state={state}
      isFirst={isFirst}
    />
  )
}

/** The field for a new password. */
export function NewPasswordField({
  state,
  name = 'password',
  isFirst = false
}: {
  state: FormState
  name?: string
  isFirst?: boolean
}) {
  const { t } = usePage()
  return (
    <Field
      name={name}
      label={t.security.newPassword}
      hint={t.fields.passwordHint}
      type="password"
      autocomplete="new-password"
      state={state}
      isFirst={isFirst}
    />
  )
}

/** The field of each code of the API that is about a new password. */
export function wrongNewPassword(name: string): FieldCodes {
  return { password_too_short: name, password_too_long: name, password_too_common: name }
}

/** Who asked for a link, and for which account. Nothing where it was asked for in this browser. */
export function AskedFacts({ link }: { link: LinkFacts }) {
  const { t } = usePage()
  if (link.askedHere) return null
  const { device, from } = link.askedFrom
  const words = t.mail.asked
  return (
    <>
      <Notice>{words.intro}</Notice>
      <dl>
        <dt>{words.account}</dt>
        <dd>{link.account ?? link.email}</dd>
        {device === undefined ? null : (
          <>
            <dt>{words.device}</dt>
            <dd>{deviceNamed(device, t)}</dd>
          </>
        )}
        {from === undefined ? null : (
          <>
            <dt>{words.from}</dt>
            <dd>{from}</dd>
          </>
        )}
        <dt>{words.at}</dt>
        <dd>
          <Time at={link.askedAt} />
        </dd>
      </dl>
    </>
  )
}

/** What helps where no mail comes: sending it again, or to another address. */
export function NoMail({
  again,
  email,
  other
}: {
  /** Where the form is sent to that asks again. */
  again: string
  email: string
  /** The page on which another address is typed. */
  other: string | null
}) {
  const { t } = usePage()
  return (
    <>
      <p class="hint">{t.mail.notThere}</p>
      <div class="action">
        <ButtonForm action={again} label={t.mail.sendAgain} fields={{ email }} />
      </div>
      {other === null ? null : (
        <p>
          <a href={other}>{t.mail.otherAddress}</a>
        </p>
      )}
    </>
  )
}

/** Says that a mail was sent again. */
export function SentAgain() {
  const page = usePage()
  return page.notice(['sent']) ? <Notice>{page.t.mail.sentAgain}</Notice> : null
}
