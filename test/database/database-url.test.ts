import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/database/database-url.js'
import { ConfigError } from '../../src/errors.js'
import { makeCertificate } from '../support/certificate.js'

/** The message with which a URL is refused. */
function refusal(url: string): string {
  try {
    parseDatabaseUrl(url)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return ''
}

const placesOf = (url: string) =>
  parseDatabaseUrl(url).places.map(
    ({ host, port, ssl }) => `${host} ${port} ${ssl ? 'tls' : 'plain'}`
  )

const tls = (query: string) => parseDatabaseUrl(`postgresql://h/db?${query}`).places[0]?.ssl

t.test("D6: DATABASE_URL has libpq's forms, and libpq's meaning", async (t) => {
  t.match(parseDatabaseUrl('postgresql://u:p@/db?host=/run/postgresql'), {
    user: 'u',
    password: 'p',
    database: 'db',
    places: [{ host: '/run/postgresql', port: 5432, ssl: false }]
  })
  t.strictSame(placesOf('postgres://u@%2Frun%2Fpostgresql:5433/db'), ['/run/postgresql 5433 plain'])
  t.strictSame(
    placesOf(
      'postgresql://a:1,[2001:db8::1]:2,c/db?sslmode=require&target_session_attrs=read-write'
    ),
    ['a 1 tls', '2001:db8::1 2 tls', 'c 5432 tls']
  )
  t.strictSame(placesOf('postgresql:///db?host=a,b&port=1,2&sslmode=disable'), [
    'a 1 plain',
    'b 2 plain'
  ])
  t.strictSame(
    placesOf('postgresql://db.example.com/db'),
    ['db.example.com 5432 tls', 'db.example.com 5432 plain'],
    'libpq tries TLS first'
  )
  t.strictSame(
    placesOf('postgresql://127.0.0.1/db'),
    ['127.0.0.1 5432 plain', '127.0.0.1 5432 tls'],
    'on loopback TLS is tried last'
  )
  t.strictSame(placesOf('postgresql://db.example.com/db?hostaddr=192.0.2.1&sslmode=require'), [
    '192.0.2.1 5432 tls'
  ])
  t.match(
    parseDatabaseUrl('postgresql://db.example.com/db?hostaddr=192.0.2.1&sslmode=require').places[0],
    { ssl: { servername: 'db.example.com', rejectUnauthorized: false } }
  )
  t.match(
    parseDatabaseUrl(
      'postgresql://h/db?connect_timeout=7&application_name=my%20app&options=-c%20geqo%3Doff&keepalives_idle=30&schema=auth&pgbouncer=true'
    ),
    {
      connectTimeoutMs: 7_000,
      applicationName: 'my app',
      options: '-c geqo=off',
      keepAliveIdleMs: 30_000,
      schema: 'auth',
      pooled: true
    }
  )
  t.match(parseDatabaseUrl('postgresql://h?user=me&password=p%26q&dbname=other'), {
    user: 'me',
    password: 'p&q',
    database: 'other'
  })
  t.match(parseDatabaseUrl('postgresql://h/db?channel_binding=require&sslmode=require'), {
    needsChannelBinding: true
  })
})

t.test('D6: what is not supported is refused by its name', async (t) => {
  const wrong: [query: string, says: RegExp][] = [
    ['sslmode=bogus', /parameter sslmode must be disable or allow or prefer/],
    ['sslmode=no-verify', /parameter sslmode/],
    ['target_session_attrs=standby', /parameter target_session_attrs .*never asks a standby/],
    ['target_session_attrs=prefer-standby', /target_session_attrs/],
    ['connect_timeout=soon', /parameter connect_timeout/],
    ['connect_timeout=0', /parameter connect_timeout/],
    ['tcp_user_timeout=5', /parameter tcp_user_timeout is not supported/],
    ['connection_limit=5', /connection_limit is not supported: set DATABASE_POOL_SIZE/],
    ['gssencmode=require', /parameter gssencmode/],
    ['client_encoding=LATIN1', /parameter client_encoding/],
    ['service=prod', /parameter service/],
    ['hostaddr=db', /parameter hostaddr/],
    ['schema=pg_catalog', /parameter schema/],
    ['port=0', /port must be/],
    ['sslcert=/tmp/a.pem', /sslcert and sslkey/],
    ['sslmode=verify-full', /sslmode=verify-full needs sslrootcert/],
    ['sslrootcert=system&sslmode=require', /sslrootcert=system needs/],
    ['sslnegotiation=direct', /sslnegotiation=direct needs/],
    ['just-a-word', /no parameter/]
  ]
  for (const [query, says] of wrong)
    t.match(refusal(`postgresql://u:hunter2@h/db?${query}`), says, query)
  t.match(refusal('postgresql://a,b,c/db?port=1,2'), /one port/)
  t.match(refusal('mysql://h/db'), /postgresql:\/\/ URL/)
})

t.test(
  "D9: files that are missing or no certificates are refused by the parameter's name, and the others read once",
  async (t) => {
    const folder = t.testdir()
    const [cert, key, junk] = ['cert.pem', 'key.pem', 'junk.pem'].map((name) =>
      join(folder, name)
    ) as [string, string, string]
    writeFileSync(junk, 'no certificate')
    const certificate = makeCertificate(['db.example.com'])
    writeFileSync(cert, certificate.cert)
    writeFileSync(key, certificate.key)
    for (const [name, rest] of [
      ['sslrootcert', ''],
      ['sslcrl', ''],
      ['sslcert', `&sslkey=${key}`],
      ['sslkey', `&sslcert=${cert}`]
    ]) {
      t.match(
        refusal(`postgresql://h/db?sslmode=require&${name}=${folder}/missing.pem${rest}`),
        new RegExp(
          `DATABASE_URL: the parameter ${name} names a file that cannot be read \\(.*missing.pem: ENOENT\\)`
        )
      )
    }
    t.match(
      refusal(`postgresql://h/db?sslmode=verify-ca&sslrootcert=${junk}`),
      /parameter sslrootcert names a file that cannot be used/
    )
    t.match(
      refusal(`postgresql://h/db?sslmode=require&sslcert=${cert}&sslkey=${junk}`),
      /parameter sslkey names a file that cannot be used/
    )
    t.match(tls('sslmode=require'), { rejectUnauthorized: false })
    t.type(
      (tls(`sslmode=require&sslrootcert=${cert}`) as { checkServerIdentity?: unknown })
        .checkServerIdentity,
      'function',
      'require with certificates means verify-ca'
    )
    t.match(tls(`sslmode=verify-full&sslrootcert=${cert}`), {
      ca: /BEGIN CERTIFICATE/,
      checkServerIdentity: undefined,
      rejectUnauthorized: undefined
    })
    t.match(tls('sslmode=verify-full&sslrootcert=system'), {
      ca: undefined,
      rejectUnauthorized: undefined
    })
  }
)

t.test(
  'D11: a password that is not percent-encoded is refused with the hint, and not shown',
  async (t) => {
    for (const character of ['#', '@', '/', '?', '#/', '@/', '?@', '/1?', '%zz']) {
      for (const password of [`hunter${character}2ss`, `77${character}77`, `${character}hunter2`]) {
        const message = refusal(`postgresql://holdfast:${password}@db.example.com:5432/holdfast`)
        t.match(message, /^DATABASE_URL: .*percent-encode/, password)
        t.notMatch(message, /hunter|77/)
      }
    }
    t.match(
      parseDatabaseUrl(
        `postgresql://holdfast:${encodeURIComponent('h#u@n/t?e%r:2&=+ ')}@db/holdfast`
      ),
      { password: 'h#u@n/t?e%r:2&=+ ' }
    )
    t.match(
      parseDatabaseUrl('postgresql://holdfast:a:b!$&=+*@db/holdfast'),
      { password: 'a:b!$&=+*', places: [{ host: 'db' }] },
      'characters that libpq accepts are accepted'
    )
  }
)
