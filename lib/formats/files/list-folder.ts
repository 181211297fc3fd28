import type { Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { fileError, type MissingMeans } from './file-errors.js'

/** Lists a folder. @throws FILE_NOT_FOUND or, by `missing`, FILE_VANISHED. */
export async function listFolder(folder: string, missing: MissingMeans): Promise<Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw fileError(error, folder, missing)
  })
}

/** Names of the entries that are no folders; a link may lead to a file. */
export function fileNames(entries: readonly Dirent[]): string[] {
  return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name)
}
