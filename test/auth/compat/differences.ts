import type { Difference } from './compare.js'

/**
 * An intended difference between Holdfast and better-auth, and where it shows. docs/better-auth.md
 * explains each under its name.
 */
export interface Rule {
  name: string
  /** Why Holdfast differs, in a sentence. */
  reason: string
  /** The differences that it explains. */
  covers: Cover[]
}

/** A pattern for differences. Absent fields match anything. */
interface Cover {
  what: Difference['what']
  at?: RegExp
  stock?: RegExp
  holdfast?: RegExp
  scene?: RegExp
  step?: RegExp
  path?: RegExp
}

const ABSENT = /^absent$/
const CLEARED = /^cleared;/
/** The cookies that better-auth clears for an invalid credential. */
const CLEARED_TOGETHER = /^(session_token|session_data|dont_remember)$/
/** Endpoints that need a social provider. */
const PROVIDER = /^\/(sign-in\/social|link-social|callback\/github|refresh-token|get-access-token)$/
const NO_PROVIDER =
  /^(?!\/(sign-in\/social|link-social|callback\/github|refresh-token|get-access-token)$)/
/** better-auth's endpoints that would act on a link of a mail. */
const LINKS = /^\/(verify-email|reset-password\/no-such-token|delete-user\/callback)$/

export const rules: Rule[] = [
  {
    name: 'Lists show handles',
    reason:
      'What stands in `token` can end a session and never authenticate, so that script on a page and administrators hold no credential of anybody.',
    covers: [{ what: 'body', at: /(^|\.)token$/, stock: /^<token>$/, holdfast: /^<handle>$/ }]
  },
  {
    name: 'Handles are no credential',
    reason: 'What a list shows in `token` is not taken as a bearer token.',
    covers: [
      {
        what: 'members',
        step: /^the listed token as bearer$/,
        stock: /^session, user$/,
        holdfast: /^null$/
      }
    ]
  },
  {
    name: 'Tokens leave once',
    reason:
      '`set-auth-token` is sent where a session has begun for a client that showed no session cookie: script could otherwise turn an httpOnly cookie into a token.',
    covers: [{ what: 'header', at: /^set-auth-token$/, stock: /^<token>$/, holdfast: ABSENT }]
  },
  {
    name: 'Cookies live as long as sessions',
    reason:
      'The cookie lasts for SESSION_ABSOLUTE_TTL_SECONDS, 90 days, and the server decides about idleness; better-auth renews a cookie of 7 days.',
    covers: [
      {
        what: 'cookie',
        at: /^(session_token|admin_session)$/,
        stock: /^set;.* Max-Age=604800;/,
        holdfast: /^set;.* Max-Age=7776000;/
      }
    ]
  },
  {
    name: 'An unknown user agent is null',
    reason: 'A session whose client named no user agent has null there, not an empty text.',
    covers: [{ what: 'body', at: /(^|\.)userAgent$/, stock: /^""/, holdfast: /(^|\| )null$/ }]
  },
  {
    name: 'Addresses are known',
    reason:
      'A session holds the address that the connection, or a trusted proxy, names; better-auth reads forwarding headers alone, and believes them of anybody.',
    covers: [{ what: 'body', at: /(^|\.)ipAddress$/, stock: /^""$/, holdfast: /^"127\.0\.0\.1"$/ }]
  },
  {
    name: 'Errors say more',
    reason:
      'An error that better-auth leaves empty, or leaves to Fastify, has `code` and `message`, and the members of a problem document (RFC 9457) with a stable `cause`.',
    covers: [
      {
        what: 'members',
        stock: /^(null|code, message|error, message, statusCode)$/,
        holdfast: /^cause, code, detail, message, /
      },
      { what: 'outcome', stock: /^404$/, holdfast: /^404 NOT_FOUND$/, path: NO_PROVIDER },
      {
        what: 'outcome',
        stock: /^400$/,
        holdfast: /^400 [A-Z_]+$/,
        path: /^\/one-time-token\/verify$/
      },
      {
        what: 'outcome',
        stock: /^4\d\d FST_ERR_/,
        holdfast: /^4(00|04|15)( [A-Z_]+)?$/,
        step: /^(?!as a form$)/
      },
      {
        what: 'outcome',
        stock: /^415 FST_ERR_/,
        holdfast: /^415 UNSUPPORTED_MEDIA_TYPE$/,
        step: /^as a form$/
      }
    ]
  },
  {
    name: 'Other methods are 405',
    reason:
      'A path that exists answers other methods with 405 and `Allow`; better-auth and its recipe say 404.',
    covers: [
      {
        what: 'outcome',
        step: /^by (GET|POST|DELETE|OPTIONS)$/,
        stock: /^404$/,
        holdfast: /^405 METHOD_NOT_ALLOWED$/
      }
    ]
  },
  {
    name: 'HEAD is answered',
    reason:
      'HEAD answers as GET does, without the body, except where GET changes something: there it is 405. better-auth says 404.',
    covers: [{ what: 'outcome', step: /^by HEAD$/, stock: /^404$/, holdfast: /^(200|400|405)$/ }]
  },
  {
    name: 'No social providers',
    reason:
      'There are none to sign in with, so that the endpoints which work with one are 404 whoever asks and whatever they ask.',
    covers: [
      { what: 'outcome', path: PROVIDER, holdfast: /^404 NOT_FOUND$/ },
      { what: 'header', path: PROVIDER, at: /^location$/, holdfast: ABSENT },
      { what: 'cookie', path: PROVIDER, at: CLEARED_TOGETHER, stock: CLEARED, holdfast: ABSENT }
    ]
  },
  {
    name: 'A guess names an account',
    reason:
      'Sign-in, sign-up and requests for a mail are counted by their address; where that is no text, or the body no object, they are 400 INVALID_INPUT before better-auth validates the rest.',
    covers: [
      {
        what: 'outcome',
        path: /^\/(sign-(in|up)\/email|request-password-reset|send-verification-email|change-email)$/,
        stock: /^400 VALIDATION_ERROR$/,
        holdfast: /^400 INVALID_INPUT$/
      }
    ]
  },
  {
    name: 'Forms are taken',
    reason:
      'Sign-up and sign-in take forms, as better-auth does by itself; in its Fastify recipe nothing parses them.',
    covers: [
      {
        what: 'outcome',
        path: /^\/sign-(in|up)\/email$/,
        step: /as a form$/,
        stock: /^415 FST_ERR_/,
        holdfast: /^(200|401 INVALID_EMAIL_OR_PASSWORD)$/
      },
      { what: 'cookie', path: /^\/sign-(in|up)\/email$/, step: /as a form$/, stock: ABSENT }
    ]
  },
  {
    name: 'No link acts by itself',
    reason:
      'Scanners of mail open links, so that `verify-email`, `reset-password/:token` and `delete-user/callback` are 404 by GET; what a mail leads to is a page, and then a POST.',
    covers: [
      {
        what: 'outcome',
        path: LINKS,
        stock: /^(302|4\d\d [A-Z_]+)$/,
        holdfast: /^404 NOT_FOUND$/
      },
      { what: 'header', path: LINKS, at: /^location$/, holdfast: ABSENT },
      { what: 'cookie', path: LINKS, at: CLEARED_TOGETHER, stock: CLEARED, holdfast: ABSENT }
    ]
  },
  {
    name: 'Values are checked before they are stored',
    reason:
      'What the store cannot hold as it is (a NUL, a number for a name, an object) or what every check would carry (a name of 300 characters) is 400.',
    covers: [
      {
        what: 'outcome',
        path: /^\/(sign-up\/email|update-user)$/,
        stock: /^(200|422 FAILED_TO_CREATE_USER)$/,
        holdfast: /^400( INVALID_INPUT)?$/
      },
      {
        what: 'cookie',
        step: /^(a name of 300 characters|an operator|(name|image) of the wrong type)$/,
        holdfast: ABSENT
      },
      {
        what: 'outcome',
        path: /^\/sign-up\/email$/,
        stock: /^400 VALIDATION_ERROR$/,
        holdfast: /^400 INVALID_EMAIL$/
      },
      {
        what: 'outcome',
        path: /^\/admin\/create-user$/,
        stock: /^400 VALIDATION_ERROR$/,
        holdfast: /^400 INVALID_INPUT$/
      },
      { what: 'outcome', step: /^a negative page$/, stock: /^200$/, holdfast: /^400/ }
    ]
  },
  {
    name: 'New passwords are checked',
    reason:
      'Wherever a password is set it has 8 to 128 Unicode characters and is none of the common ones; better-auth lets administrators set any.',
    covers: [
      {
        what: 'outcome',
        stock: /^(200|400 INVALID_PASSWORD)$/,
        holdfast: /^400 PASSWORD_TOO_(SHORT|COMMON)$/
      },
      { what: 'cookie', scene: /^common passwords$/, holdfast: ABSENT }
    ]
  },
  {
    name: 'A new password ends sessions',
    reason:
      "A password that an administrator sets ends the person's sessions, which somebody else may hold.",
    covers: [
      {
        what: 'members',
        scene: /^an administrator$/,
        step: /^the session of before$/,
        stock: /^session, user$/,
        holdfast: /^null$/
      },
      {
        what: 'cookie',
        scene: /^an administrator$/,
        step: /^the session of before$/,
        at: CLEARED_TOGETHER,
        stock: ABSENT,
        holdfast: CLEARED
      }
    ]
  },
  {
    name: 'Foreign bearer tokens are ignored',
    reason:
      'A bearer token of another form is meant for somebody else, such as a gateway: the cookie counts, and no cookie is cleared.',
    covers: [
      {
        what: 'members',
        step: /^a bearer token beside a cookie$/,
        stock: /^null$/,
        holdfast: /^session, user$/
      },
      {
        what: 'cookie',
        step: /^a bearer token (that is none|beside a cookie)$/,
        at: CLEARED_TOGETHER,
        stock: CLEARED,
        holdfast: ABSENT
      }
    ]
  },
  {
    name: 'One-time tokens begin a session',
    reason:
      'Who redeems a one-time token is given a session of their own, with their own user agent; better-auth hands over the session that made the token. It ends with that one.',
    covers: [
      {
        what: 'body',
        scene: /^a one-time token$/,
        at: /userAgent$/,
        stock: /^""$/,
        holdfast: /^"A browser"$/
      }
    ]
  },
  {
    name: 'A code counts once',
    reason:
      "A code of an authenticator app is refused when it has been used, so that who looked over somebody's shoulder cannot use it again.",
    covers: [
      {
        what: 'outcome',
        step: /^the same code again$/,
        stock: /^200$/,
        holdfast: /^401 INVALID_CODE$/
      }
    ]
  },
  {
    name: 'A 401 says why',
    reason: 'Where better-auth answers a bare 401, the answer has a cause and a code.',
    covers: [
      {
        what: 'outcome',
        path: NO_PROVIDER,
        stock: /^401$/,
        holdfast: /^401 (CREDENTIAL_MISSING|SESSION_UNKNOWN)$/
      }
    ]
  },
  {
    name: 'Fields and roles are known',
    reason:
      'A field that is no input, or is not shown, and a role that is not configured are refused; better-auth writes them, or answers that there is nobody.',
    covers: [
      {
        what: 'outcome',
        path: /^\/admin\/list-users$/,
        step: /field that there is not/,
        stock: /^200$/,
        holdfast: /^400 INVALID_INPUT$/
      },
      {
        what: 'outcome',
        path: /^\/admin\/(create-user|set-role|update-user)$/,
        step: /^(a role that there is not|an id)$/,
        stock: /^200$/,
        holdfast: /^400 INVALID_INPUT$/
      }
    ]
  },
  {
    name: 'Grave changes want a recent sign-in',
    reason:
      'Administration and changes of credentials want a credential shown in this session within ten minutes; an impersonation never has that.',
    covers: [
      { what: 'outcome', path: /^\/admin\//, stock: /^403 /, holdfast: /^403 SESSION_NOT_FRESH$/ }
    ]
  }
]

/** The rules that explain a difference. There must be exactly one. */
export function rulesFor(difference: Difference): Rule[] {
  return rules.filter(({ covers }) => covers.some((cover) => isCovered(difference, cover)))
}

function isCovered({ what, at, stock, holdfast, scene, step }: Difference, cover: Cover): boolean {
  return (
    cover.what === what &&
    fits(cover.at, at) &&
    fits(cover.stock, stock) &&
    fits(cover.holdfast, holdfast) &&
    fits(cover.scene, scene) &&
    fits(cover.step, step.title) &&
    fits(cover.path, step.path)
  )
}

function fits(pattern: RegExp | undefined, value: string): boolean {
  return pattern === undefined || pattern.test(value)
}
