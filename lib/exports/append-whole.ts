import type { FileHandle } from 'node:fs/promises'

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
