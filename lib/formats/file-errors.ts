import { TraitscopeError } from '../errors.js'

/** What a missing file means: named by the user (`absent`), or seen a moment ago and gone now (`vanished`). */
export type MissingMeans = 'absent' | 'vanished'

/**
 * Turns a file-system error into a TraitscopeError; TraitscopeErrors pass through unchanged.
 *
 * ESTALE is how network file systems report a file that another machine deleted while it was open.
 */
export function fileError(error: unknown, path: string, missing: MissingMeans = 'absent'): TraitscopeError {
  if (error instanceof TraitscopeError) return error
  const code = errnoOf(error)
  const gone = code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESTALE'
  if (code === 'ESTALE' || (gone && missing === 'vanished')) {
    return new TraitscopeError(
      'FILE_VANISHED',
      `${path} disappeared while it was read; the trainer probably rotated it away`,
      { cause: error },
    )
  }
  if (gone) {
    return new TraitscopeError(
      'FILE_NOT_FOUND',
      `expected a file or folder at ${path}, found nothing; check the path`,
      {
        cause: error,
      },
    )
  }
  const detail = code ?? (error instanceof Error ? error.message : String(error))
  return new TraitscopeError(
    'FILE_NOT_FOUND',
    `cannot access ${path} (${detail}); check permissions and the path`,
    {
      cause: error,
    },
  )
}

/** The errno name (`ENOENT`, ...) of a file-system error. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
