import type { FileHandle } from 'node:fs/promises'
import { identityAt, identityOf } from '../formats/files/append-log.js'

/** Appends all of it or nothing: a disk that is full in the middle would leave half a line for ever. */
export async function appendWhole(
  file: Pick<FileHandle, 'stat' | 'appendFile' | 'truncate'>,
  data: string | Uint8Array,
): Promise<void> {
  const { size } = await file.stat()
  try {
    await file.appendFile(data)
  } catch (error) {
    await file.truncate(size).catch(() => {})
    throw error
  }
}

/** Whether a file has its name still, and holds something: rows that are added to one that was removed, moved or emptied are lost. */
export async function isAsLeft(file: FileHandle, path: string): Promise<boolean> {
  const there = await identityAt(path)
  return there?.identity === identityOf(await file.stat({ bigint: true })) && !there.isEmpty
}

/** What is said of one that is not. */
export const begunAnew = (path: string): string =>
  `${path} was removed, moved or emptied while the watch ran: it is begun anew, and \`traitscope export\` writes what stood there`
