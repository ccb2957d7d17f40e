import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import { parseRedisUrl, RedisUrlError } from '../../src/redis/redis-url.js'
import { ConfigError } from '../../src/errors.js'
import { resolveConfig } from '../../src/config.js'

const single = { kind: 'single', tls: false, login: null, database: 0, family: 0, sentinel: null }

t.test('R5: a Redis URL means what it says', async (t) => {
  const cases: [url: string, means: object][] = [
    ['redis://127.0.0.1', { ...single, nodes: [{ host: '127.0.0.1', port: 6379 }] }],
    [
      'redis://localhost:6380/2',
      { ...single, nodes: [{ host: 'localhost', port: 6380 }], database: 2 }
    ],
    ['redis://[::1]:26379/', { ...single, nodes: [{ host: '::1', port: 26_379 }] }],
    ['redis://[2001:db8::7]', { ...single, nodes: [{ host: '2001:db8::7', port: 6379 }] }],
    [
      'redis://:pa:ss@h',
      {
        ...single,
        nodes: [{ host: 'h', port: 6379 }],
        login: { username: 'default', password: 'pa:ss' }
      }
    ],
    [
      'redis://app:p%40s%25s@h:1',
      { ...single, nodes: [{ host: 'h', port: 1 }], login: { username: 'app', password: 'p@s%s' } }
    ],
    [
      'redis://:a@b@h',
      {
        ...single,
        nodes: [{ host: 'h', port: 6379 }],
        login: { username: 'default', password: 'a@b' }
      }
    ],
    ['redis://:@h', { ...single, nodes: [{ host: 'h', port: 6379 }] }],
    [
      'rediss://h?family=6&db=3',
      { ...single, tls: true, nodes: [{ host: 'h', port: 6379 }], family: 6, database: 3 }
    ],
    [
      'redis+sentinel://:s@a:1,[::1]:2,c/prod?db=2',
      {
        ...single,
        kind: 'sentinel',
        nodes: [
          { host: 'a', port: 1 },
          { host: '::1', port: 2 },
          { host: 'c', port: 26_379 }
        ],
        login: { username: 'default', password: 's' },
        database: 2,
        sentinel: { primary: 'prod', login: { username: 'default', password: 's' } }
      }
    ],
    [
      'rediss+sentinel://u:p@a?sentinel_username=w&sentinel_password=q%2B',
      {
        ...single,
        kind: 'sentinel',
        tls: true,
        nodes: [{ host: 'a', port: 26_379 }],
        login: { username: 'u', password: 'p' },
        sentinel: { primary: 'mymaster', login: { username: 'w', password: 'q+' } }
      }
    ],
    [
      'redis+sentinel://u:p@a?sentinel_password=',
      {
        ...single,
        kind: 'sentinel',
        nodes: [{ host: 'a', port: 26_379 }],
        login: { username: 'u', password: 'p' },
        sentinel: { primary: 'mymaster', login: null }
      }
    ],
    [
      'rediss+cluster://:s@a:7000,b:7001',
      {
        ...single,
        kind: 'cluster',
        tls: true,
        nodes: [
          { host: 'a', port: 7000 },
          { host: 'b', port: 7001 }
        ],
        login: { username: 'default', password: 's' }
      }
    ]
  ]
  for (const [url, means] of cases) t.strictSame(parseRedisUrl(url), means, url)
})

t.test(
  'R5: what cannot be read refuses the start, names REDIS_URL and shows no password',
  async (t) => {
    const refused = [
      'http://h',
      'redis:h',
      'redis//h',
      'redis://',
      'redis://:p%zz@h',
      'redis://h:abc',
      'redis://h:0',
      'redis://h:65536',
      'redis://h:',
      'redis://::1',
      'redis://h/notanumber',
      'redis://h/1/2',
      'redis://h/-1',
      'redis://h/1?db=2',
      'redis://h?db=',
      'redis://a,b',
      'redis://hemlig@h',
      'redis://u:@h',
      'redis://:hemlig#x@h',
      'redis://:hemlig/x@h',
      'redis://:hemlig?x@h',
      'redis://h?enableOfflineQueue=true',
      'redis://h?family=5',
      'redis://h?sentinel_password=hemlig',
      'redis+cluster://a,b/2',
      'redis+cluster://a?db=1',
      'redis+sentinel://a/x/y',
      'redis+sentinel://a/%zz',
      'redis+sentinel://a?sentinel_username=w',
      'redis+sentinel://a,,b',
      'redis://h?db=1&db=1',
      'unix:///run/redis.sock',
      'redis:///run/redis.sock'
    ]
    for (const redisUrl of refused) {
      const error = errorOf(() => resolveConfig({ redisUrl }))
      t.ok(
        error instanceof ConfigError && error.message.startsWith('REDIS_URL: '),
        `${redisUrl}: ${String(error)}`
      )
      t.notMatch(String(error), /hemlig/)
    }
  }
)

t.test(
  'R5: whatever stands there is read or refused, and what is read is what was written',
  async () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const url of [
          text,
          `redis://${text}`,
          `redis+sentinel://${text}`,
          `rediss+cluster://u:${text}@h`
        ]) {
          const error = errorOf(() => parseRedisUrl(url))
          if (error !== null && !(error instanceof RedisUrlError)) throw error
        }
      })
    )
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }),
        fc.string(),
        fc.nat(65_534),
        fc.nat(99),
        (password, username, port, database) => {
          const login = `${encodeURIComponent(username)}:${encodeURIComponent(password)}`
          const read = parseRedisUrl(`redis://${login}@h:${port + 1}/${database}`)
          return (
            read.login?.password === password &&
            read.login.username === (username || 'default') &&
            read.nodes[0]?.port === port + 1 &&
            read.database === database
          )
        }
      )
    )
  }
)

t.test('R3: a file of authorities that cannot be used refuses the start', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-ca-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'empty.pem'), 'nothing')
  const cases: [redisUrl: string | undefined, redisCaFile: string, message: RegExp][] = [
    ['rediss://h', join(folder, 'missing.pem'), /^REDIS_CA_FILE: the file cannot be read/],
    ['rediss://h', join(folder, 'empty.pem'), /^REDIS_CA_FILE: holds no certificate/],
    [
      'redis://h',
      join(folder, 'empty.pem'),
      /^REDIS_CA_FILE: needs a REDIS_URL that begins with rediss/
    ],
    [undefined, join(folder, 'empty.pem'), /^REDIS_CA_FILE: needs a REDIS_URL/]
  ]
  for (const [redisUrl, redisCaFile, message] of cases)
    t.throws(() => resolveConfig({ redisUrl, redisCaFile }), { name: 'ConfigError', message })
})

function errorOf(work: () => unknown): unknown {
  try {
    work()
    return null
  } catch (error) {
    return error
  }
}
