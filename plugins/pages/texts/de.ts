import { deMail, deMailCodes } from './de-mail.js'
import type { Texts } from './texts.js'

/** The texts of the pages in German. */
export const de: Texts = {
  errorTitle: ({ title }: { title: string }): string => `Fehler: ${title}`,
  skip: 'Zum Inhalt',
  terms: 'Nutzungsbedingungen',
  privacy: 'Datenschutz',
  cancel: 'Abbrechen',
  save: 'Speichern',
  copy: 'Kopieren',
  copied: 'Kopiert',
  nextPage: 'Ältere Einträge',
  noEvents: 'Bisher nichts.',
  nothing: 'keine',
  pending:
    'Das ist erledigt. Ein Teil des Systems war noch nicht erreichbar. In wenigen Sekunden gilt es überall.',
  wrongFields: 'Bitte berichtigen Sie:',
  times: ({ count }: { count: number }): string => `${count}-mal`,
  fromTo: ({ from, to }: { from: string; to: string }): string => `von ${from} zu ${to}`,
  until: ({ time }: { time: string }): string => `bis ${time}`,
  fromAddress: ({ address }: { address: string }): string => `von ${address}`,
  nav: {
    label: 'Ihr Konto',
    account: 'Konto',
    security: 'Sicherheit',
    sessions: 'Geräte',
    users: 'Benutzer',
    events: 'Ereignisse',
    signOut: 'Abmelden'
  },
  fields: {
    email: 'E-Mail-Adresse',
    password: 'Passwort',
    passwordHint: 'Mindestens 8 Zeichen. Ein Satz merkt sich leichter als ein Wort.',
    name: 'Name'
  },
  onward: {
    title: 'Sie sind angemeldet',
    as: ({ email }: { email: string }): string => `Sie sind als ${email} angemeldet.`,
    link: ({ host }: { host: string }): string => `Weiter zu ${host}`
  },
  signIn: {
    title: 'Anmelden',
    submit: 'Anmelden',
    noAccount: 'Noch kein Konto?',
    expired: {
      second_factor:
        'Das hat zu lange gedauert. Melden Sie sich noch einmal an, und geben Sie dann den Code ein.',
      codes:
        'Zu viele Codes waren falsch. Melden Sie sich noch einmal an, und geben Sie dann den Code ein.'
    },
    ended: {
      session_revoked:
        'Sie wurden abgemeldet. Melden Sie sich an, um unter „Geräte“ zu sehen, warum.',
      session_expired: 'Ihre Anmeldung ist abgelaufen.',
      credential_ambiguous:
        'Ihr Browser hatte zwei Anmeldungen zugleich. Melden Sie sich wieder an.',
      user_banned: 'Dieses Konto ist gesperrt. Wenden Sie sich an einen Administrator.',
      user_gone: 'Dieses Konto gibt es nicht mehr.'
    }
  },
  confirm: {
    title: 'Bestätigen Sie, dass Sie es sind',
    why: 'Dafür muss Ihre Anmeldung jünger als zehn Minuten sein.',
    submit: 'Bestätigen'
  },
  signUp: {
    title: 'Konto anlegen',
    submit: 'Konto anlegen',
    haveAccount: 'Sie haben ein Konto?',
    closed: 'Neue Konten legt hier ein Administrator an.'
  },
  signOut: {
    title: 'Abmelden',
    question: ({ email }: { email: string }): string => `Sie sind als ${email} angemeldet.`,
    done: 'Sie sind abgemeldet',
    again: 'Wieder anmelden'
  },
  secondFactor: {
    title: 'Zweiter Faktor',
    code: 'Code aus Ihrer App',
    codeHint: 'Sechs Ziffern. Sie wechseln alle 30 Sekunden.',
    backupCode: 'Ersatzcode',
    backupCodeHint: 'Einer der Codes, die Sie aufbewahrt haben. Jeder gilt einmal.',
    trust: 'Auf diesem Gerät 30 Tage lang nicht fragen',
    trustHint: 'Nur auf einem Gerät, das sonst niemand benutzt.',
    submit: 'Weiter',
    useBackup: 'Einen Ersatzcode benutzen',
    useApp: 'Den Code der App benutzen',
    startAgain: 'Von vorn beginnen'
  },
  account: {
    title: 'Ihr Konto',
    saved: 'Gespeichert.',
    impersonated: 'Sie handeln als Administrator in diesem Konto.',
    stopImpersonating: 'Zurück zum eigenen Konto',
    image: 'Bild',
    imageHint:
      'Die Adresse eines Bildes, beginnend mit https. Ohne Bild werden Ihre Initialen gezeigt.',
    imageWrong: 'Das ist keine Adresse, die mit http oder https beginnt.',
    language: 'Sprache dieser Seiten'
  },
  remove: {
    title: 'Konto löschen',
    what: 'Ihr Konto wird gelöscht, und Sie werden auf allen Geräten abgemeldet.',
    final: 'Das kann niemand rückgängig machen.',
    begin: 'Konto löschen …',
    submit: 'Konto endgültig löschen',
    done: 'Ihr Konto ist gelöscht',
    doneMore: 'Sie sind überall abgemeldet.'
  },
  security: {
    title: 'Sicherheit',
    password: 'Passwort',
    passwordWhat: 'Ein neues Passwort meldet Sie auf allen anderen Geräten ab.',
    currentPassword: 'Bisheriges Passwort',
    newPassword: 'Neues Passwort',
    changePassword: 'Passwort ändern',
    passwordChanged: 'Ihr Passwort ist geändert. Auf allen anderen Geräten sind Sie abgemeldet.',
    factorWhat:
      'Mit einem zweiten Faktor reicht das Passwort allein nicht: Eine App auf Ihrem Telefon zeigt einen Code.',
    factorIsOn: 'Er ist eingeschaltet. Bei der Anmeldung wird der Code Ihrer App verlangt.',
    factorIsOff: 'Der zweite Faktor ist ausgeschaltet.',
    factorOn:
      'Der zweite Faktor ist eingeschaltet. Bewahren Sie diese Codes auf, bevor Sie weitergehen.',
    turnOn: 'Einschalten',
    turnOff: 'Ausschalten',
    turnOffTitle: 'Zweiten Faktor ausschalten',
    backupCodes: 'Ersatzcodes',
    newCodes: 'Das sind Ihre neuen Codes. Die alten gelten nicht mehr.',
    newCodesWhat: 'Neue Codes ersetzen die bisherigen.',
    makeCodes: 'Neue Codes machen',
    codesWhat:
      'Jeder Code gilt einmal, wenn Sie Ihr Telefon nicht haben. Sie werden nur jetzt gezeigt: Drucken Sie sie, oder legen Sie sie in einen Passwortmanager.',
    codesKept: 'Ich habe sie aufbewahrt',
    enrol: 'App verbinden',
    scan: 'Lesen Sie diesen Code mit einer Authenticator-App ein.',
    qrCode: 'QR-Code für die Authenticator-App',
    typeSecret: 'Oder tippen Sie dies in die App:',
    firstCode: 'Geben Sie den Code ein, den die App zeigt, damit wir wissen, dass es geht.',
    events: 'Was mit Ihrem Konto geschehen ist'
  },
  sessions: {
    title: 'Ihre Geräte',
    active: 'Angemeldet',
    ended: 'Beendet',
    thisDevice: 'Dieses Gerät',
    impersonation: 'Ein Administrator',
    unknownDevice: 'Unbekanntes Gerät',
    began: 'Angemeldet',
    lastUsed: 'zuletzt benutzt',
    end: 'Dort abmelden',
    more: 'Weitere Geräte',
    endOthers: 'Auf allen anderen Geräten abmelden',
    ifNotYou:
      'Wenn Sie das nicht waren: Ändern Sie Ihr Passwort, und sehen Sie nach, ob Sie alle Geräte kennen.',
    name: 'Name des Geräts',
    nameHint: 'Wie Sie es nennen. Ohne Namen wird gezeigt, was der Browser sagt.',
    renamed: 'Gespeichert.',
    events: 'Was damit geschehen ist',
    back: 'Alle Geräte',
    count: ({ count }: { count: number }): string => (count === 1 ? '1 Gerät' : `${count} Geräte`),
    done: {
      one: 'Dieses Gerät ist abgemeldet.',
      others: 'Alle anderen Geräte sind abgemeldet.'
    }
  },
  devices: {
    on: ({ program, system }: { program: string; system: string }): string =>
      `${program} auf ${system}`,
    apple: 'einem Apple-Gerät',
    unknownProgram: 'Unbekanntes Programm'
  },
  ends: {
    expired: 'Beendet, weil die Zeit abgelaufen war',
    signed_out: 'Abgemeldet',
    signed_in_again: 'Beendet durch eine neue Anmeldung im selben Browser',
    revoked_by_user: 'Von einem anderen Gerät aus abgemeldet',
    revoked_by_admin: 'Von einem Administrator beendet',
    revoked_by_operator: 'Vom Betreiber dieses Servers beendet',
    password_changed: 'Beendet, weil das Passwort geändert wurde',
    sign_in_failed: 'Die Anmeldung wurde nicht abgeschlossen',
    second_factor_pending: 'Wartete auf den zweiten Faktor',
    second_factor_changed: 'Beendet, weil der zweite Faktor geändert wurde',
    impersonation_ended: 'Der Administrator handelt nicht mehr in diesem Konto',
    user_banned: 'Beendet, weil das Konto gesperrt wurde',
    user_deleted: 'Beendet, weil das Konto gelöscht wurde',
    refresh_reused: 'Beendet, weil eine Kopie der Anmeldung anderswo benutzt wurde',
    session_cap: 'Beendet, um einer neueren Anmeldung Platz zu machen',
    source_ended: 'Zusammen mit der Sitzung beendet, aus der sie begann',
    address_proven: 'Beendet, weil der Inhaber des Postfachs die Adresse bestätigt hat',
    not_me: 'Beendet durch „Das war ich nicht“ in einer Mail'
  },
  endOther: ({ reason }: { reason: string }): string => `Beendet (${reason})`,
  sessionEvents: {
    created: 'Angemeldet',
    new_network: 'Aus einem anderen Netz benutzt',
    refresh_replayed: 'Die App hat eine Anfrage wiederholt, deren Antwort sie nicht erhalten hatte',
    refresh_reused: 'Eine Kopie der Anmeldung wurde benutzt',
    reauthenticated: 'Noch einmal bestätigt'
  },
  accountEvents: {
    sign_in_failed: 'Eine Anmeldung ist gescheitert',
    reauthentication_failed: 'Eine Bestätigung ist gescheitert',
    user_created: 'Das Konto wurde angelegt',
    user_deleted: 'Das Konto wurde gelöscht',
    user_erased: 'Die Person wurde gelöscht',
    user_exported: 'Die Daten des Kontos wurden ausgegeben',
    user_banned: 'Das Konto wurde gesperrt',
    user_unbanned: 'Das Konto ist nicht mehr gesperrt',
    role_changed: 'Die Rollen wurden geändert',
    profile_changed: 'Das Profil wurde geändert',
    email_changed: 'Die E-Mail-Adresse wurde geändert',
    email_verified: 'Die E-Mail-Adresse wurde bestätigt',
    password_set: 'Ein Passwort wurde gesetzt',
    password_changed: 'Das Passwort wurde geändert',
    password_reset: 'Das Passwort wurde per Mail zurückgesetzt',
    sign_in_method_added: 'Ein Weg zur Anmeldung kam hinzu',
    sign_in_method_removed: 'Ein Weg zur Anmeldung wurde entfernt',
    second_factor_added: 'Der zweite Faktor wurde eingeschaltet',
    second_factor_removed: 'Der zweite Faktor wurde ausgeschaltet',
    backup_codes_made: 'Ersatzcodes wurden gemacht',
    backup_code_used: 'Ein Ersatzcode wurde benutzt',
    sessions_revoked: 'Geräte wurden abgemeldet',
    impersonation_begun: 'Ein Administrator begann, in diesem Konto zu handeln',
    impersonation_ended: 'Der Administrator handelt nicht mehr in diesem Konto',
    gateway_created: 'Ein Gateway wurde angelegt',
    gateway_secret_rotated: 'Ein Gateway bekam ein neues Geheimnis',
    gateway_disabled: 'Ein Gateway wurde abgeschaltet',
    signing_key_rotated: 'Der Signaturschlüssel wurde gewechselt'
  },
  attemptCauses: {
    wrong_password: 'falsches Passwort',
    user_unknown: 'kein solches Konto',
    user_banned: 'das Konto ist gesperrt',
    email_not_verified: 'die Adresse ist nicht bestätigt',
    rate_limited: 'zu viele Versuche',
    too_many_sessions: 'zu viele Geräte',
    credential_changed: 'das Passwort wurde inzwischen geändert',
    wrong_code: 'falscher Code',
    second_factor_locked: 'zu viele falsche Codes',
    ban_expired: 'die Sperre lief ab'
  },
  actors: {
    administrator: 'durch einen Administrator',
    operator: 'durch den Betreiber'
  },
  errors: {
    form_expired:
      'Dieses Formular war zu lange offen oder gehört zu einer anderen Anmeldung. Es wurde nichts geändert. Prüfen Sie es, und senden Sie es noch einmal.',
    rate_limited: ({ minutes }: { minutes: number }): string =>
      minutes === 1
        ? 'Zu viele Versuche. Versuchen Sie es in einer Minute wieder.'
        : `Zu viele Versuche. Versuchen Sie es in ${minutes} Minuten wieder.`,
    too_many_sessions:
      'Sie sind auf so vielen Geräten angemeldet, wie erlaubt sind. Melden Sie sich zuerst auf einem ab.',
    no_cookies:
      'Ihr Browser hat unser Cookie nicht gesendet. Erlauben Sie Cookies für diese Seite, und senden Sie das Formular noch einmal.',
    unavailable:
      'Unser Speicher hat nicht geantwortet. Wir wissen nicht, ob es geschehen ist: Sehen Sie nach, bevor Sie es noch einmal versuchen.',
    internal:
      'Bei uns ist etwas schiefgegangen. Wir wissen nicht, ob es geschehen ist: Sehen Sie nach, bevor Sie es noch einmal versuchen.',
    refused: 'Das wurde nicht angenommen. Es wurde nichts geändert.'
  },
  codes: {
    ...deMailCodes,
    invalid_email: 'Das ist keine E-Mail-Adresse.',
    invalid_email_or_password: 'E-Mail-Adresse oder Passwort ist falsch.',
    invalid_password: 'Das Passwort ist falsch.',
    invalid_code: 'Der Code ist falsch.',
    invalid_backup_code: 'Der Ersatzcode ist falsch oder wurde schon benutzt.',
    password_too_short: 'Das Passwort braucht mindestens 8 Zeichen.',
    password_too_long: 'Das Passwort darf höchstens 128 Zeichen haben.',
    password_too_common:
      'Dieses Passwort ist eines der ersten, die ausprobiert werden. Wählen Sie ein anderes.',
    user_already_exists: 'Mit dieser Adresse gibt es ein Konto. Melden Sie sich an.',
    user_already_exists_use_another_email:
      'Mit dieser Adresse gibt es ein Konto. Melden Sie sich an.',
    banned_user: 'Dieses Konto ist gesperrt. Wenden Sie sich an einen Administrator.',
    user_banned: 'Dieses Konto ist gesperrt. Wenden Sie sich an einen Administrator.',
    session_revoked: 'Sie wurden inzwischen abgemeldet.',
    right_changed: 'Ihre Rechte haben sich inzwischen geändert. Es wurde nichts geändert.',
    role_missing: 'Das dürfen Sie nicht.',
    overloaded:
      'Gerade melden sich zu viele Personen an. Es wurde nichts geändert. Versuchen Sie es noch einmal.',
    invalid_input: 'Das kann nicht gespeichert werden. Es wurde nichts geändert.',
    you_cannot_ban_yourself: 'Sie können sich nicht selbst sperren.',
    you_cannot_remove_yourself: 'Sie können sich hier nicht selbst löschen.'
  },
  mail: deMail,
  pageErrors: {
    title: 'Das hat nicht geklappt',
    more: 'Was Sie versucht haben, wurde nicht angenommen. Beginnen Sie auf der Startseite neu.',
    not_found: 'Diese Seite gibt es nicht',
    notFoundMore: 'Vielleicht ist die Adresse falsch, oder was dort war, ist weg.',
    unavailable: 'Das ist gerade nicht möglich',
    unavailableMore:
      'Wenn Sie angemeldet waren, sind Sie es noch. Versuchen Sie es gleich noch einmal.',
    forbidden: 'Diese Seite dürfen Sie nicht sehen',
    forbiddenMore: 'Sie ist für Administratoren.',
    foreign: 'Dieses Formular kam von einer anderen Adresse',
    foreignMore: ({ origin }: { origin: string }): string =>
      `Es wurde nichts geändert. Öffnen Sie die Seite unter ${origin}, und versuchen Sie es noch einmal.`,
    rateLimited: 'Zu viele Anfragen',
    internalMore: 'Bei uns ist etwas schiefgegangen.',
    requestId: ({ id }: { id: string }): string => `Nummer der Anfrage, für den Support: ${id}`,
    home: 'Zur Startseite',
    again: 'Noch einmal versuchen'
  },
  admin: {
    users: 'Benutzer',
    search: 'Suchen',
    searchLabel: 'Name, E-Mail-Adresse oder Id',
    none: 'Niemand wurde gefunden.',
    more: 'Weitere Benutzer',
    banned: 'gesperrt',
    id: 'Id',
    created: 'Angelegt',
    verified: 'bestätigt',
    notVerified: 'nicht bestätigt',
    factor: 'Zweiter Faktor',
    on: 'ein',
    off: 'aus',
    roles: 'Rollen',
    rolesHint: 'Durch Kommas getrennt.',
    roleWrong:
      'Eine solche Rolle gibt es nicht. Es gibt user, admin und die der Einstellung ROLES.',
    saveRoles: 'Rollen speichern',
    ban: 'Sperren',
    banTitle: 'Konto sperren',
    banWhat: 'Die Person wird überall abgemeldet und kann sich nicht anmelden.',
    banReason: 'Grund',
    banReasonHint: 'Für Administratoren. Die Person sieht ihn nicht.',
    banUntil: 'Bis (UTC)',
    banUntilHint: 'Leer sperrt ohne Ende.',
    banUntilWrong: 'Das ist keine Zeit in der Zukunft.',
    isBanned: 'Dieses Konto ist gesperrt.',
    isBannedUntil: 'Endet',
    unban: 'Entsperren',
    endSession: 'Beenden',
    endSessions: 'Alle Sitzungen beenden',
    sessions: 'Sitzungen',
    events: 'Was mit dem Konto geschehen ist',
    erase: 'Person löschen',
    eraseWhat:
      'Löscht das Konto und alles, was die Person nennt: Adressen, Geräte, Namen in den Ereignissen. Das kann niemand rückgängig machen.',
    eraseConfirm: 'Zur Bestätigung die E-Mail-Adresse eingeben',
    eraseWrong: 'Das ist nicht die E-Mail-Adresse des Kontos.',
    erased: 'Die Person ist gelöscht.',
    erasing: 'Die Löschung hat begonnen. Sie endet im Hintergrund.',
    sendPassword: 'Mail für ein neues Passwort senden',
    sendPasswordWhat:
      'Die Person setzt damit ein Passwort und wird auf allen Geräten abgemeldet. Bis dahin ändert sich nichts.',
    passwordSent:
      'Die Mail ist unterwegs, falls nicht schon in der letzten Minute eine gesendet wurde.',
    saved: 'Gespeichert.',
    ended: 'Beendet.',
    eventsTitle: 'Ereignisse',
    kind: 'Art',
    allKinds: 'Alle Arten',
    show: 'Zeigen',
    who: 'Konto',
    whoHint: 'Eine E-Mail-Adresse oder eine Id. Leer zeigt alle Konten.',
    backToUser: 'Zurück zum Benutzer',
    gone: 'Dieses Konto gibt es nicht mehr. Seine Sitzungen und Ereignisse werden eine Weile aufbewahrt.'
  },
  firstAdministrator: {
    title: 'Administrator werden',
    what: ({ email }: { email: string }): string =>
      `Sie sind als ${email} angemeldet. Soll dieses Konto Administrator dieses Servers werden?`,
    submit: 'Mich zum Administrator machen',
    expired: 'Dieser Link gilt nicht mehr',
    expiredMore:
      'Er gilt einmal, 15 Minuten lang, und nur solange es keinen Administrator gibt. Der Betreiber des Servers bekommt einen neuen, wenn er ihn neu startet, oder auf der Befehlszeile.'
  }
}
