import { stat } from 'node:fs/promises'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import { fileError } from '../formats/files/file-errors.js'
import { readGguf } from '../formats/gguf/gguf.js'
import { fingerprintGguf } from '../model/base/fingerprint.js'
import type { Model } from '../model/model.js'

/**
 * Guards the base's file while a model of it is open. A model that was opened for some layers is in memory and the file
 * could not hurt it, but merged checkpoints are made from the file, and what is told is told of the file by its name. One
 * that is mapped (a whole model on the CPU) changes with it.
 */
export class BaseFile {
  private constructor(
    private readonly model: Pick<Model, 'path' | 'fingerprint'>,
    private readonly mapped: boolean,
    private stamp: string | undefined,
  ) {}

  static async of(model: Model): Promise<BaseFile> {
    const { options, placement } = model
    const mapped = options?.mmap === true && options.layers === undefined && placement?.device === 'cpu'
    return new BaseFile(model, mapped, await stampOf(model.path).catch(() => undefined))
  }

  /**
   * Checks that the file is the one that was opened: by size, times and inode, and when these differ by its fingerprint.
   *
   * @throws TraitscopeError FILE_INVALID when it is another one, FILE_NOT_FOUND, FILE_ACCESS
   */
  async check(): Promise<void> {
    if (this.stamp === undefined) return
    const { path, fingerprint } = this.model
    const stamp = await stampOf(path)
    if (stamp === this.stamp) return
    if (!this.mapped && (await fingerprintOf(path)) === fingerprint) {
      this.stamp = stamp
      return
    }
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected the base ${path} to stay as it was opened, found it changed: nothing is measured until it is what it was; end the watch and begin anew for another base`,
    )
  }
}

async function stampOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true })
    return `${dev}:${ino} ${size}@${mtimeNs}`
  } catch (error) {
    throw fileError(error, path)
  }
}

/** Undefined for what is no GGUF (any more). */
async function fingerprintOf(path: string): Promise<string | undefined> {
  try {
    return await fingerprintGguf(await readGguf(path))
  } catch (error) {
    if (isTraitscopeError(error)) return undefined
    throw fileError(error, path)
  }
}
