declare module 'fs-native-extensions' {
  /**
   * Takes an exclusive lock of the operating system on an open file. False when it is locked
   * already.
   */
  export function tryLock(fd: number): boolean
  export function unlock(fd: number): void
}
