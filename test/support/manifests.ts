import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { parseAllDocuments } from 'yaml'
import { secretSettings } from '../../src/config.js'

export const projectRoot = fileURLToPath(new URL('../../../', import.meta.url))

/** A file of the project, as text. */
export function readProject(path: string): string {
  return readFileSync(join(projectRoot, path), 'utf8')
}

/** The files of a folder of the project, with the folder before them. */
export function filesIn(folder: string): string[] {
  return readdirSync(join(projectRoot, folder), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => `${folder}/${name}`)
}

/**
 * The documents of a YAML file, as Go programs parse them: YAML 1.1, where `on` and `no` are not
 * texts.
 *
 * @throws Error where it is not valid YAML, or a key occurs twice
 */
export function readYaml(text: string): unknown[] {
  return parseAllDocuments(text, { version: '1.1', merge: true }).map((document) => {
    const [error] = document.errors
    if (error) throw error
    return document.toJS() as unknown
  })
}

/** A Kubernetes object. */
export interface KubernetesObject {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; labels?: Record<string, string> }
}

const checked: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  lib: ['lib.es2022.d.ts'],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022
}

/**
 * The faults of Kubernetes objects, by types generated from its API: unknown fields, missing ones,
 * and wrong types. The API server would silently drop a misspelt field.
 *
 * @returns the messages for each object, in their order
 */
export function kubernetesErrors(objects: readonly KubernetesObject[]): string[][] {
  const sources = new Map(
    objects.map((object, index) => [
      join(projectRoot, `kubernetes-object-${index}.ts`),
      sourceOf(object)
    ])
  )
  const host = ts.createCompilerHost(checked)
  const [readFromDisk, existsOnDisk] = [host.getSourceFile.bind(host), host.fileExists.bind(host)]
  host.fileExists = (name) => sources.has(name) || existsOnDisk(name)
  host.getSourceFile = (name, ...rest) => {
    const source = sources.get(name)
    return source === undefined
      ? readFromDisk(name, ...rest)
      : ts.createSourceFile(name, source, ts.ScriptTarget.ES2022)
  }
  const program = ts.createProgram([...sources.keys()], checked, host)
  return [...sources.keys()].map((name) => {
    const file = program.getSourceFile(name)
    return file
      ? [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
          messageOf
        )
      : ['was not read']
  })
}

/**
 * `apps/v1` is in the module apps/v1, `networking.k8s.io/v1` in networking/v1, and `v1` in core/v1.
 */
function sourceOf({ apiVersion, kind, ...rest }: KubernetesObject): string {
  const [version = '', group = 'core'] = apiVersion.split('/').toReversed()
  return [
    `import type { ${kind} } from 'kubernetes-types/${group.split('.', 1)[0]}/${version}'`,
    `export const object: ${kind} = ${JSON.stringify({ apiVersion, kind, ...rest }, null, 2)}`
  ].join('\n')
}

function messageOf({ messageText }: ts.Diagnostic): string {
  return ts.flattenDiagnosticMessageText(messageText, ' ')
}

/** Variables in a text in Docker Compose's syntax, with their defaults. */
const VARIABLE = /\$\$|\$\{([A-Z_]+)(?::([-?])([^}]*))?\}/g

/**
 * Substitutes variables in a text, as Docker Compose does.
 *
 * @throws Error naming a required variable that is missing
 */
export function interpolate(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(VARIABLE, (_whole, name?: string, sign?: string, word = '') => {
    if (name === undefined) return '$'
    const value = env[name]
    if (value) return value
    if (sign === '?') throw new Error(`${name}: ${word}`)
    return sign === '-' ? word : ''
  })
}

/** Settings in a deployment file: names and texts. */
export type Settings = Record<string, string>

// .env.example names every setting, and no other: readme.test.ts checks that.
const settings = [...readProject('.env.example').matchAll(/^#?([A-Z_]+)=/gm)].map(
  ([, name = '']) => name
)
const known = new Set([...settings, ...secretSettings.map((name) => `${name}_FILE`)])

/** The names that are not settings. */
export function unknownSettings(names: Iterable<string>): string[] {
  return [...names].filter((name) => !known.has(name))
}

const [, production = ''] = readProject('docs/deployment.md').split('## Settings for production')
const rows = production.split('\n## ', 1)[0]?.matchAll(/^\| (`[A-Z_`, ]+`) +\|/gm) ?? []

/** The settings that every deployment must have, by the documentation. */
export const requiredSettings = [...rows].flatMap(([, names = '']) =>
  [...names.matchAll(/[A-Z_]+/g)].map(([name]) => name)
)

/** Required settings that a deployment lacks, both directly and by a file. */
export function missingSettings(made: Settings): string[] {
  return requiredSettings.filter((name) => !(name in made) && !(`${name}_FILE` in made))
}

/**
 * Writes a file with a secret for each `…_FILE` among the settings.
 *
 * @returns these settings, with the paths of the files
 */
export function writeSecrets(folder: string, made: Settings, authSecret: string): Settings {
  const samples: Settings = {
    AUTH_SECRET: authSecret,
    DATABASE_URL: 'postgresql://holdfast:password@postgres.example.com/holdfast',
    REDIS_URL: 'redis://holdfast:password@redis.example.com'
  }
  const files = Object.keys(made).filter((name) => name.endsWith('_FILE'))
  return Object.fromEntries(
    files.map((name) => {
      const path = join(folder, name)
      writeFileSync(path, `${samples[name.replace(/_FILE$/, '')] ?? ''}\n`)
      return [name, path]
    })
  )
}

/** How long open requests may take to end, in seconds. */
export const DRAIN_SECONDS =
  Number(
    /const DRAIN_MS = ([\d_]+)/.exec(readProject('src/server/serve.ts'))?.[1]?.replaceAll('_', '')
  ) / 1_000

/** How long a process with these settings may take to end after SIGTERM. */
export function secondsToEnd(made: Settings): number {
  return DRAIN_SECONDS + Number(made['DRAIN_DELAY_MS'] ?? 2_000) / 1_000
}

/** The public routes of Holdfast, which need no check. */
export const publicRoutes = [
  '/api/auth/',
  '/oauth2/',
  '/session',
  '/sessions',
  '/sessions/',
  '/.well-known/jwks.json',
  '/.well-known/oauth-authorization-server'
]
/** The same for its pages, and everything below them. */
export const publicPages = [
  '/sign-in',
  '/sign-up',
  '/sign-out',
  '/second-factor',
  '/forgot-password',
  '/reset-password',
  '/verify-email',
  '/not-me',
  '/account',
  '/admin',
  '/error'
]
