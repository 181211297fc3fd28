import type { Stats } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { fileError, type MissingMeans } from './file-errors.js'

/** What stands at a path. @throws FILE_NOT_FOUND or, by `missing`, FILE_VANISHED; FILE_ACCESS */
export async function statOf(path: string, missing: MissingMeans = 'absent'): Promise<Stats> {
  return stat(path).catch((error: unknown) => {
    throw fileError(error, path, missing)
  })
}

/** False too where it cannot be seen. */
export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )

/** False too where it cannot be seen. */
export const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  )

/** False too where it cannot be seen. */
export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
