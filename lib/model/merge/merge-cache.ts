import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { fileError } from '../../formats/files/file-errors.js'

/** A model of 8B parameters in F16 takes 16 GB. */
const DEFAULT_MAX_BYTES = 20 * 2 ** 30
const ENTRY = /^merged-[0-9a-f]{64}\.gguf$/
/** Left by a writer that was killed; younger ones may still be written. */
const TEMPORARY = /^\.merged-[0-9a-f]{64}\.gguf\..*\.tmp$/
const TEMPORARY_MAX_AGE_MS = 24 * 3600 * 1000

/**
 * Merged models on disk, so that a checkpoint that has to be merged is merged once. The key names everything that can
 * change a byte. The entries that were used longest ago go when all of them are larger than the limit; the newest one
 * stays whatever its size.
 */
export class MergeCache {
  constructor(
    readonly folder: string,
    readonly maxBytes = DEFAULT_MAX_BYTES,
  ) {}

  /** Where the model of a key is, or goes. The folder exists when the promise is fulfilled. */
  async path(key: string): Promise<string> {
    try {
      await mkdir(this.folder, { recursive: true })
    } catch (error) {
      throw fileError(error, this.folder)
    }
    return join(this.folder, `merged-${key}.gguf`)
  }

  /** True when the model of a key is there; it then counts as used. */
  async has(key: string): Promise<boolean> {
    const now = new Date()
    return utimes(await this.path(key), now, now).then(
      () => true,
      () => false,
    )
  }

  /** Removes what exceeds the limit, but never the model of `key`. What cannot be removed stays. */
  async prune(key: string): Promise<void> {
    const keep = await this.path(key)
    const names = await readdir(this.folder).catch((): string[] => [])
    const files: { path: string; size: number; usedMs: number }[] = []
    for (const name of names) {
      const path = join(this.folder, name)
      const info = await stat(path).catch(() => undefined)
      if (!info) continue
      if (ENTRY.test(name)) files.push({ path, size: info.size, usedMs: info.mtimeMs })
      else if (TEMPORARY.test(name) && Date.now() - info.mtimeMs > TEMPORARY_MAX_AGE_MS) await remove(path)
    }
    files.sort((a, b) => Number(b.path === keep) - Number(a.path === keep) || b.usedMs - a.usedMs)
    let bytes = 0
    for (const { path, size } of files) {
      bytes += size
      if (bytes > this.maxBytes && path !== keep) await remove(path)
    }
  }
}

/** An open file may refuse on Windows, another process may have been faster. */
function remove(path: string): Promise<void> {
  return rm(path, { force: true }).catch(() => {})
}
