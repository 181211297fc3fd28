import { type FileHandle, open } from 'node:fs/promises'
import { TraitscopeError } from '../errors.js'
import { fileError, type MissingMeans } from './file-errors.js'

/** Largest file that is read into memory in one piece: adapters and activations, never base models. */
const DEFAULT_MAX_BYTES = 4 * 1024 ** 3

export interface ReadWholeOptions {
  maxBytes?: number
  missing?: MissingMeans
}

/**
 * Reads a whole file through one handle, so that a file deleted meanwhile is still read completely.
 *
 * @throws FILE_NOT_FOUND or FILE_VANISHED, FILE_INCOMPLETE when the file changes size while it is read,
 * FILE_INVALID when it is larger than `maxBytes`.
 */
export async function readWhole(path: string, options: ReadWholeOptions = {}): Promise<Uint8Array> {
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES
  return withFile(path, options.missing ?? 'absent', async (file) => {
    const stats = await file.stat()
    if (!stats.isFile()) throw new TraitscopeError('FILE_INVALID', `expected ${path} to be a plain file`)
    if (stats.size > maxBytes) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected ${path} to hold at most ${maxBytes} bytes, found ${stats.size}`,
      )
    }
    const bytes = new Uint8Array(stats.size)
    const read = await readInto(file, bytes, 0)
    const after = await file.stat()
    if (read < stats.size || after.size !== stats.size) {
      throw new TraitscopeError(
        'FILE_INCOMPLETE',
        `${path} changed size while it was read (${stats.size} to ${after.size} bytes); it is still being written`,
      )
    }
    return bytes
  })
}

/** Opens a file for `use` and closes it, with file-system errors translated. */
export async function withFile<T>(
  path: string,
  missing: MissingMeans,
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  let file: FileHandle | undefined
  try {
    file = await open(path, 'r')
    return await use(file)
  } catch (error) {
    throw fileError(error, path, missing)
  } finally {
    await file?.close()
  }
}

/** Fills `target` from `position` on; returns the bytes read, fewer only at the end of the file. */
export async function readInto(file: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let done = 0
  while (done < target.length) {
    const length = Math.min(target.length - done, 1 << 30)
    const { bytesRead } = await file.read(target, done, length, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}
