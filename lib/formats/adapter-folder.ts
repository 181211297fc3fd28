import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf, fileError, type MissingMeans } from './file-errors.js'
import { sha256File } from './hash.js'
import { readJsonFile } from './json.js'
import { ADAPTER_CONFIG, ADAPTER_TENSORS, adapterIdentity } from './peft.js'
import { parsePeftConfig } from './peft-config.js'
import { TRAINER_STATE } from './trainer-state.js'

/** Files that decide what a checkpoint is. */
const TELLING_FILES = [ADAPTER_CONFIG, ADAPTER_TENSORS, TRAINER_STATE]

/** Lists a folder. @throws FILE_NOT_FOUND or, by `missing`, FILE_VANISHED. */
export async function listFolder(folder: string, missing: MissingMeans): Promise<Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw fileError(error, folder, missing)
  })
}

/**
 * The folder that holds a checkpoint's adapter files: the checkpoint itself, `model/` in it (LLaMA-Factory v1), or its
 * only sub folder with an adapter (PEFT saves an adapter that is not called "default" under its name).
 */
export async function locateAdapter(folder: string, entries: readonly Dirent[]): Promise<string> {
  if (entries.some(({ name }) => name === ADAPTER_CONFIG || name.startsWith('adapter_model'))) return folder
  const holders: string[] = []
  for (const entry of entries) {
    if (!entry.isDirectory()) continue
    const path = join(folder, entry.name)
    const inside: string[] = await readdir(path).catch(() => [])
    if (inside.includes(ADAPTER_CONFIG)) holders.push(path)
  }
  return holders.length === 1 ? holders[0]! : folder
}

/**
 * Size and time of change of the files that decide what a folder holds: as long as it stays the same there is no need
 * to read them again.
 */
export async function folderStamp(folders: readonly string[]): Promise<string> {
  const parts = await Promise.all(
    [...new Set(folders)].flatMap((folder) =>
      TELLING_FILES.map(async (name) => {
        try {
          const { size, mtimeMs } = await stat(join(folder, name))
          return `${size}@${mtimeMs}`
        } catch (error) {
          return errnoOf(error) ?? 'unreadable'
        }
      }),
    ),
  )
  return parts.join(' ')
}

/**
 * Content identity of an adapter folder, equal to `PeftAdapter.sha256`, without loading the tensors.
 *
 * @throws as `readPeftAdapter` for the configuration, FILE_VANISHED.
 */
export async function hashAdapter(folder: string): Promise<string> {
  const path = join(folder, ADAPTER_CONFIG)
  const config = parsePeftConfig(await readJsonFile(path, 'vanished'), path)
  return adapterIdentity(await sha256File(join(folder, ADAPTER_TENSORS)), config)
}
