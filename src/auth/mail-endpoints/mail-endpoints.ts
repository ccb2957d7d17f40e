import type { BetterAuthPlugin } from 'better-auth'
import { addressChanges } from './change-email.js'
import { invitations } from './invitation.js'
import { notMe } from './not-me.js'
import { mailRequests } from './requests.js'
import { passwordResets } from './reset.js'
import type { MailEndpointOptions } from './shared.js'
import { mailedSignIns } from './sign-in.js'
import { waitingSignUp } from './sign-up.js'
import { verifications } from './verification.js'

/**
 * Everything that leads through a mailbox, under the names and paths of better-auth's core and of
 * its plugins `emailOTP` and `magicLink`, for whose clients it answers. Proofs are ours: theirs keep
 * one code or a stateless link, act on GET, and look accounts up during the request.
 */
export function mailEndpoints(options: MailEndpointOptions) {
  return {
    id: 'holdfast-mail',
    endpoints: {
      ...mailRequests(options),
      ...passwordResets(options),
      ...verifications(options),
      ...mailedSignIns(options),
      ...addressChanges(options),
      ...notMe(options),
      ...invitations(options),
      ...(options.requiresVerification ? waitingSignUp(options) : {})
    }
  } satisfies BetterAuthPlugin
}
