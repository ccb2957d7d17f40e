import { schemaRef, type Schema } from './document.js'

/*
 * What better-auth's generator does not know of the endpoints that lead through a mailbox: their
 * answers, their refusals, who may ask, and where the handle of a request goes.
 */

const object = (properties: Record<string, Schema>, required: readonly string[] = []): Schema => ({
  type: 'object',
  properties,
  ...(required.length > 0 ? { required: [...required] } : {})
})
const done = object({ status: { type: 'boolean' } }, ['status'])
const succeeded = object({ success: { type: 'boolean' } }, ['success'])
const user = { anyOf: [schemaRef('User'), { type: 'null' }] }
const authenticatesNobody = { type: ['string', 'null'], description: 'Authenticates nobody.' }

/** The answers of the endpoints of mail, by path. */
export const mailAnswers: Record<string, Schema> = {
  '/request-password-reset': object(
    {
      status: { type: 'boolean' },
      message: { type: 'string', description: 'The same for every address.' }
    },
    ['status', 'message']
  ),
  '/reset-password': done,
  '/send-verification-email': done,
  '/verify-email': object({ status: { type: 'boolean' }, user: { type: 'null' } }, ['status']),
  '/change-email': done,
  '/sign-in/magic-link': done,
  '/email-otp/send-verification-otp': succeeded,
  '/email-otp/check-verification-otp': succeeded,
  '/email-otp/request-password-reset': succeeded,
  '/forget-password/email-otp': succeeded,
  '/email-otp/reset-password': succeeded,
  '/email-otp/request-email-change': succeeded,
  '/email-otp/change-email': succeeded,
  '/email-otp/verify-email': object(
    {
      status: { type: 'boolean' },
      token: { type: 'null', description: 'Verification begins no session.' },
      user
    },
    ['status', 'token', 'user']
  ),
  '/sign-in/email-otp': object({ token: authenticatesNobody, user }),
  '/magic-link/verify': object({
    token: authenticatesNobody,
    user,
    session: { type: ['object', 'null'] },
    callbackURL: {
      type: ['string', 'null'],
      description: 'Where the request for the mail wanted to go on to.'
    }
  }),
  '/describe-link': object(
    {
      purpose: {
        type: 'string',
        enum: ['verify', 'sign-up', 'reset', 'sign-in', 'change-confirm', 'change-verify', 'not-me']
      },
      email: { type: 'string', description: 'The address that the mail went to.' },
      newEmail: { type: ['string', 'null'], description: 'The address that is wanted.' },
      account: {
        type: ['string', 'null'],
        description: 'The address of the account. Null where there is none yet.'
      },
      askedHere: {
        type: 'boolean',
        description: 'Whether this browser or app has asked for the mail.'
      },
      askedAt: { type: 'string', format: 'date-time' },
      askedFrom: object({
        device: object({
          program: { type: ['string', 'null'] },
          system: { type: ['string', 'null'] }
        }),
        from: { type: 'string', description: 'A network address.' }
      }),
      expiresAt: { type: 'string', format: 'date-time' },
      needsPassword: {
        type: 'boolean',
        description: 'Whether `/verify-email` wants `password` or `newPassword` here.'
      }
    },
    [
      'purpose',
      'email',
      'newEmail',
      'account',
      'askedHere',
      'askedAt',
      'askedFrom',
      'expiresAt',
      'needsPassword'
    ]
  ),
  '/not-me': object(
    {
      status: { type: 'boolean' },
      resetMailed: {
        type: 'boolean',
        description: 'Whether a link for a new password is on its way to the address of the mail.'
      }
    },
    ['status', 'resetMailed']
  ),
  '/admin/send-password-reset': done
}

/** Endpoints that send a mail. They give the client its handle. */
export const asksForMail: ReadonlySet<string> = new Set([
  '/request-password-reset',
  '/email-otp/request-password-reset',
  '/forget-password/email-otp',
  '/send-verification-email',
  '/email-otp/send-verification-otp',
  '/sign-in/magic-link',
  '/change-email',
  '/email-otp/request-email-change',
  '/not-me'
])

/** Endpoints that take what a mail carries. They read the handle. */
export const takesProof: ReadonlySet<string> = new Set([
  '/reset-password',
  '/email-otp/reset-password',
  '/verify-email',
  '/email-otp/verify-email',
  '/email-otp/check-verification-otp',
  '/sign-in/email-otp',
  '/magic-link/verify',
  '/email-otp/request-email-change',
  '/email-otp/change-email',
  '/describe-link'
])

/** Endpoints of mail that need no session. */
export const withoutSession: readonly string[] = [
  '/request-password-reset',
  '/email-otp/request-password-reset',
  '/forget-password/email-otp',
  '/email-otp/send-verification-otp',
  '/sign-in/magic-link',
  '/reset-password',
  '/email-otp/reset-password',
  '/verify-email',
  '/email-otp/check-verification-otp',
  '/sign-in/email-otp',
  '/magic-link/verify',
  '/describe-link',
  '/not-me'
]

/** Endpoints of mail that answer otherwise within a session. */
export const knowingSession: readonly string[] = [
  '/send-verification-email',
  '/email-otp/verify-email'
]

const invalidToken =
  '`INVALID_TOKEN`: the link is unknown, used or expired, or the account has changed since.'
const invalidCode =
  '`INVALID_OTP`: the code is wrong, used or expired, or this client did not ask for it (`Mail-Challenge`).'
const passwordFaults = '`PASSWORD_TOO_SHORT`, `PASSWORD_TOO_LONG`, `PASSWORD_TOO_COMMON`'
const tooManyCodes = '`TOO_MANY_ATTEMPTS`: too many codes were wrong. Only the link counts.'
const needsPassword =
  '`PASSWORD_NEEDED`: another client has signed up. Send the password of the sign-up (`password`) or a new one (`newPassword`).'
const recent = '`reauthentication_required`: the sign-in of this session is not recent.'

/** The codes that a client gets, by path and status. */
export const mailRefusals: Record<string, Record<string, string>> = {
  '/reset-password': { 400: `${invalidToken} Or ${passwordFaults}.` },
  '/email-otp/reset-password': { 400: `${invalidCode} Or ${passwordFaults}.`, 403: tooManyCodes },
  '/send-verification-email': {
    400: 'A field is wrong. In a session: `EMAIL_MISMATCH`, `EMAIL_ALREADY_VERIFIED`.'
  },
  '/email-otp/send-verification-otp': {
    400: 'A field is wrong, or `INVALID_OTP_TYPE`: a change of address is asked for at `/email-otp/request-email-change`.'
  },
  '/verify-email': {
    400: `${invalidToken} Or \`INVALID_PASSWORD\`, or ${passwordFaults}.`,
    403: needsPassword
  },
  '/email-otp/verify-email': {
    400: `${invalidCode} Or \`INVALID_PASSWORD\`, or ${passwordFaults}.`,
    403: `${tooManyCodes} Or ${needsPassword}`
  },
  '/email-otp/check-verification-otp': { 400: invalidCode, 403: tooManyCodes },
  '/sign-in/email-otp': { 400: invalidCode, 403: `${tooManyCodes} Or the user is banned.` },
  '/magic-link/verify': { 400: invalidToken, 403: 'The user is banned.' },
  '/change-email': {
    400: 'The address is not one (`INVALID_EMAIL`), or the account has it (`EMAIL_IS_THE_SAME`).',
    403: recent
  },
  '/email-otp/request-email-change': {
    400: `The address is not one, or the account has it (\`EMAIL_IS_THE_SAME\`). ${invalidCode}`,
    403: `${recent} Or ${tooManyCodes}`
  },
  '/email-otp/change-email': { 400: invalidCode, 403: tooManyCodes },
  '/describe-link': { 400: invalidToken },
  '/not-me': { 400: invalidToken }
}
