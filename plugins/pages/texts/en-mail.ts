/** The texts of the pages that lead through a mailbox, in English. */
export const enMail = {
  checkMail: 'Check your mail',
  code: 'Code from the mail',
  codeHint: 'Six digits. The code works only in this browser. In another one, use the link.',
  sendAgain: 'Send the mail again',
  sentAgain: 'The mail is on its way, unless one was sent within the last minute.',
  otherAddress: 'Use another address',
  notThere: 'No mail? Look into the folder for spam, or check the address.',
  asked: {
    intro: 'This link was asked for in another browser. Go on only if you know of it.',
    account: 'Account',
    device: 'Device',
    from: 'Network address',
    at: 'When'
  },
  dead: {
    title: 'This link does not work any more',
    more: 'A link works once, and only for a while. Links that were sent earlier end with it.',
    enterCode: 'Enter the code of a mail'
  },
  other: {
    title: 'You are signed in to another account',
    what: ({ email, other }: { email: string; other: string }): string =>
      `You are signed in as ${email}. This is about the account ${other}. Nothing has happened yet.`,
    switch: 'Switch account',
    switchMore: 'You are signed out first. Then you go on from here.',
    stay: 'Stay signed in'
  },
  done: {
    reset: 'Your new password is set, and you are signed out on every device. Sign in with it.',
    verified: 'Your address is confirmed. Sign in.',
    email_changed: 'The address of your account is changed. Sign in with the new one.'
  },
  accountDone: {
    reset: 'The new password is set.',
    verified: 'Your address is confirmed.',
    email_changed: 'The address of your account is changed.'
  },
  forgot: {
    link: 'Forgot your password?',
    title: 'Forgot your password',
    what: 'We send a mail to your address. With it you set a new password.',
    submit: 'Send the mail',
    sent: ({ email }: { email: string }): string =>
      `If there is an account with ${email}, a mail is on its way. Open the link in it, or enter its code here.`
  },
  reset: {
    title: 'Set a new password',
    what: 'A new password signs you out on every device.',
    submit: 'Set the password',
    again: 'Ask for a new link'
  },
  verify: {
    title: 'Confirm your address',
    ask: 'We send a mail to your address. With it you confirm that the address is yours.',
    what: ({ email }: { email: string }): string => `Is ${email} your address?`,
    submit: 'Confirm',
    sent: ({ email }: { email: string }): string =>
      `If ${email} is still to be confirmed, a mail is on its way. Open the link in it, or enter its code here.`,
    ways: 'This is not the browser in which the account was made. So we ask who made it.',
    known: 'I signed up here',
    knownWhat: 'Enter the password that you chose.',
    knownPassword: 'Password of the sign-up',
    new: 'I did not sign up, or do not remember it',
    newWhat:
      'Set a new password. Everything older ends: other passwords, sign-ins, and ways to sign in.',
    again: 'Ask for a new mail',
    toSignIn: 'To the sign-in',
    banner: 'Your address is not confirmed yet.',
    enterCode: 'Enter the code',
    unverified: 'We send you a mail, with which you confirm your address.'
  },
  signInCode: {
    link: 'Sign in with a code by mail',
    title: 'Sign in by mail',
    what: 'We send a mail with a code and a link. You sign in with either.',
    submit: 'Send the mail',
    sent: ({ email }: { email: string }): string =>
      `If you can sign in with ${email}, a mail is on its way. Enter its code here, or open its link.`,
    signIn: 'Sign in',
    byLink: ({ email }: { email: string }): string => `Sign in as ${email} in this browser?`,
    again: 'Ask for a new mail',
    byPassword: 'Sign in with the password',
    confirm: ({ email }: { email: string }): string =>
      `You have no password here. We send a code to ${email}.`
  },
  notMe: {
    title: 'This was not me',
    what: ({ email }: { email: string }): string =>
      `The account ${email} is signed out on every device. If the mail told you of a new address, the old one comes back. If it told you of a second factor, that is removed. Then we send a mail, with which you set a new password.`,
    submit: 'That was not me',
    done: 'The account is safe for now',
    doneWhat:
      'It is signed out on every device. What the mail told you of is undone: a new address, or a second factor.',
    mailed: 'A mail is on its way, with which you set a new password. Do that next.',
    notMailed: 'Set a new password next.',
    deadMore:
      'It works once, for 72 hours. If somebody else may use your account, set a new password: that signs out every device.'
  },
  changeEmail: {
    begin: 'Change the e-mail address …',
    title: 'Change the e-mail address',
    current: ({ email }: { email: string }): string => `The address is ${email}.`,
    newEmail: 'New e-mail address',
    submit: 'Go on',
    checkOld: 'Check the mail at the old address',
    checkNew: 'Check the mail at the new address',
    sentOld: ({ email, newEmail }: { email: string; newEmail: string }): string =>
      `We have sent a mail to ${email}. Enter its code, or open its link, to change the address to ${newEmail}.`,
    sentNew: ({ newEmail }: { newEmail: string }): string =>
      `We have sent a mail to ${newEmail}. Enter its code, or open its link. Then the address is changed.`,
    usedLink: 'I have opened the link',
    again: 'Begin again',
    confirm: ({ email, newEmail }: { email: string; newEmail: string }): string =>
      `Do you want to change the address of your account from ${email} to ${newEmail}?`,
    confirmSubmit: 'Change the address',
    confirmed: 'Confirmed. The address changes with the mail at the new one.',
    verify: ({ newEmail }: { newEmail: string }): string => `Is ${newEmail} your new address?`,
    toAccount: 'To your account'
  }
}

/** What the codes of the API mean that are about mails, in English. */
export const enMailCodes = {
  invalid_otp: 'The code is wrong, or has expired.',
  too_many_attempts: 'Too many codes were wrong. Open the link in the mail, or ask for a new one.',
  invalid_token: 'This link does not work any more.',
  password_needed: 'Please say who made the account.',
  email_not_verified: 'Your e-mail address is not confirmed yet.',
  email_is_the_same: 'This is the address of the account already.',
  email_mismatch: 'You are signed in with another address.',
  email_already_verified: 'Your address is confirmed already.'
}
