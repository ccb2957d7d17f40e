import type { MailDictionary } from './texts.js'

const notAsked = 'Wenn Sie das nicht veranlasst haben, brauchen Sie nichts zu tun.'
const signsOut =
  'Das meldet Sie auf allen Geräten ab und sendet Ihnen eine Mail, mit der Sie ein neues Passwort setzen.'
const notMe = `Wenn Sie das nicht waren, wählen Sie „Das war ich nicht“. ${signsOut}`

/** The texts of the mails in German. */
export const de: MailDictionary = {
  kinds: {
    verify: {
      subject: ({ brand }) => `Bestätigen Sie Ihre Adresse bei ${brand}`,
      what: ({ brand }) =>
        `Jemand, vermutlich Sie, hat diese E-Mail-Adresse für ein Konto bei ${brand} angegeben.`,
      next: 'Bestätigen Sie, dass die Adresse Ihnen gehört.',
      action: 'Adresse bestätigen',
      notYou: notAsked,
      notMe: null
    },
    reset: {
      subject: ({ brand }) => `Setzen Sie ein neues Passwort bei ${brand}`,
      what: ({ brand }) =>
        `Jemand, vermutlich Sie, möchte ein neues Passwort für Ihr Konto bei ${brand} setzen.`,
      next: 'Ein neues Passwort meldet Sie auf allen Geräten ab.',
      action: 'Neues Passwort setzen',
      notYou: `${notAsked} Ihr Passwort bleibt, wie es ist.`,
      notMe: null
    },
    invitation: {
      subject: ({ brand }) => `Ihr Konto bei ${brand}`,
      what: ({ brand }) => `Bei ${brand} wurde ein Konto für Sie angelegt.`,
      next: 'Setzen Sie ein Passwort, um es zu benutzen.',
      action: 'Passwort setzen',
      notYou: 'Wenn Sie das nicht erwartet haben, brauchen Sie nichts zu tun.',
      notMe: null
    },
    'sign-in': {
      subject: ({ brand }) => `Anmelden bei ${brand}`,
      what: ({ brand }) =>
        `Jemand, vermutlich Sie, möchte sich mit dieser Adresse bei ${brand} anmelden.`,
      next: null,
      action: 'Anmelden',
      notYou: `${notAsked} Ohne diese Mail geht die Anmeldung nicht weiter.`,
      notMe: null
    },
    'change-confirm': {
      subject: ({ brand }) => `Bestätigen Sie Ihre neue Adresse bei ${brand}`,
      what: ({ brand }) =>
        `Jemand, der in Ihrem Konto bei ${brand} angemeldet ist, möchte dessen E-Mail-Adresse ändern.`,
      next: 'Bestätigen Sie es, wenn Sie das möchten.',
      action: 'Änderung bestätigen',
      notYou:
        'Wenn Sie das nicht veranlasst haben, ist jemand anders in Ihrem Konto angemeldet. Bestätigen Sie es nicht, und ändern Sie Ihr Passwort.',
      notMe: `Wenn Sie das nicht veranlasst haben, ist jemand anders in Ihrem Konto angemeldet. Bestätigen Sie es nicht, und wählen Sie „Das war ich nicht“. ${signsOut}`
    },
    'change-verify': {
      subject: ({ brand }) => `Bestätigen Sie diese Adresse bei ${brand}`,
      what: ({ brand }) =>
        `Jemand, vermutlich Sie, möchte diese E-Mail-Adresse für ein Konto bei ${brand} benutzen.`,
      next: 'Bestätigen Sie, dass die Adresse Ihnen gehört.',
      action: 'Adresse bestätigen',
      notYou: notAsked,
      notMe: null
    },
    'already-account': {
      subject: ({ brand }) => `Sie haben schon ein Konto bei ${brand}`,
      what: ({ brand }) =>
        `Jemand, vielleicht Sie, wollte diese E-Mail-Adresse für ein anderes Konto bei ${brand} benutzen. Mit dieser Adresse gibt es schon ein Konto. Melden Sie sich damit an. Wenn Sie das Passwort vergessen haben, setzen Sie ein neues.`,
      next: null,
      action: 'Anmelden',
      notYou: 'Wenn Sie das nicht waren, brauchen Sie nichts zu tun.',
      notMe: null
    },
    'password-changed': {
      subject: ({ brand }) => `Ihr Passwort bei ${brand} wurde geändert`,
      what: ({ brand }) => `Das Passwort Ihres Kontos bei ${brand} wurde geändert.`,
      next: null,
      action: 'Ihr Konto ansehen',
      notYou: 'Wenn Sie das nicht waren, ändern Sie Ihr Passwort.',
      notMe
    },
    'email-changed': {
      subject: ({ brand }) => `Ihre Adresse bei ${brand} wurde geändert`,
      what: ({ brand }) => `Die E-Mail-Adresse Ihres Kontos bei ${brand} wurde geändert.`,
      next: null,
      action: 'Ihr Konto ansehen',
      notYou:
        'Wenn Sie das nicht waren, machen Sie die Änderung rückgängig, und ändern Sie Ihr Passwort.',
      notMe:
        'Wenn Sie das nicht waren, wählen Sie „Das war ich nicht“. Das gibt dem Konto seine alte Adresse zurück, meldet Sie auf allen Geräten ab und sendet Ihnen eine Mail, mit der Sie ein neues Passwort setzen.'
    },
    'factor-added': {
      subject: ({ brand }) => `Ihr Konto bei ${brand} hat einen zweiten Faktor bekommen`,
      what: ({ brand }) => `Von nun an braucht die Anmeldung bei ${brand} auch den zweiten Faktor.`,
      next: null,
      action: 'Ihr Konto ansehen',
      notYou:
        'Wenn Sie das nicht waren, ändern Sie Ihr Passwort, und entfernen Sie den zweiten Faktor.',
      notMe:
        'Wenn Sie das nicht waren, wählen Sie „Das war ich nicht“. Das entfernt den zweiten Faktor, meldet Sie auf allen Geräten ab und sendet Ihnen eine Mail, mit der Sie ein neues Passwort setzen.'
    },
    'factor-removed': {
      subject: ({ brand }) => `Der zweite Faktor Ihres Kontos bei ${brand} wurde entfernt`,
      what: ({ brand }) => `Die Anmeldung bei ${brand} braucht keinen zweiten Faktor mehr.`,
      next: null,
      action: 'Ihr Konto ansehen',
      notYou:
        'Wenn Sie das nicht waren, ändern Sie Ihr Passwort, und richten Sie den zweiten Faktor wieder ein.',
      notMe
    },
    'passkey-added': {
      subject: ({ brand }) => `Ihr Konto bei ${brand} hat einen Passkey bekommen`,
      what: ({ brand }) => `Mit dem Passkey kann man sich bei ${brand} anmelden.`,
      next: null,
      action: 'Ihr Konto ansehen',
      notYou: 'Wenn Sie das nicht waren, ändern Sie Ihr Passwort, und entfernen Sie den Passkey.',
      notMe
    },
    'passkey-removed': {
      subject: ({ brand }) => `Ein Passkey Ihres Kontos bei ${brand} wurde entfernt`,
      what: ({ brand }) => `Mit dem Passkey kann man sich bei ${brand} nicht mehr anmelden.`,
      next: null,
      action: 'Ihr Konto ansehen',
      notYou: 'Wenn Sie das nicht waren, ändern Sie Ihr Passwort.',
      notMe
    },
    'new-device': {
      subject: ({ brand }) => `Anmeldung mit einem neuen Gerät bei ${brand}`,
      what: ({ brand }) =>
        `In Ihrem Konto bei ${brand} hat sich ein Gerät zum ersten Mal angemeldet. Wenn Sie das waren, brauchen Sie nichts zu tun.`,
      next: null,
      action: 'Ihre Geräte ansehen',
      notYou: 'Wenn Sie das nicht waren, ändern Sie Ihr Passwort.',
      notMe
    },
    'refresh-reused': {
      subject: ({ brand }) => `Ein Gerät wurde bei ${brand} abgemeldet`,
      what: ({ brand }) =>
        `Wir haben ein Gerät von Ihrem Konto bei ${brand} abgemeldet, weil eine Kopie seiner Anmeldung benutzt wurde. Melden Sie sich dort wieder an.`,
      next: null,
      action: 'Ihre Geräte ansehen',
      notYou: 'Wenn jemand anders Ihr Konto benutzt haben kann, ändern Sie Ihr Passwort.',
      notMe: `Wenn jemand anders Ihr Konto benutzt haben kann, wählen Sie „Das war ich nicht“. ${signsOut}`
    },
    test: {
      subject: ({ brand }) => `Eine Testmail von ${brand}`,
      what: ({ brand }) =>
        `Diese Mail wurde gesendet, um zu sehen, ob ${brand} Mails senden kann. Es geht. Sie brauchen nichts zu tun.`,
      next: null,
      action: 'Den Server öffnen',
      notYou: null,
      notMe: null
    }
  },
  facts: {
    account: 'Konto',
    newEmail: 'Neue Adresse',
    at: 'Wann',
    device: 'Gerät',
    from: 'Netzwerkadresse'
  },
  device: {
    on: ({ program, system }) =>
      /^iP(?:hone|ad)$/.test(system)
        ? `${program} auf dem ${system}`
        : `${program} unter ${system}`,
    onApple: ({ program }) => `${program} auf einem Apple-Gerät`,
    apple: 'ein Apple-Gerät'
  },
  validUntil: {
    link: ({ time }) => `Der Link gilt einmal, bis zum ${time}.`,
    code: ({ time }) => `Der Code gilt einmal, bis zum ${time}.`,
    both: ({ time }) =>
      `Link und Code gelten einmal, bis zum ${time}. Sie brauchen nur einen von beiden.`,
    notMe: ({ time }) => `Das geht einmal, bis zum ${time}.`
  },
  code: 'Geben Sie diesen Code dort ein, wo Sie begonnen haben:',
  orCode: 'Oder geben Sie diesen Code dort ein, wo Sie begonnen haben:',
  keepCode: 'Geben Sie den Code nicht weiter. Wir fragen nie danach.',
  button: 'Wenn der Knopf nicht geht, öffnen Sie diese Adresse:',
  notMe: 'Das war ich nicht',
  footer: ({ brand }) => `Gesendet von ${brand}`,
  time: ({ day, hour }) => `${day}, ${hour} Uhr UTC`
}
