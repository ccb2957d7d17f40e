import type { MailDictionary } from './texts.js'

const notAsked = 'If you did not ask for this, you need not do anything.'
const signsOut =
  'It signs you out on every device, and sends you a mail with which you set a new password.'
const notMe = `If that was not you, choose “This was not me”. ${signsOut}`

/** The texts of the mails in English. */
export const en: MailDictionary = {
  kinds: {
    verify: {
      subject: ({ brand }) => `Confirm your address at ${brand}`,
      what: ({ brand }) =>
        `Somebody, probably you, gave this e-mail address for an account at ${brand}.`,
      next: 'Confirm that the address is yours.',
      action: 'Confirm the address',
      notYou: notAsked,
      notMe: null
    },
    reset: {
      subject: ({ brand }) => `Set a new password at ${brand}`,
      what: ({ brand }) =>
        `Somebody, probably you, asked to set a new password for your account at ${brand}.`,
      next: 'A new password signs you out on every device.',
      action: 'Set a new password',
      notYou: `${notAsked} Your password stays as it is.`,
      notMe: null
    },
    invitation: {
      subject: ({ brand }) => `Your account at ${brand}`,
      what: ({ brand }) => `An account was made for you at ${brand}.`,
      next: 'Set a password to use it.',
      action: 'Set a password',
      notYou: 'If you did not expect this, you need not do anything.',
      notMe: null
    },
    'sign-in': {
      subject: ({ brand }) => `Sign in at ${brand}`,
      what: ({ brand }) =>
        `Somebody, probably you, asked to sign in at ${brand} with this address.`,
      next: null,
      action: 'Sign in',
      notYou: `${notAsked} The sign-in does not go on without this mail.`,
      notMe: null
    },
    'change-confirm': {
      subject: ({ brand }) => `Confirm your new address at ${brand}`,
      what: ({ brand }) =>
        `Somebody who is signed in to your account at ${brand} asked to change its e-mail address.`,
      next: 'Confirm it, if you want that.',
      action: 'Confirm the change',
      notYou:
        'If you did not ask for this, somebody else is signed in to your account. Do not confirm it, and change your password.',
      notMe: `If you did not ask for this, somebody else is signed in to your account. Do not confirm it, and choose “This was not me”. ${signsOut}`
    },
    'change-verify': {
      subject: ({ brand }) => `Confirm this address at ${brand}`,
      what: ({ brand }) =>
        `Somebody, probably you, wants to use this e-mail address for an account at ${brand}.`,
      next: 'Confirm that the address is yours.',
      action: 'Confirm the address',
      notYou: notAsked,
      notMe: null
    },
    'already-account': {
      subject: ({ brand }) => `You have an account at ${brand} already`,
      what: ({ brand }) =>
        `Somebody, perhaps you, wanted to use this e-mail address for another account at ${brand}. There is an account with this address already. Sign in with it. If you have forgotten its password, set a new one.`,
      next: null,
      action: 'Sign in',
      notYou: 'If that was not you, you need not do anything.',
      notMe: null
    },
    'password-changed': {
      subject: ({ brand }) => `Your password at ${brand} was changed`,
      what: ({ brand }) => `The password of your account at ${brand} was changed.`,
      next: null,
      action: 'See your account',
      notYou: 'If that was not you, change your password.',
      notMe
    },
    'email-changed': {
      subject: ({ brand }) => `Your address at ${brand} was changed`,
      what: ({ brand }) => `The e-mail address of your account at ${brand} was changed.`,
      next: null,
      action: 'See your account',
      notYou: 'If that was not you, change the address back, and change your password.',
      notMe:
        'If that was not you, choose “This was not me”. It gives the account its old address back, signs you out on every device, and sends you a mail with which you set a new password.'
    },
    'factor-added': {
      subject: ({ brand }) => `A second factor was added to your account at ${brand}`,
      what: ({ brand }) =>
        `From now on, signing in to your account at ${brand} takes the second factor, too.`,
      next: null,
      action: 'See your account',
      notYou: 'If that was not you, change your password, and remove the second factor.',
      notMe:
        'If that was not you, choose “This was not me”. It removes the second factor, signs you out on every device, and sends you a mail with which you set a new password.'
    },
    'factor-removed': {
      subject: ({ brand }) => `The second factor of your account at ${brand} was removed`,
      what: ({ brand }) =>
        `Signing in to your account at ${brand} no longer takes a second factor.`,
      next: null,
      action: 'See your account',
      notYou: 'If that was not you, change your password, and add the second factor again.',
      notMe
    },
    'passkey-added': {
      subject: ({ brand }) => `A passkey was added to your account at ${brand}`,
      what: ({ brand }) => `The passkey can be used to sign in to your account at ${brand}.`,
      next: null,
      action: 'See your account',
      notYou: 'If that was not you, change your password, and remove the passkey.',
      notMe
    },
    'passkey-removed': {
      subject: ({ brand }) => `A passkey of your account at ${brand} was removed`,
      what: ({ brand }) =>
        `The passkey can no longer be used to sign in to your account at ${brand}.`,
      next: null,
      action: 'See your account',
      notYou: 'If that was not you, change your password.',
      notMe
    },
    'new-device': {
      subject: ({ brand }) => `A new device signed in at ${brand}`,
      what: ({ brand }) =>
        `A device signed in to your account at ${brand} for the first time. If that was you, you need not do anything.`,
      next: null,
      action: 'See your devices',
      notYou: 'If that was not you, change your password.',
      notMe
    },
    'refresh-reused': {
      subject: ({ brand }) => `A device was signed out at ${brand}`,
      what: ({ brand }) =>
        `We signed a device out of your account at ${brand}, because a copy of its sign-in was used. Sign in there again.`,
      next: null,
      action: 'See your devices',
      notYou: 'If somebody else may have used your account, change your password.',
      notMe: `If somebody else may have used your account, choose “This was not me”. ${signsOut}`
    },
    test: {
      subject: ({ brand }) => `A test mail of ${brand}`,
      what: ({ brand }) =>
        `This mail was sent to find out whether ${brand} can send mail. It can. You need not do anything.`,
      next: null,
      action: 'Open the server',
      notYou: null,
      notMe: null
    }
  },
  facts: {
    account: 'Account',
    newEmail: 'New address',
    at: 'When',
    device: 'Device',
    from: 'Network address'
  },
  device: {
    on: ({ program, system }) => `${program} on ${system}`,
    onApple: ({ program }) => `${program} on an Apple device`,
    apple: 'an Apple device'
  },
  validUntil: {
    link: ({ time }) => `The link works once, until ${time}.`,
    code: ({ time }) => `The code works once, until ${time}.`,
    both: ({ time }) =>
      `The link and the code work once, until ${time}. You need only one of them.`,
    notMe: ({ time }) => `This works once, until ${time}.`
  },
  code: 'Type this code where you began:',
  orCode: 'Or type this code where you began:',
  keepCode: 'Do not give the code to anyone. We never ask for it.',
  button: 'If the button does not work, open this address:',
  notMe: 'This was not me',
  footer: ({ brand }) => `Sent by ${brand}`,
  time: ({ day, hour }) => `${day}, ${hour} UTC`
}
