import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises'
import { homedir, platform } from 'node:os'
import { join } from 'node:path'
import { writeFileAtomic } from '../formats/files/atomic.js'
import { sha256 } from '../formats/files/hash.js'
import { encodeSafetensors, readSafetensors } from '../formats/safetensors/safetensors.js'

/** One entry is `nPrompts * nLayers * nEmbd` floats: 2 MB for an 8B model at one layer. */
const MAX_ENTRIES = 64
const MAX_BYTES = 512 * 2 ** 20
const TENSOR = 'states'

/**
 * Where step-0 states are kept by default: `$XDG_CACHE_HOME/traitscope`, else the system's folder for caches.
 */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env, system: string = platform()): string {
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, 'traitscope')
  if (system === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'traitscope', 'Cache')
  if (system === 'darwin') return join(homedir(), 'Library', 'Caches', 'traitscope')
  return join(homedir(), '.cache', 'traitscope')
}

export interface CachedStates {
  states: Float32Array
  /** Tokens that the pass which made them computed. */
  computedTokens: number
}

/**
 * Step-0 states of base models on disk, so that runs of one base share them. The key names everything that
 * can change a bit of the result. An entry that is missing, damaged or of another shape is the same as none;
 * a folder that cannot be written costs the cache, never the measurement. The oldest entries go when there
 * are too many.
 */
export class Step0Cache {
  constructor(readonly folder: string) {}

  async get(key: string, shape: readonly number[]): Promise<CachedStates | undefined> {
    const path = this.#path(key)
    try {
      const file = await readSafetensors(path, { maxBytes: MAX_BYTES })
      const entry = file.tensors.get(TENSOR)
      const states = file.finiteFloat32(TENSOR)
      if (entry?.shape.join() !== shape.join() || file.metadata.get('key') !== key) return undefined
      if (file.metadata.get('sha256') !== hashOf(states)) return undefined
      const now = new Date()
      await utimes(path, now, now).catch(() => {})
      const computedTokens = Number(file.metadata.get('computedTokens'))
      return Number.isSafeInteger(computedTokens) ? { states, computedTokens } : undefined
    } catch {
      return undefined
    }
  }

  async put(key: string, shape: readonly number[], { states, computedTokens }: CachedStates): Promise<void> {
    if (states.byteLength > MAX_BYTES / 4) return
    try {
      await mkdir(this.folder, { recursive: true })
      const tensor = { name: TENSOR, dtype: 'F32' as const, shape, data: states }
      const bytes = encodeSafetensors([tensor], {
        key,
        sha256: hashOf(states),
        computedTokens: String(computedTokens),
      })
      await writeFileAtomic(this.#path(key), bytes, { force: true })
      await this.#prune()
    } catch {
      // No cache then: read-only home folders and full disks are ordinary, and the states are in memory
      // already.
    }
  }

  async #prune(): Promise<void> {
    const names = (await readdir(this.folder)).filter((name) =>
      /^step0-[0-9a-f]{64}\.safetensors$/.test(name),
    )
    const files = await Promise.all(
      names.map(async (name) => {
        const { size, mtimeMs } = await stat(join(this.folder, name))
        return { name, size, mtimeMs }
      }),
    )
    files.sort((a, b) => b.mtimeMs - a.mtimeMs)
    let bytes = 0
    for (const [i, { name, size }] of files.entries()) {
      bytes += size
      if (i >= MAX_ENTRIES || bytes > MAX_BYTES) await rm(join(this.folder, name), { force: true })
    }
  }

  #path(key: string): string {
    return join(this.folder, `step0-${key}.safetensors`)
  }
}

const hashOf = (states: Float32Array): string =>
  sha256(new Uint8Array(states.buffer, states.byteOffset, states.byteLength))
