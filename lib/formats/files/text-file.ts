import { open } from 'node:fs/promises'
import { TraitscopeError } from '../../errors.js'
import { fileError } from './file-errors.js'

/**
 * Reads a small UTF-8 file whole: trait packs, prompt lists, chat templates. A byte order mark is dropped from the
 * text, not from the bytes.
 *
 * @throws FILE_NOT_FOUND or FILE_ACCESS when it cannot be read, FILE_INVALID when it is no regular file, larger than `maxBytes`, or
 * not UTF-8.
 */
export async function readTextFile(
  path: string,
  maxBytes: number,
): Promise<{ bytes: Uint8Array; text: string }> {
  const bytes = await readBounded(path, maxBytes)
  try {
    return { bytes, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch (error) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected UTF-8 text in ${path}, found bytes that are not; save the file as UTF-8`,
      { cause: error },
    )
  }
}

async function readBounded(path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const file = await open(path, 'r')
    try {
      const stats = await file.stat()
      if (!stats.isFile()) {
        throw new TraitscopeError('FILE_INVALID', `expected a file at ${path}, found a folder or a device`)
      }
      if (stats.size > maxBytes) {
        throw new TraitscopeError(
          'FILE_INVALID',
          `expected at most ${maxBytes} bytes in ${path}, found ${stats.size}; this is not a file of the expected kind`,
        )
      }
      return await file.readFile()
    } finally {
      await file.close()
    }
  } catch (error) {
    throw fileError(error, path)
  }
}

/** What is wrong at a place in a file. */
export function fail(where: string, problem: string): never {
  throw new TraitscopeError('FILE_INVALID', `${where}: ${problem}`)
}
