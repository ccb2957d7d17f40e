import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const here = fileURLToPath(new URL('.', import.meta.url))

interface Manifest {
  name: string
  version: string
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
  peerDependencies: Record<string, string>
  [field: string]: unknown
}

export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest

/** Packages that a host of these tests has, and Holdfast does not. */
const ofHosts = [
  '@fastify/http-proxy',
  '@fastify/jwt',
  '@fastify/multipart',
  '@fastify/session',
  '@fastify/static',
  '@fastify/websocket',
  '@types/node',
  'fastify-type-provider-zod',
  'openapi-types'
]

/** A project outside of this one, in which the package is installed. */
export interface Project {
  folder: string
  /** Where the package was unpacked. */
  package: string
  /** Runs a Node program in it, with only these variables. */
  run(
    args: string[],
    options?: { env?: Record<string, string>; cwd?: string }
  ): Promise<{ status: number | null; stdout: string; stderr: string }>
}

/**
 * Packs this tree as it was built, and installs the package in an empty project, without a
 * registry. Its dependencies and those of `hosts` are linked from the packages installed here, and
 * no others can be found.
 */
export function installed(t: Pick<Test, 'teardown'>): Project {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-guest-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const packed = join(folder, 'node_modules', manifest.name)
  mkdirSync(packed, { recursive: true })
  const [{ filename }] = JSON.parse(
    execFileSync(
      'npm',
      ['pack', '--ignore-scripts', '--json', '--silent', '--pack-destination', folder],
      { cwd: root, encoding: 'utf8' }
    )
  ) as [{ filename: string }]
  execFileSync('tar', ['xzf', join(folder, filename), '-C', packed, '--strip-components=1'])
  for (const name of [
    ...Object.keys(manifest.dependencies),
    ...Object.keys(manifest.peerDependencies),
    ...ofHosts
  ]) {
    const link = join(folder, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), link, 'junction')
  }
  writeFileSync(
    join(folder, 'package.json'),
    '{ "name": "host", "private": true, "type": "module" }\n'
  )
  for (const file of readdirSync(here).filter((name) => name.endsWith('.js')))
    cpSync(join(here, file), join(folder, file))
  return {
    folder,
    package: packed,
    async run(args, { env = {}, cwd = folder } = {}) {
      const child = spawn(process.execPath, args, {
        cwd,
        env: { PATH: process.env['PATH'], ...env },
        stdio: ['ignore', 'pipe', 'pipe']
      })
      const [stdout, stderr] = [text(child.stdout), text(child.stderr)]
      const [status] = (await once(child, 'close')) as [number | null]
      return { status, stdout: await stdout, stderr: await stderr }
    }
  }
}
