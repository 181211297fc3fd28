import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { throwIfAborted } from '../../errors.js'
import { fileError } from './file-errors.js'
import { openPlain } from './read-whole.js'

/** SHA-256 of bytes, or of a string's UTF-8 bytes, as 64 lower-case hex digits. */
export function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

/** A file that was read. */
export interface FileHash {
  readonly path: string
  /** SHA-256 of its bytes. */
  readonly sha256: string
}

const CHUNK = 1 << 20

/**
 * SHA-256 of an open file's bytes, whatever has become of its name.
 *
 * @throws ABORTED when the signal fires; errors of the file system as they are
 */
export async function sha256Handle(handle: FileHandle, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  const chunk = new Uint8Array(CHUNK)
  for (let position = 0; ; ) {
    throwIfAborted(signal)
    const { bytesRead } = await handle.read(chunk, 0, CHUNK, position)
    if (bytesRead === 0) return hash.digest('hex')
    hash.update(chunk.subarray(0, bytesRead))
    position += bytesRead
  }
}

/**
 * SHA-256 of a file's bytes, streamed, so that a base model of many gigabytes costs no memory.
 *
 * @throws FILE_NOT_FOUND or FILE_ACCESS when the file cannot be read, ABORTED when the signal fires.
 */
export async function sha256File(path: string, signal?: AbortSignal): Promise<string> {
  throwIfAborted(signal)
  try {
    const handle = await openPlain(path)
    return await sha256Handle(handle, signal).finally(() => handle.close())
  } catch (error) {
    throw fileError(error, path)
  }
}
