import type { enMail, enMailCodes } from './en-mail.js'

/** The texts of the pages that lead through a mailbox, in German. */
export const deMail: typeof enMail = {
  checkMail: 'Sehen Sie in Ihre Mails',
  code: 'Code aus der Mail',
  codeHint: 'Sechs Ziffern. Der Code gilt nur in diesem Browser. In einem anderen gilt der Link.',
  sendAgain: 'Mail noch einmal senden',
  sentAgain: 'Die Mail ist unterwegs, falls nicht schon in der letzten Minute eine gesendet wurde.',
  otherAddress: 'Eine andere Adresse benutzen',
  notThere: 'Keine Mail? Sehen Sie im Spam-Ordner nach, oder prüfen Sie die Adresse.',
  asked: {
    intro:
      'Dieser Link wurde in einem anderen Browser angefordert. Machen Sie nur weiter, wenn Sie davon wissen.',
    account: 'Konto',
    device: 'Gerät',
    from: 'Netzadresse',
    at: 'Wann'
  },
  dead: {
    title: 'Dieser Link gilt nicht mehr',
    more: 'Ein Link gilt einmal, und nur eine Weile. Mit ihm enden auch frühere Links.',
    enterCode: 'Den Code einer Mail eingeben'
  },
  other: {
    title: 'Sie sind in einem anderen Konto angemeldet',
    what: ({ email, other }: { email: string; other: string }): string =>
      `Sie sind als ${email} angemeldet. Hier geht es um das Konto ${other}. Es ist noch nichts geschehen.`,
    switch: 'Konto wechseln',
    switchMore: 'Sie werden zuerst abgemeldet. Dann geht es hier weiter.',
    stay: 'Angemeldet bleiben'
  },
  done: {
    reset:
      'Ihr neues Passwort ist gesetzt, und Sie sind auf allen Geräten abgemeldet. Melden Sie sich damit an.',
    verified: 'Ihre Adresse ist bestätigt. Melden Sie sich an.',
    email_changed: 'Die Adresse Ihres Kontos ist geändert. Melden Sie sich mit der neuen an.'
  },
  accountDone: {
    reset: 'Das neue Passwort ist gesetzt.',
    verified: 'Ihre Adresse ist bestätigt.',
    email_changed: 'Die Adresse Ihres Kontos ist geändert.'
  },
  forgot: {
    link: 'Passwort vergessen?',
    title: 'Passwort vergessen',
    what: 'Wir senden eine Mail an Ihre Adresse. Damit setzen Sie ein neues Passwort.',
    submit: 'Mail senden',
    sent: ({ email }: { email: string }): string =>
      `Wenn es ein Konto mit ${email} gibt, ist eine Mail unterwegs. Öffnen Sie den Link darin, oder geben Sie ihren Code hier ein.`
  },
  reset: {
    title: 'Neues Passwort setzen',
    what: 'Ein neues Passwort meldet Sie auf allen Geräten ab.',
    submit: 'Passwort setzen',
    again: 'Einen neuen Link anfordern'
  },
  verify: {
    title: 'Adresse bestätigen',
    ask: 'Wir senden eine Mail an Ihre Adresse. Damit bestätigen Sie, dass sie Ihnen gehört.',
    what: ({ email }: { email: string }): string => `Ist ${email} Ihre Adresse?`,
    submit: 'Bestätigen',
    sent: ({ email }: { email: string }): string =>
      `Wenn ${email} noch zu bestätigen ist, ist eine Mail unterwegs. Öffnen Sie den Link darin, oder geben Sie ihren Code hier ein.`,
    ways: 'Das Konto wurde in einem anderen Browser angelegt. Darum fragen wir, von wem.',
    known: 'Ich habe mich hier registriert',
    knownWhat: 'Geben Sie das Passwort ein, das Sie gewählt haben.',
    knownPassword: 'Passwort der Registrierung',
    new: 'Ich war das nicht, oder ich weiß es nicht mehr',
    newWhat:
      'Setzen Sie ein neues Passwort. Alles Ältere endet: andere Passwörter, Anmeldungen und Wege zur Anmeldung.',
    again: 'Eine neue Mail anfordern',
    toSignIn: 'Zur Anmeldung',
    banner: 'Ihre Adresse ist noch nicht bestätigt.',
    enterCode: 'Code eingeben',
    unverified: 'Wir senden Ihnen eine Mail, mit der Sie Ihre Adresse bestätigen.'
  },
  signInCode: {
    link: 'Mit einem Code per Mail anmelden',
    title: 'Anmelden per Mail',
    what: 'Wir senden eine Mail mit einem Code und einem Link. Mit beiden können Sie sich anmelden.',
    submit: 'Mail senden',
    sent: ({ email }: { email: string }): string =>
      `Wenn Sie sich mit ${email} anmelden können, ist eine Mail unterwegs. Geben Sie ihren Code hier ein, oder öffnen Sie ihren Link.`,
    signIn: 'Anmelden',
    byLink: ({ email }: { email: string }): string => `In diesem Browser als ${email} anmelden?`,
    again: 'Eine neue Mail anfordern',
    byPassword: 'Mit dem Passwort anmelden',
    confirm: ({ email }: { email: string }): string =>
      `Sie haben hier kein Passwort. Wir senden einen Code an ${email}.`
  },
  notMe: {
    title: 'Das war ich nicht',
    what: ({ email }: { email: string }): string =>
      `Das Konto ${email} wird auf allen Geräten abgemeldet. Wenn die Mail von einer neuen Adresse berichtet, kommt die alte zurück. Wenn sie von einem zweiten Faktor berichtet, wird er entfernt. Dann senden wir eine Mail, mit der Sie ein neues Passwort setzen.`,
    submit: 'Das war ich nicht',
    done: 'Das Konto ist vorerst sicher',
    doneWhat:
      'Es ist auf allen Geräten abgemeldet. Wovon die Mail berichtet hat, ist rückgängig gemacht: eine neue Adresse oder ein zweiter Faktor.',
    mailed:
      'Eine Mail ist unterwegs, mit der Sie ein neues Passwort setzen. Tun Sie das als Nächstes.',
    notMailed: 'Setzen Sie als Nächstes ein neues Passwort.',
    deadMore:
      'Er gilt einmal, 72 Stunden lang. Wenn jemand anderes Ihr Konto benutzen kann: Setzen Sie ein neues Passwort. Das meldet alle Geräte ab.'
  },
  changeEmail: {
    begin: 'E-Mail-Adresse ändern …',
    title: 'E-Mail-Adresse ändern',
    current: ({ email }: { email: string }): string => `Die Adresse ist ${email}.`,
    newEmail: 'Neue E-Mail-Adresse',
    submit: 'Weiter',
    checkOld: 'Sehen Sie in die Mails der alten Adresse',
    checkNew: 'Sehen Sie in die Mails der neuen Adresse',
    sentOld: ({ email, newEmail }: { email: string; newEmail: string }): string =>
      `Wir haben eine Mail an ${email} gesendet. Geben Sie ihren Code ein, oder öffnen Sie ihren Link, um die Adresse in ${newEmail} zu ändern.`,
    sentNew: ({ newEmail }: { newEmail: string }): string =>
      `Wir haben eine Mail an ${newEmail} gesendet. Geben Sie ihren Code ein, oder öffnen Sie ihren Link. Dann ist die Adresse geändert.`,
    usedLink: 'Ich habe den Link geöffnet',
    again: 'Von vorn beginnen',
    confirm: ({ email, newEmail }: { email: string; newEmail: string }): string =>
      `Soll die Adresse Ihres Kontos von ${email} in ${newEmail} geändert werden?`,
    confirmSubmit: 'Adresse ändern',
    confirmed: 'Bestätigt. Die Adresse ändert sich mit der Mail an die neue.',
    verify: ({ newEmail }: { newEmail: string }): string => `Ist ${newEmail} Ihre neue Adresse?`,
    toAccount: 'Zu Ihrem Konto'
  }
}

/** What the codes of the API mean that are about mails, in German. */
export const deMailCodes: typeof enMailCodes = {
  invalid_otp: 'Der Code ist falsch oder abgelaufen.',
  too_many_attempts:
    'Zu viele Codes waren falsch. Öffnen Sie den Link in der Mail, oder fordern Sie eine neue an.',
  invalid_token: 'Dieser Link gilt nicht mehr.',
  password_needed: 'Bitte sagen Sie, wer das Konto angelegt hat.',
  email_not_verified: 'Ihre E-Mail-Adresse ist noch nicht bestätigt.',
  email_is_the_same: 'Das ist schon die Adresse des Kontos.',
  email_mismatch: 'Sie sind mit einer anderen Adresse angemeldet.',
  email_already_verified: 'Ihre Adresse ist schon bestätigt.'
}
