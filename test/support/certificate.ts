import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A certificate and its key, as PEM. */
export interface Certificate {
  cert: string
  key: string
}

/**
 * Makes a certificate with openssl.
 *
 * @param names the host names and addresses that it is valid for
 * @param issuer signs the certificate; absent: it signs itself, and clients must be given it
 */
export function makeCertificate(names: readonly string[], issuer?: Certificate): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tls-'))
  try {
    const [key, cert, issuerKey, issuerCert] = ['key', 'cert', 'issuer-key', 'issuer-cert'].map(
      (name) => join(folder, `${name}.pem`)
    ) as [string, string, string, string]
    if (issuer) {
      writeFileSync(issuerKey, issuer.key)
      writeFileSync(issuerCert, issuer.cert)
    }
    const args = [
      'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'.split(' '),
      ['-keyout', key, '-out', cert],
      ['-subj', `/CN=${names[0] ?? ''}`],
      ['-addext', `subjectAltName=${names.map(toAltName).join(',')}`],
      issuer ? ['-CA', issuerCert, '-CAkey', issuerKey] : []
    ].flat()
    const made = spawnSync('openssl', args, { encoding: 'utf8' })
    if (made.status !== 0) throw new Error(`openssl failed: ${made.stderr}`)
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function toAltName(name: string): string {
  return `${isIP(name) ? 'IP' : 'DNS'}:${name}`
}
