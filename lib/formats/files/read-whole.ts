import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { TraitscopeError } from '../../errors.js'
import { fileError, type MissingMeans } from './file-errors.js'
import { statOf } from './file-stats.js'

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

/**
 * Opens a plain file to read it. Whoever opens a named pipe waits until somebody writes to it, and a device may never end: what
 * is no plain file is refused instead, and so is the pointer of a file that was not fetched.
 *
 * @throws FILE_INVALID; errors of the file system as they are
 */
export async function openPlain(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const found = await file.stat()
    if (found.isDirectory()) return file // fails at the first read, by its own name
    if (found.isFile()) {
      if (found.size < MAX_POINTER_BYTES) await refusePointer(file, path)
      return file
    }
    throw new TraitscopeError('FILE_INVALID', `expected ${path} to be a plain file, found ${kindOf(found)}`)
  } catch (error) {
    await file.close()
    throw error
  }
}

const POINTER = 'version https://git-lfs.github.com/spec/'
/** The format's own limit. */
const MAX_POINTER_BYTES = 1024

/** A clone without Git LFS has small texts in place of large files. */
async function refusePointer(file: FileHandle, path: string): Promise<void> {
  const start = Buffer.alloc(POINTER.length)
  await readInto(file, start, 0)
  if (start.toString('latin1') !== POINTER) return
  throw new TraitscopeError(
    'FILE_INVALID',
    `${path} is a pointer of Git LFS, and not the file that it stands for; fetch that with "git lfs pull", or download it`,
  )
}

/** What a path leads to when it is neither file nor folder. */
export function kindOf(found: { isFIFO(): boolean; isSocket(): boolean; isFile(): boolean }): string {
  if (found.isFIFO()) return 'a named pipe'
  if (found.isSocket()) return 'a socket'
  return found.isFile() ? 'a file' : 'a device'
}

/** Opens a file for `use` and closes it, with file-system errors translated. */
export async function withFile<T>(
  path: string,
  missing: MissingMeans,
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  let file: FileHandle | undefined
  try {
    file = await openPlain(path)
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

/**
 * Reads parts of a file whenever they are asked for, synchronously; nothing is kept open or in memory in between.
 *
 * @returns a function that reads the bytes from `begin` up to `end`
 * @throws as {@link readWhole}; the function FILE_VANISHED when the file is gone or is another one than at first
 */
export async function onDisk(
  path: string,
  missing: MissingMeans,
): Promise<(begin: number, end: number) => Uint8Array> {
  const first = await statOf(path, missing)
  return (begin, end) => {
    let file: number | undefined
    try {
      file = openSync(path, 'r')
      const { size, mtimeMs, ino } = fstatSync(file)
      if (size !== first.size || mtimeMs !== first.mtimeMs || ino !== first.ino) {
        throw new TraitscopeError('FILE_VANISHED', `${path} was replaced while it was read`)
      }
      const bytes = new Uint8Array(end - begin)
      for (let done = 0; done < bytes.length; ) {
        const read = readSync(file, bytes, done, bytes.length - done, begin + done)
        if (read === 0)
          throw new TraitscopeError('FILE_INCOMPLETE', `${path} was cut short while it was read`)
        done += read
      }
      return bytes
    } catch (error) {
      throw fileError(error, path, 'vanished')
    } finally {
      if (file !== undefined) closeSync(file)
    }
  }
}
