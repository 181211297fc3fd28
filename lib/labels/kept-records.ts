import { sha256 } from '../formats/files/hash.js'
import { KeyedStore } from '../formats/files/keyed-store.js'
import { readWhole } from '../formats/files/read-whole.js'
import { isJsonObject } from '../formats/json/json.js'

const MAX_ENTRIES = 64
const MAX_BYTES = 64 * 2 ** 20

/**
 * What is known of step 0 on disk: a list of records per key, which names everything that can change one; more of them replace
 * fewer. An entry that is missing or damaged is the same as none.
 */
export class KeptRecords<T extends { step: number }> {
  readonly #store: KeyedStore
  readonly #key: string

  constructor(
    folder: string,
    prefix: string,
    key: object,
    private readonly is: (value: unknown) => value is T,
  ) {
    this.#store = new KeyedStore(folder, {
      ...{ prefix, suffix: '.json', maxBytes: MAX_BYTES, maxEntries: MAX_ENTRIES },
    })
    this.#key = sha256(JSON.stringify(key))
  }

  async get(): Promise<T[]> {
    try {
      const bytes = await readWhole(this.#store.path(this.#key), { maxBytes: MAX_BYTES })
      const kept: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
      if (!isJsonObject(kept) || kept.key !== this.#key || !Array.isArray(kept.records)) return []
      if (kept.sha256 !== sha256(JSON.stringify(kept.records)) || !kept.records.every(this.is)) return []
      await this.#store.has(this.#key)
      return kept.records
    } catch {
      return []
    }
  }

  async put(logged: ReadonlyMap<string, T>): Promise<void> {
    const records = [...logged.values()].filter(({ step }) => step === 0)
    const known = await this.get()
    if (records.length <= known.length) return
    try {
      const text = JSON.stringify({ key: this.#key, sha256: sha256(JSON.stringify(records)), records })
      if (text.length > MAX_BYTES / 4) return
      await this.#store.write(this.#key, text)
    } catch {
      // No cache then, as with that of states.
    }
  }
}
