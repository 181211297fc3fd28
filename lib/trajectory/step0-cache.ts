import { sha256 } from '../formats/files/hash.js'
import { KeyedStore } from '../formats/files/keyed-store.js'
import { encodeSafetensors, readSafetensors } from '../formats/safetensors/safetensors.js'

/** One entry is `nPrompts * nLayers * nEmbd` floats: 2 MB for an 8B model at one layer. */
const MAX_ENTRIES = 64
const MAX_BYTES = 512 * 2 ** 20
const TENSOR = 'states'

export interface CachedStates {
  states: Float32Array
  /** Tokens that the pass which made them computed. */
  computedTokens: number
}

/**
 * Step-0 states of base models on disk, so that runs of one base share them. The key names everything that
 * can change a bit of the result. An entry that is missing, damaged or of another shape is the same as none;
 * a folder that cannot be written costs the cache, never the measurement.
 */
export class Step0Cache {
  readonly #store: KeyedStore

  constructor(readonly folder: string) {
    this.#store = new KeyedStore(folder, {
      prefix: 'step0-',
      suffix: '.safetensors',
      maxBytes: MAX_BYTES,
      maxEntries: MAX_ENTRIES,
    })
  }

  async get(key: string, shape: readonly number[]): Promise<CachedStates | undefined> {
    try {
      const file = await readSafetensors(this.#store.path(key), { maxBytes: MAX_BYTES })
      const entry = file.tensors.get(TENSOR)
      const states = file.finiteFloat32(TENSOR)
      if (entry?.shape.join() !== shape.join() || file.metadata.get('key') !== key) return undefined
      if (file.metadata.get('sha256') !== hashOf(states)) return undefined
      await this.#store.has(key)
      const computedTokens = Number(file.metadata.get('computedTokens'))
      return Number.isSafeInteger(computedTokens) ? { states, computedTokens } : undefined
    } catch {
      return undefined
    }
  }

  async put(key: string, shape: readonly number[], { states, computedTokens }: CachedStates): Promise<void> {
    if (states.byteLength > MAX_BYTES / 4) return
    try {
      const tensor = { name: TENSOR, dtype: 'F32' as const, shape, data: states }
      const bytes = encodeSafetensors([tensor], {
        key,
        sha256: hashOf(states),
        computedTokens: String(computedTokens),
      })
      await this.#store.write(key, bytes)
    } catch {
      // No cache then: read-only home folders and full disks are ordinary, and the states are in memory
      // already.
    }
  }
}

const hashOf = (states: Float32Array): string =>
  sha256(new Uint8Array(states.buffer, states.byteOffset, states.byteLength))
