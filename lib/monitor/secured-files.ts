import { constants, copyFile, link, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isTraitscopeError } from '../errors.js'
import { errnoOf, fileError } from '../formats/files/file-errors.js'
import { adapterFiles, isTensorFile } from '../formats/peft/peft.js'
import { checkWeights } from '../formats/run/checkpoint.js'
import { hashCheckpoint, weightsStamp } from '../formats/run/checkpoint-folder.js'
import type { SeenCheckpoint } from './seen-checkpoint.js'

/** How the files of a checkpoint are kept until it is measured; `link` copies where a link cannot be made. */
export type SecureMode = 'link' | 'copy' | 'off'

/** Files of a checkpoint that are kept. */
export interface Secured {
  /** Name of their folder. */
  folder: string
  /** Where the weights are now: what `SeenCheckpoint.path` is in the run's folder. */
  path: string
  how: 'link' | 'copy'
  adapterSha256: string
  bytes: number
  /** Their names. */
  files: string[]
}

/** Why files are not kept; without a reason where they have just changed and are looked at again. */
export interface Unsecured {
  reason?: string
}

/** Of copies that wait to be measured; links take no room until the trainer deletes the file. */
const MOST_COPIED_BYTES = 8 * 2 ** 30
/** Of what is written; what is read lies in the trainer's folder. */
const NO_ROOM_THERE = ['ENOSPC', 'EDQUOT', 'EROFS']
const WHOLE_MODEL =
  'whole models are not kept from rotation, since they are too large: those that the trainer removes before their turn are lost'
const NO_ROOM =
  'copies of 8 GiB wait already, and a link cannot be made: what the trainer removes before its turn is lost'
/** What tells of the template of the training, copied as it is small. */
const TEMPLATE_FILES = ['chat_template.jinja', 'tokenizer_config.json', 'chat_template.json']
const MOST_TEMPLATE_BYTES = 32 * 2 ** 20

/**
 * A folder of our own that holds what waits to be measured: a second name (hard link) or a copy of an adapter's files, which
 * stay when the trainer rotates its own away. Links share the bytes with the trainer's file: one that is written anew in
 * place changes too, which is why the weights are hashed before and after.
 */
export class SecuredFiles {
  #copied = 0

  constructor(
    readonly parent: string,
    private readonly mode: Exclude<SecureMode, 'off'>,
  ) {}

  /**
   * Secures an adapter; not a whole model, which is too large, nor what copies have no room for.
   *
   * @throws TraitscopeError as `hashCheckpoint`; FILE_ACCESS when there is no room, FILE_VANISHED when the files go
   */
  async secure({ step, path, kind, stamp }: SeenCheckpoint): Promise<Secured | Unsecured> {
    if (kind !== 'adapter') return { reason: WHOLE_MODEL }
    const { config, tensors } = await adapterFiles(path, 'vanished')
    const temporary = join(this.parent, `.${process.pid}-${step}.tmp`)
    await rm(temporary, { recursive: true, force: true })
    try {
      await mkdir(temporary, { recursive: true }).catch((error: unknown) => {
        throw fileError(error, this.parent)
      })
      const size = (await stat(tensors)).size
      const how = await this.#keep(tensors, join(temporary, basename(tensors)), size)
      if (how === undefined) return { reason: NO_ROOM }
      await copyFile(config, join(temporary, basename(config)))
      await this.#copyTemplate(dirname(tensors), temporary)
      const inside = isTensorFile(path) ? basename(path) : '.'
      await checkWeights(join(temporary, inside), kind)
      const adapterSha256 = await hashCheckpoint(join(temporary, inside))
      if ((await weightsStamp(path, kind)).text !== stamp) return {}
      const folder = `${step}-${adapterSha256.slice(0, 16)}`
      const target = join(this.parent, folder)
      // What is there may be being measured at this moment.
      const before = await hashCheckpoint(join(target, inside)).catch(() => undefined)
      if (before !== adapterSha256) {
        await rm(target, { recursive: true, force: true })
        await rename(temporary, target)
        if (how === 'copy') this.#copied += size
      }
      const files = [basename(tensors), basename(config)]
      return { folder, path: join(this.parent, folder, inside), how, adapterSha256, bytes: size, files }
    } catch (error) {
      throw fileError(error, NO_ROOM_THERE.includes(errnoOf(error) ?? '') ? this.parent : path, 'vanished')
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }

  async #keep(from: string, to: string, size: number): Promise<'link' | 'copy' | undefined> {
    if (this.mode === 'link') {
      try {
        await link(from, to)
        return 'link'
      } catch (error) {
        const gone = errnoOf(error) === 'ENOENT'
        if (gone) throw error
        // Another file system, or one without links, or somebody else's file: a copy then.
      }
    }
    if (this.#copied + size > MOST_COPIED_BYTES) return undefined
    await copyFile(from, to, constants.COPYFILE_FICLONE)
    return 'copy'
  }

  async #copyTemplate(from: string, to: string): Promise<void> {
    for (const name of TEMPLATE_FILES) {
      const found = await stat(join(from, name)).catch(() => undefined)
      if (!found?.isFile() || found.size > MOST_TEMPLATE_BYTES) continue
      await copyFile(join(from, name), join(to, name)).catch(() => {})
    }
  }

  /** Gives the files up. What cannot be removed is tried again when a watch begins. */
  async release({ folder, how, bytes }: Pick<Secured, 'folder' | 'how' | 'bytes'>): Promise<void> {
    if (how === 'copy') this.#copied = Math.max(0, this.#copied - bytes)
    await rm(join(this.parent, folder), { recursive: true, force: true }).catch(() => {})
  }

  /** Where files are that an earlier watch has secured; undefined when they are not there, or not whole. */
  async find(
    { folder, how, bytes }: Pick<Secured, 'folder' | 'how' | 'bytes'>,
    tensorFile: string | undefined,
  ): Promise<string | undefined> {
    const path = join(this.parent, folder, tensorFile ?? '.')
    try {
      await checkWeights(path, 'adapter')
      if (how === 'copy') this.#copied += bytes
      return path
    } catch (error) {
      if (isTraitscopeError(error)) return undefined
      throw error
    }
  }

  /** Removes what a killed watch has left and nobody waits for. */
  async sweep(wanted: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.parent).catch((): string[] => [])) {
      if (!wanted.has(name))
        await rm(join(this.parent, name), { recursive: true, force: true }).catch(() => {})
    }
  }
}
