import { existsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import { checkNamed } from './named-path.js'

/** What a missing file means: named by the user (`absent`), or seen a moment ago and gone now (`vanished`). */
export type MissingMeans = 'absent' | 'vanished'

const ADVICE: Record<string, string> = {
  EACCES: 'check its permissions and its owner',
  EPERM: 'check its permissions and its owner',
  EROFS: 'the file system is read-only: choose another place',
  ENOSPC: 'no space is left there: free some, or choose another place',
  EDQUOT: 'the quota is used up: free some space, or choose another place',
  EEXIST: 'a file is in the way of a folder: choose another name',
  EISDIR: 'it is a folder: name a file',
  ELOOP: 'links lead in a circle there: name what they were to lead to',
  EMFILE: 'this process may not have more files open: raise its limit (ulimit -n)',
  ENFILE: 'the system may not have more files open: end what holds many, or raise its limit',
  EIO: 'the disk has failed: see what the system says of it',
}

/**
 * Turns a file-system error into a TraitscopeError; every other error passes through unchanged.
 *
 * ESTALE is how network file systems report a file that another machine deleted while it was open.
 */
export function fileError(error: unknown, path: string, missing: MissingMeans = 'absent'): unknown {
  if (error instanceof TraitscopeError) return error
  const cause = { cause: error }
  checkNamed(path, 'a file or folder')
  if (error instanceof RangeError) {
    return new TraitscopeError('OUT_OF_MEMORY', `${path} does not fit into memory (${error.message})`, cause)
  }
  const code = errnoOf(error)
  if (code === undefined) return error
  const gone = code === 'ENOENT' || code === 'ENOTDIR'
  if (code === 'ESTALE' || (gone && missing === 'vanished')) {
    return new TraitscopeError(
      'FILE_VANISHED',
      `${path} disappeared while it was read; the trainer probably rotated it away`,
      cause,
    )
  }
  if (code === 'ENOENT') {
    return new TraitscopeError(
      'FILE_NOT_FOUND',
      `expected a file or folder at ${path}, found ${existsSync(dirname(path)) ? 'nothing' : `no folder ${missingFolder(path)}`}; check the path`,
      cause,
    )
  }
  if (code === 'ENOTDIR') {
    return new TraitscopeError(
      'FILE_NOT_FOUND',
      `expected a folder at ${missingFolder(path)}, found a file`,
      cause,
    )
  }
  return new TraitscopeError(
    'FILE_ACCESS',
    `cannot access ${path} (${code}); ${ADVICE[code] ?? 'check the path'}`,
    cause,
  )
}

/** Of the folders above a path that are none, the outermost: that is the name to look at. */
function missingFolder(path: string): string {
  let missing = dirname(path)
  const isFolder = (at: string) => statSync(at, { throwIfNoEntry: false })?.isDirectory() ?? false
  try {
    while (dirname(missing) !== missing && !isFolder(dirname(missing))) missing = dirname(missing)
  } catch {
    // What cannot be looked at is told by the path that was asked for.
  }
  return missing
}

/** The errno name (`ENOENT`, ...) of a file-system error. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** What is read; undefined where there is nothing to read. */
export const ifThere = <T>(reading: Promise<T>): Promise<T | undefined> =>
  reading.catch((error: unknown) => {
    if (isTraitscopeError(error, 'FILE_NOT_FOUND')) return undefined
    throw error
  })

/** Where a bare word is neither a name of ours nor a file, the names are the next step. */
export function unknownName(error: unknown, source: string, ours: readonly string[]): unknown {
  if (!isTraitscopeError(error, 'FILE_NOT_FOUND') || /[./\\]/.test(source)) return error
  return new TraitscopeError(
    'FILE_NOT_FOUND',
    `expected ${ours.join(', ')} or a file, found nothing at ${source}; check the name`,
    { cause: error },
  )
}
