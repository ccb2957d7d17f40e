import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { isLoopback } from '../address.js'
import type { Config } from '../config.js'
import { FIRST_ADMINISTRATOR_MINUTES } from '../auth/first-administrator.js'
import { parseDatabaseUrl } from '../database/database-url.js'
import { parseSmtpUrl } from '../mail/smtp-url.js'
import { version } from '../version.js'

/** The state of a server, for the person who started it. The log is for machines. */
export type Notice = 'starting' | 'waiting' | 'serving' | 'stopping' | 'stopped early'

/** Where the link for the first administrator is. Null where there is an administrator. */
export interface FirstLink {
  path: string
  link: string
}

/** Prints the notice: that the server is ready on stdout, all others as a line on stderr. */
export function announce(notice: Notice, config: Config, first: FirstLink | null = null): void {
  const line = notice === 'serving' ? null : toLine(notice, config)
  if (notice === 'serving') process.stdout.write(banner(config, first))
  else if (line !== null) process.stderr.write(`holdfast: ${line}\n`)
}

function toLine(notice: Exclude<Notice, 'serving'>, config: Config): string | null {
  if (notice === 'starting')
    return isFirstStart(config)
      ? `making a store in ${resolve(config.dataDir)}: this takes some seconds, once`
      : null
  if (notice === 'waiting')
    return `waiting for ${describeStore(config)}: until it answers, requests are answered 503`
  return notice === 'stopping'
    ? 'stopping: open requests may end; a second signal stops at once'
    : 'stopped before it served: nothing is left half done'
}

function isFirstStart({ databaseUrl, dataDir }: Config): boolean {
  return databaseUrl === undefined && !existsSync(join(dataDir, 'pglite', 'PG_VERSION'))
}

function describeStore({ databaseUrl, dataDir }: Config): string {
  if (databaseUrl === undefined) return `the embedded store in ${resolve(dataDir)}`
  const { places, database } = parseDatabaseUrl(databaseUrl)
  const servers = new Set(
    places.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  )
  return `PostgreSQL at ${[...servers].join(', ')}, database ${database}`
}

function describeMail({ smtpUrl, databaseUrl, dataDir }: Config): string {
  if (smtpUrl !== undefined) {
    const { host, port } = parseSmtpUrl(smtpUrl)
    return `${host}:${port}`
  }
  return databaseUrl === undefined
    ? `written to ${resolve(join(dataDir, 'mail'))} (no SMTP_URL)`
    : 'off (no SMTP_URL): forgotten passwords cannot be reset'
}

/**
 * The first screen for a person. The suggestions are for a user who tries the server on their own
 * machine. A link for the first administrator is shown on a terminal only: other output may be
 * kept as a log.
 */
export function banner(
  config: Config,
  first: FirstLink | null = null,
  isTerminal = process.stdout.isTTY
): string {
  const { baseUrl, host, port, databaseUrl, redisUrl, pages } = config
  const isTrial = databaseUrl === undefined && isLoopback(new URL(baseUrl).hostname)
  const lines = [
    `Holdfast ${version}: an authentication server whose sessions hold.`,
    '',
    `serving  ${baseUrl}${isTrial ? '' : ` (listening on ${host.includes(':') ? `[${host}]` : host}:${port})`}`,
    ...(pages ? [`pages    ${baseUrl}/sign-in`] : []),
    `data     ${describeStore(config)}${isTrial ? ' (delete it to start anew)' : ''}`,
    ...(databaseUrl === undefined
      ? []
      : [`cache    ${redisUrl === undefined ? 'in this process (no REDIS_URL)' : 'Redis'}`]),
    `mail     ${describeMail(config)}`,
    ...(isTrial ? [`docs     ${baseUrl}/docs`] : []),
    ...(first ? ['', ...administrator(first, isTerminal)] : []),
    ...(isTrial ? ['', ...trial(config, first !== null)] : [])
  ]
  return `\n${lines.map((line) => (line === '' ? '' : `  ${line}`)).join('\n')}\n\n`
}

function administrator({ path, link }: FirstLink, isTerminal: boolean): string[] {
  const used = `works once, within ${FIRST_ADMINISTRATOR_MINUTES} minutes`
  return isTerminal
    ? [
        'admin    make an account, then open this link to become the administrator',
        `         (${used})`,
        `         ${link}`
      ]
    : [
        'admin    make an account, then open the link in this file to become the administrator',
        `         (${used})`,
        `         ${path}`
      ]
}

function trial({ baseUrl, signUp }: Config, hasLink: boolean): string[] {
  if (signUp === 'closed') {
    return [
      'users    SIGN_UP is closed: nobody can make an account but you',
      '         npm run --silent holdfast -- user create ada@example.com --role admin'
    ]
  }
  return [
    `try      curl -i -c cookies.txt ${baseUrl}/api/auth/sign-up/email \\`,
    "           -H 'content-type: application/json' \\",
    '           -d \'{"name":"Ada","email":"ada@example.com","password":"correct horse battery"}\'',
    `         curl -b cookies.txt ${baseUrl}/session`,
    `         curl -b cookies.txt -X POST ${baseUrl}/api/auth/sign-out -H 'origin: ${baseUrl}'`,
    ...(hasLink
      ? []
      : [
          '',
          'admin    npm run --silent holdfast -- user set-role ada@example.com admin',
          '         makes her the first administrator, once she has signed up'
        ])
  ]
}
