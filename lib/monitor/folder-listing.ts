import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { TraitscopeError } from '../errors.js'
import { errnoOf, fileError } from '../formats/files/file-errors.js'
import { sha256 } from '../formats/files/hash.js'
import { listFolder } from '../formats/files/list-folder.js'

/** What a folder holds, where that may be another than at the time before. */
export interface Listed {
  entries: Dirent[]
  /** False when only names have changed that its time does not tell of. */
  isOther: boolean
}

/** A folder's time may hide what was written in the same moment. */
const RACY_MS = 2000
/** Every so many times the folder is listed whatever its time says: network file systems keep old ones. */
const LIST_EVERY = 10

/** Lists a folder again and again, and only when its time or its names say that something is another. */
export class FolderListing {
  #stamp: string | undefined
  #named: string | undefined
  #turn = 0

  constructor(readonly path: string) {}

  /** Whether it has been there. */
  get wasThere(): boolean {
    return this.#stamp !== undefined
  }

  /** @throws TraitscopeError FILE_NOT_FOUND for what is no folder, FILE_ACCESS, FILE_VANISHED */
  async next(): Promise<Listed | 'same' | 'absent'> {
    this.#turn++
    const folder = await this.#folder()
    if (folder === undefined) {
      this.#named = undefined
      return 'absent'
    }
    const stamp = `${folder.mtimeMs}/${folder.ctimeMs}#${folder.ino}`
    const isFresh = Date.now() - Math.max(folder.mtimeMs, folder.ctimeMs) < RACY_MS
    const isSame = this.#stamp === stamp
    const isDue = this.#turn % LIST_EVERY === 0
    if (isSame && !isFresh && !isDue) return 'same'
    // Names alone are read in a fraction of the time.
    if (isSame && sha256((await this.#names()).join('\0')) === this.#named) return 'same'
    const entries = await listFolder(this.path, 'vanished')
    this.#named = sha256(entries.map(({ name }) => name).join('\0'))
    this.#stamp = stamp
    return { entries, isOther: !isSame || isDue }
  }

  async #folder() {
    try {
      const found = await stat(this.path)
      if (found.isDirectory()) return found
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined
      throw fileError(error, this.path)
    }
    throw new TraitscopeError('FILE_NOT_FOUND', `expected a folder at ${this.path}, found a file`)
  }

  #names(): Promise<string[]> {
    return readdir(this.path).catch((error: unknown) => {
      throw fileError(error, this.path, 'vanished')
    })
  }
}
