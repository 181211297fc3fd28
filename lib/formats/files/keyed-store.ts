import { readdir, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from './atomic.js'
import { checkNamed } from './named-path.js'
import { sweepAbandoned } from './owner.js'

export interface StoreOptions {
  /** What its files are called before and after the key, e.g. `step0-` and `.safetensors`: a folder may hold several stores. */
  prefix: string
  suffix: string
  /** Bytes that all entries may take together. */
  maxBytes: number
  /** Default: as many as there is room for. */
  maxEntries?: number | undefined
}

/** Left by a writer that was killed; younger ones may still be written. */
const STALE_MS = 24 * 3600 * 1000

/**
 * A cache in a folder, one file per entry. The key is a SHA-256 (64 hex digits) over everything that can change a bit of
 * the entry, so an entry never gets old; whoever reads one checks that it is whole. Entries that were used longest ago
 * go when there are too many; the one written last stays, whatever its size. Processes may share a folder: writing is
 * atomic, and an entry that another one removed is as good as none.
 */
export class KeyedStore {
  readonly folder: string
  readonly #options: StoreOptions

  constructor(folder: string, options: StoreOptions) {
    checkNamed(folder, 'a cache')
    this.folder = folder
    this.#options = options
  }

  /** Where the entry of a key is, or goes: for what is too large to pass through memory. {@link prune} afterwards. */
  path(key: string): string {
    return join(this.folder, `${this.#options.prefix}${key}${this.#options.suffix}`)
  }

  /** True when there is an entry; it then counts as used. */
  async has(key: string): Promise<boolean> {
    const now = new Date()
    return utimes(this.path(key), now, now).then(
      () => true,
      () => false,
    )
  }

  /** Writes an entry, in place of an older one, and makes room for it. @throws as `writeFileAtomic` */
  async write(key: string, data: string | Uint8Array): Promise<void> {
    await writeFileAtomic(this.path(key), data, { force: true })
    await this.prune(key)
  }

  /** Removes what exceeds the limits, but never the entry of `key`. What cannot be removed stays. */
  async prune(key: string): Promise<void> {
    const { maxBytes, maxEntries = Number.POSITIVE_INFINITY } = this.#options
    const keep = this.path(key)
    await sweepAbandoned(this.folder)
    const entries: { path: string; size: number; usedMs: number }[] = []
    for (const name of await readdir(this.folder).catch((): string[] => [])) {
      const kind = this.#kind(name)
      if (kind === undefined) continue
      const path = join(this.folder, name)
      const info = await stat(path).catch(() => undefined)
      if (!info) continue
      if (kind === 'entry') entries.push({ path, size: info.size, usedMs: info.mtimeMs })
      else if (Date.now() - info.mtimeMs > STALE_MS) await remove(path)
    }
    entries.sort((a, b) => Number(b.path === keep) - Number(a.path === keep) || b.usedMs - a.usedMs)
    let bytes = 0
    for (const [i, { path, size }] of entries.entries()) {
      bytes += size
      if ((bytes > maxBytes || i >= maxEntries) && path !== keep) await remove(path)
    }
  }

  #kind(name: string): 'entry' | 'temporary' | undefined {
    const { prefix, suffix } = this.#options
    const hidden = name.startsWith('.')
    const rest = name.slice(Number(hidden))
    const after = rest.slice(prefix.length + 64)
    if (!rest.startsWith(prefix) || !/^[0-9a-f]{64}$/.test(rest.slice(prefix.length, prefix.length + 64)))
      return undefined
    if (!hidden) return after === suffix ? 'entry' : undefined
    return after.startsWith(`${suffix}.`) && after.endsWith('.tmp') ? 'temporary' : undefined
  }
}

/** An open file may refuse on Windows, another process may have been faster. */
function remove(path: string): Promise<void> {
  return rm(path, { force: true }).catch(() => {})
}
