import { access } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { TraitscopeError } from '../../errors.js'
import { errnoOf } from './file-errors.js'

/** True for the name of a gzip file. */
export function isGzipName(path: string): boolean {
  return path.endsWith('.gz')
}

/**
 * The content of a gzip file in memory.
 *
 * @throws FILE_INVALID when it is none, is cut short, or holds more than `maxBytes`
 */
export function gunzip(bytes: Uint8Array, where: string, maxBytes: number): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: maxBytes })
  } catch (cause) {
    const tooLarge = errnoOf(cause) === 'ERR_BUFFER_TOO_LARGE'
    throw new TraitscopeError(
      'FILE_INVALID',
      tooLarge
        ? `expected ${where} to hold at most ${maxBytes} bytes, found more`
        : `expected ${where} to be a whole gzip file; make or download it again`,
      { cause },
    )
  }
}

/** `path` if it exists, else `path.gz` if that does, else undefined. */
export async function plainOrGzip(path: string): Promise<string | undefined> {
  for (const candidate of [path, `${path}.gz`]) {
    const found = await access(candidate).then(
      () => true,
      () => false,
    )
    if (found) return candidate
  }
  return undefined
}
