import { closeSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../errors.js'
import { tryLock, unlock } from 'fs-native-extensions'

export interface DirectoryLock {
  release(): void
}

/**
 * Takes the lock of a data directory. It is a lock of the operating system: it ends with the
 * process in every case, and neither a reused process id nor a paused holder can confuse it.
 *
 * @throws ConfigError naming the process that holds the directory
 */
export function lockDirectory(directory: string): DirectoryLock {
  const path = join(directory, 'lock')
  const file = openSync(path, 'a+', 0o600)
  if (!tryLock(file)) {
    closeSync(file)
    const holder = readFileSync(path, 'utf8').trim()
    throw new ConfigError(
      `DATA_DIR: ${directory} is in use by another Holdfast process${holder ? ` (pid ${holder})` : ''}: stop it, or set DATA_DIR to another directory`
    )
  }
  truncateSync(path)
  writeSync(file, `${process.pid}\n`)
  return {
    release() {
      unlock(file)
      closeSync(file)
    }
  }
}
