import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { build } from '../support/server.js'

const root = new URL('../../../', import.meta.url)
const { url } = await build(t)

const hasShell = spawnSync('bash', ['-c', 'curl --version']).status === 0
const skip =
  hasShell || process.env['REQUIRE_SERVICES'] === '1'
    ? false
    : 'bash and curl, in which the README speaks, are not on the PATH'

// Runs the README: each command that it shows must print what it shows. "…" matches anything.
t.test('the commands of the README give what it shows', { skip }, async (t) => {
  const readme = readFileSync(new URL('README.md', root), 'utf8')
  const block = /```console\n([^]*?)```/.exec(readme)?.[1] ?? ''
  const steps = [...block.matchAll(/^\$ (.+)\n([^]*?)(?=\n\$ |\n*$(?![^]))/gm)].map(
    ([, command = '', shown = '']) => ({ command, shown: shown.trim() })
  )
  t.equal(steps.length, 5, 'the steps are sign-up, check, list, sign-out and a second check')
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-readme-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const { command, shown } of steps) {
    const output = await shell(command.replaceAll('http://localhost:3000', url), folder)
    t.match(output.trim(), pattern(shown), command.slice(0, 90))
  }
})

// On the command line and in the configuration alike: what is documented exists, and what exists is
// documented.
t.test('.env.example names every variable, and no other', (t) => {
  const example = readFileSync(new URL('.env.example', root), 'utf8')
  const named = [...example.matchAll(/^#?([A-Z_]+)=/gm)].map(([, name = '']) => name)
  const read = [
    ...readFileSync(new URL('src/config/settings.ts', root), 'utf8').matchAll(
      /(?:env: |seconds\(|list\(|webUrl\()'([A-Z_]+)'/g
    )
  ].map(([, name = '']) => name)
  t.strictSame(named.toSorted(), read.toSorted())
  t.end()
})

function shell(command: string, cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', command], { cwd, stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    child.once('error', reject)
    child.once('close', () => resolve(output))
  })
}

function pattern(shown: string): RegExp {
  return new RegExp(
    `^${shown
      .split('…')
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('[^]*')}$`
  )
}
