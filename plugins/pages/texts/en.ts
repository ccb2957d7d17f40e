import { enMail, enMailCodes } from './en-mail.js'

/** The texts of the pages in English. It also says which texts there are. */
export const en = {
  errorTitle: ({ title }: { title: string }): string => `Error: ${title}`,
  skip: 'Skip to the content',
  terms: 'Terms',
  privacy: 'Privacy',
  cancel: 'Cancel',
  save: 'Save',
  copy: 'Copy',
  copied: 'Copied',
  nextPage: 'Older entries',
  noEvents: 'Nothing so far.',
  nothing: 'none',
  pending:
    'This is done. A part of the system could not be told yet. It takes effect everywhere within seconds.',
  wrongFields: 'Please correct this:',
  times: ({ count }: { count: number }): string => `${count} times`,
  fromTo: ({ from, to }: { from: string; to: string }): string => `from ${from} to ${to}`,
  until: ({ time }: { time: string }): string => `until ${time}`,
  fromAddress: ({ address }: { address: string }): string => `from ${address}`,
  nav: {
    label: 'Your account',
    account: 'Account',
    security: 'Security',
    sessions: 'Devices',
    users: 'Users',
    events: 'Events',
    signOut: 'Sign out'
  },
  fields: {
    email: 'E-mail address',
    password: 'Password',
    passwordHint: 'At least 8 characters. A sentence is easier to keep in mind than a word.',
    name: 'Name'
  },
  onward: {
    title: 'You are signed in',
    as: ({ email }: { email: string }): string => `You are signed in as ${email}.`,
    link: ({ host }: { host: string }): string => `Go on to ${host}`
  },
  signIn: {
    title: 'Sign in',
    submit: 'Sign in',
    noAccount: 'No account yet?',
    expired: {
      second_factor: 'That took too long. Sign in again, then enter the code.',
      codes: 'Too many codes were wrong. Sign in again, then enter the code.'
    },
    ended: {
      session_revoked: 'You were signed out. Sign in again to see why, below “Devices”.',
      session_expired: 'Your sign-in has expired.',
      credential_ambiguous: 'Your browser had two sign-ins at once. Sign in again.',
      user_banned: 'This account is blocked. Ask an administrator.',
      user_gone: 'This account does not exist any more.'
    }
  },
  confirm: {
    title: 'Confirm that it is you',
    why: 'What you are about to do needs a sign-in of the last ten minutes.',
    submit: 'Confirm'
  },
  signUp: {
    title: 'Create an account',
    submit: 'Create the account',
    haveAccount: 'You have an account?',
    closed: 'New accounts are made by an administrator here.'
  },
  signOut: {
    title: 'Sign out',
    question: ({ email }: { email: string }): string => `You are signed in as ${email}.`,
    done: 'You are signed out',
    again: 'Sign in again'
  },
  secondFactor: {
    title: 'Second factor',
    code: 'Code from your app',
    codeHint: 'Six digits. They change every 30 seconds.',
    backupCode: 'Backup code',
    backupCodeHint: 'One of the codes that you kept. Each works once.',
    trust: 'Do not ask on this device for 30 days',
    trustHint: 'Only on a device that nobody else uses.',
    submit: 'Go on',
    useBackup: 'Use a backup code',
    useApp: 'Use the code of the app',
    startAgain: 'Start again'
  },
  account: {
    title: 'Your account',
    saved: 'Saved.',
    impersonated: 'You are acting in this account as an administrator.',
    stopImpersonating: 'Back to your own account',
    image: 'Image',
    imageHint:
      'The address of an image, beginning with https. Leave it empty to show your initials.',
    imageWrong: 'This is not an address that begins with http or https.',
    language: 'Language of these pages'
  },
  remove: {
    title: 'Delete the account',
    what: 'Your account is deleted, and you are signed out on every device.',
    final: 'Nobody can undo this.',
    begin: 'Delete the account …',
    submit: 'Delete the account for good',
    done: 'Your account is deleted',
    doneMore: 'You are signed out everywhere.'
  },
  security: {
    title: 'Security',
    password: 'Password',
    passwordWhat: 'A new password signs you out on all other devices.',
    currentPassword: 'Current password',
    newPassword: 'New password',
    changePassword: 'Change the password',
    passwordChanged: 'Your password is changed. You are signed out on all other devices.',
    factorWhat:
      'With a second factor, a password alone is not enough to sign in: an app on your phone shows a code.',
    factorIsOn: 'It is on. A sign-in asks for the code of your app.',
    factorIsOff: 'The second factor is off.',
    factorOn: 'The second factor is on. Keep these codes before you go on.',
    turnOn: 'Turn it on',
    turnOff: 'Turn it off',
    turnOffTitle: 'Turn the second factor off',
    backupCodes: 'Backup codes',
    newCodes: 'These are your new codes. The old ones do not work any more.',
    newCodesWhat: 'New codes replace the ones that you have.',
    makeCodes: 'Make new codes',
    codesWhat:
      'Each code works once, when you do not have your phone. They are shown only now: print them, or put them into a password manager.',
    codesKept: 'I have kept them',
    enrol: 'Connect your app',
    scan: 'Scan this code with an authenticator app.',
    qrCode: 'QR code for the authenticator app',
    typeSecret: 'Or type this into the app:',
    firstCode: 'Enter the code that the app shows, so that we know it works.',
    events: 'What happened to your account'
  },
  sessions: {
    title: 'Your devices',
    active: 'Signed in',
    ended: 'Ended',
    thisDevice: 'This device',
    impersonation: 'An administrator',
    unknownDevice: 'Unknown device',
    began: 'Signed in',
    lastUsed: 'last used',
    end: 'Sign out there',
    more: 'More devices',
    endOthers: 'Sign out on all other devices',
    ifNotYou:
      'If that was not you, change your password, and look whether you know all of your devices.',
    name: 'Name of the device',
    nameHint: 'What you call it. Leave it empty to show what the browser says.',
    renamed: 'Saved.',
    events: 'What happened to it',
    back: 'All devices',
    count: ({ count }: { count: number }): string =>
      count === 1 ? '1 device' : `${count} devices`,
    done: {
      one: 'That device is signed out.',
      others: 'All other devices are signed out.'
    }
  },
  devices: {
    on: ({ program, system }: { program: string; system: string }): string =>
      `${program} on ${system}`,
    apple: 'an Apple device',
    unknownProgram: 'Unknown program'
  },
  ends: {
    expired: 'Ended because its time was over',
    signed_out: 'Signed out',
    signed_in_again: 'Ended by a new sign-in in the same browser',
    revoked_by_user: 'Signed out from another device',
    revoked_by_admin: 'Ended by an administrator',
    revoked_by_operator: 'Ended by the operator of this server',
    password_changed: 'Ended because the password was changed',
    sign_in_failed: 'The sign-in was not completed',
    second_factor_pending: 'Waited for the second factor',
    second_factor_changed: 'Ended because the second factor was changed',
    impersonation_ended: 'The administrator stopped acting in this account',
    user_banned: 'Ended because the account was blocked',
    user_deleted: 'Ended because the account was deleted',
    refresh_reused: 'Ended because a copy of its sign-in was used elsewhere',
    session_cap: 'Ended to make room for a newer sign-in',
    source_ended: 'Ended together with the session from which it began',
    address_proven: 'Ended because the owner of the mailbox confirmed the address',
    not_me: 'Ended by “this was not me” in a mail'
  },
  endOther: ({ reason }: { reason: string }): string => `Ended (${reason})`,
  sessionEvents: {
    created: 'Signed in',
    new_network: 'Used from another network',
    refresh_replayed: 'The app repeated a request whose answer it had not received',
    refresh_reused: 'A copy of the sign-in was used',
    reauthenticated: 'Confirmed again'
  },
  accountEvents: {
    sign_in_failed: 'A sign-in failed',
    reauthentication_failed: 'A confirmation failed',
    user_created: 'The account was created',
    user_deleted: 'The account was deleted',
    user_erased: 'The person was erased',
    user_exported: 'The data of the account was exported',
    user_banned: 'The account was blocked',
    user_unbanned: 'The account is not blocked any more',
    role_changed: 'The roles were changed',
    profile_changed: 'The profile was changed',
    email_changed: 'The e-mail address was changed',
    email_verified: 'The e-mail address was verified',
    password_set: 'A password was set',
    password_changed: 'The password was changed',
    password_reset: 'The password was reset by mail',
    sign_in_method_added: 'A way to sign in was added',
    sign_in_method_removed: 'A way to sign in was removed',
    second_factor_added: 'The second factor was turned on',
    second_factor_removed: 'The second factor was turned off',
    backup_codes_made: 'Backup codes were made',
    backup_code_used: 'A backup code was used',
    sessions_revoked: 'Devices were signed out',
    impersonation_begun: 'An administrator began to act in this account',
    impersonation_ended: 'The administrator stopped acting in this account',
    gateway_created: 'A gateway was created',
    gateway_secret_rotated: 'A gateway got a new secret',
    gateway_disabled: 'A gateway was disabled',
    signing_key_rotated: 'The signing key was rotated'
  },
  attemptCauses: {
    wrong_password: 'wrong password',
    user_unknown: 'no such account',
    user_banned: 'the account is blocked',
    email_not_verified: 'the address is not verified',
    rate_limited: 'too many attempts',
    too_many_sessions: 'too many devices',
    credential_changed: 'the password was changed meanwhile',
    wrong_code: 'wrong code',
    second_factor_locked: 'too many wrong codes',
    ban_expired: 'the block ended'
  },
  actors: {
    administrator: 'by an administrator',
    operator: 'by the operator'
  },
  errors: {
    form_expired:
      'This form was open for too long, or in another session. Nothing was changed. Check it, and send it again.',
    rate_limited: ({ minutes }: { minutes: number }): string =>
      minutes === 1
        ? 'Too many attempts. Try again in a minute.'
        : `Too many attempts. Try again in ${minutes} minutes.`,
    too_many_sessions:
      'You are signed in on as many devices as are allowed. Sign out on one of them first.',
    no_cookies:
      'Your browser did not send our cookie. Allow cookies for this site, and send it again.',
    unavailable:
      'Our store did not answer. We do not know whether this was done: look before you try again.',
    internal:
      'Something went wrong on our side. We do not know whether this was done: look before you try again.',
    refused: 'This was not accepted. Nothing was changed.'
  },
  codes: {
    ...enMailCodes,
    invalid_email: 'This is not an e-mail address.',
    invalid_email_or_password: 'E-mail address or password is wrong.',
    invalid_password: 'The password is wrong.',
    invalid_code: 'The code is wrong.',
    invalid_backup_code: 'The backup code is wrong, or was used before.',
    password_too_short: 'The password needs at least 8 characters.',
    password_too_long: 'The password may have at most 128 characters.',
    password_too_common: 'This password is one of the first that are tried. Choose another one.',
    user_already_exists: 'There is an account with this address. Sign in.',
    user_already_exists_use_another_email: 'There is an account with this address. Sign in.',
    banned_user: 'This account is blocked. Ask an administrator.',
    user_banned: 'This account is blocked. Ask an administrator.',
    session_revoked: 'You have been signed out meanwhile.',
    right_changed: 'Your rights changed meanwhile. Nothing was changed.',
    role_missing: 'You may not do that.',
    overloaded: 'Too many people are signing in at this moment. Nothing was changed. Try again.',
    invalid_input: 'This cannot be saved. Nothing was changed.',
    you_cannot_ban_yourself: 'You cannot block yourself.',
    you_cannot_remove_yourself: 'You cannot erase yourself here.'
  },
  mail: enMail,
  pageErrors: {
    title: 'This did not work',
    more: 'What you tried was not accepted. Begin again at the start page.',
    not_found: 'There is no such page',
    notFoundMore: 'The address may be wrong, or what was there is gone.',
    unavailable: 'We cannot look that up at the moment',
    unavailableMore: 'If you were signed in, you still are. Try again in a moment.',
    forbidden: 'You may not see this page',
    forbiddenMore: 'It is for administrators.',
    foreign: 'This form was sent from another address',
    foreignMore: ({ origin }: { origin: string }): string =>
      `Nothing was changed. Open the page at ${origin} and try again.`,
    rateLimited: 'Too many requests',
    internalMore: 'Something went wrong on our side.',
    requestId: ({ id }: { id: string }): string => `Number of the request, for the support: ${id}`,
    home: 'To the start page',
    again: 'Try again'
  },
  admin: {
    users: 'Users',
    search: 'Find',
    searchLabel: 'Name, e-mail address or id',
    none: 'Nobody was found.',
    more: 'More users',
    banned: 'blocked',
    id: 'Id',
    created: 'Created',
    verified: 'verified',
    notVerified: 'not verified',
    factor: 'Second factor',
    on: 'on',
    off: 'off',
    roles: 'Roles',
    rolesHint: 'Separated by commas.',
    roleWrong:
      'There is no such role. There are user, admin, and those that the setting ROLES names.',
    saveRoles: 'Save the roles',
    ban: 'Block',
    banTitle: 'Block the account',
    banWhat: 'The person is signed out everywhere and cannot sign in.',
    banReason: 'Reason',
    banReasonHint: 'For administrators. The person does not see it.',
    banUntil: 'Until (UTC)',
    banUntilHint: 'Leave it empty to block without an end.',
    banUntilWrong: 'This is not a time in the future.',
    isBanned: 'This account is blocked.',
    isBannedUntil: 'Ends',
    unban: 'Unblock',
    endSession: 'End',
    endSessions: 'End all sessions',
    sessions: 'Sessions',
    events: 'What happened to the account',
    erase: 'Erase the person',
    eraseWhat:
      'Deletes the account, and everything that names the person: addresses, devices, names in the events. Nobody can undo this.',
    eraseConfirm: 'Type the e-mail address to confirm',
    eraseWrong: 'This is not the e-mail address of the account.',
    erased: 'The person is erased.',
    erasing: 'The erasure has begun. It ends in the background.',
    sendPassword: 'Send a mail to set a new password',
    sendPasswordWhat:
      'The person sets a password with it, and is signed out on every device. Until then nothing changes.',
    passwordSent: 'The mail is on its way, unless one was sent within the last minute.',
    saved: 'Saved.',
    ended: 'Ended.',
    eventsTitle: 'Events',
    kind: 'Kind',
    allKinds: 'All kinds',
    show: 'Show',
    who: 'Account',
    whoHint: 'An e-mail address or an id. Leave it empty to show all accounts.',
    backToUser: 'Back to the user',
    gone: 'This account does not exist any more. Its sessions and events are kept for a while.'
  },
  firstAdministrator: {
    title: 'Become the administrator',
    what: ({ email }: { email: string }): string =>
      `You are signed in as ${email}. Make this account the administrator of this server?`,
    submit: 'Make me the administrator',
    expired: 'This link does not work any more',
    expiredMore:
      'It works once, for 15 minutes, and only while there is no administrator. The operator of the server makes a new one by starting it again, or on the command line.'
  }
}
