import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { fileError, type MissingMeans } from '../files/file-errors.js'
import { type FileHash, sha256, sha256Handle } from '../files/hash.js'
import { listFolder } from '../files/list-folder.js'
import { openPlain, readInto } from '../files/read-whole.js'
import { isJsonObject, readJsonFile } from '../json/json.js'
import { quoted, shown } from '../json/json-scan.js'
import { readSafetensorsHeader, type TensorEntry } from '../safetensors/safetensors.js'

const MODEL_TENSORS = 'model.safetensors'
const MODEL_INDEX = 'model.safetensors.index.json'
const SHARD_NAME = /^[^/\\]+\.safetensors$/

/** One tensor of a model's weight files. */
export interface HfTensor extends TensorEntry {
  /** Index into {@link HfWeights.files}. */
  readonly file: number
  /** Where its bytes start in the file. */
  readonly position: number
}

/**
 * The weights of a Hugging Face model folder, one safetensors file or shards with an index; data stays in the files.
 * Where both are there, as a save over an earlier sharded one leaves them, it is the one file, as in transformers.
 */
export class HfWeights implements AsyncDisposable {
  readonly #handles: (Promise<Opened> | undefined)[]

  private constructor(
    readonly folder: string,
    readonly files: readonly string[],
    /** Weight files of the folder that are not read: left over from another save. */
    readonly leftOver: readonly string[],
    readonly tensors: ReadonlyMap<string, HfTensor>,
    private readonly missing: MissingMeans,
  ) {
    this.#handles = new Array(files.length)
  }

  /**
   * Reads the headers and checks that every file is complete and every tensor of the index is where it should be.
   *
   * @throws FILE_NOT_FOUND, FILE_INCOMPLETE, FILE_INVALID, FILE_VANISHED; UNSUPPORTED for pickles
   */
  static async open(folder: string, missing: MissingMeans = 'absent'): Promise<HfWeights> {
    const names = await weightFiles(folder, missing)
    const index = names.includes(MODEL_TENSORS)
      ? undefined
      : await readIndex(join(folder, MODEL_INDEX), missing)
    const files = index ? [...new Set(index.values())].sort() : [MODEL_TENSORS]
    const tensors = new Map<string, HfTensor>()
    for (const [file, name] of files.entries()) {
      const path = join(folder, name)
      if (!names.includes(name)) {
        throw new TraitscopeError(
          'FILE_INCOMPLETE',
          `expected ${path}, which ${MODEL_INDEX} names, found none; it may still be being written`,
        )
      }
      const header = await readSafetensorsHeader(path, { missing })
      for (const entry of header.tensors.values()) {
        if (tensors.has(entry.name) || (index && index.get(entry.name) !== name)) {
          throw new TraitscopeError(
            'FILE_INVALID',
            `expected tensor ${quoted(entry.name)} once and where the index of ${folder} says, found it in ${name}`,
          )
        }
        tensors.set(entry.name, { ...entry, file, position: header.dataStart + entry.begin })
      }
    }
    for (const [tensor, name] of index ?? []) {
      if (tensors.has(tensor)) continue
      throw new TraitscopeError('FILE_INVALID', `expected tensor ${quoted(tensor)} in ${join(folder, name)}`)
    }
    const read = new Set(index ? [MODEL_INDEX, ...files] : files)
    const leftOver = names.filter((name) => namesModelWeights([name]) && !read.has(name)).sort()
    return new HfWeights(folder, files, leftOver, tensors, missing)
  }

  /** Bytes `begin` to `end` of a tensor. */
  async read(tensor: HfTensor, begin = 0, end = tensor.end - tensor.begin): Promise<Uint8Array> {
    const path = join(this.folder, this.files[tensor.file]!)
    try {
      const { handle } = await this.#open(tensor.file)
      const bytes = new Uint8Array(end - begin)
      if ((await readInto(handle, bytes, tensor.position + begin)) === bytes.length) return bytes
    } catch (error) {
      throw fileError(error, path, this.missing)
    }
    throw new TraitscopeError('FILE_INCOMPLETE', `${path} was cut short while it was read`)
  }

  /**
   * Content identity: equal files under equal names, whatever the folder is called. It is of the bytes that
   * {@link read} gives, file by file too, also when the trainer has deleted or replaced the files since.
   *
   * @throws FILE_INCOMPLETE when a file was written to since it was opened, FILE_VANISHED, ABORTED
   */
  async hash(signal?: AbortSignal): Promise<{ sha256: string; files: FileHash[] }> {
    const files: FileHash[] = []
    for (const [file, name] of this.files.entries()) {
      const path = join(this.folder, name)
      try {
        const { handle, size, mtimeMs } = await this.#open(file)
        files.push({ path, sha256: await sha256Handle(handle, signal) })
        const now = await handle.stat()
        if (now.size === size && now.mtimeMs === mtimeMs) continue
      } catch (error) {
        throw fileError(error, path, this.missing)
      }
      throw new TraitscopeError('FILE_INCOMPLETE', `${path} was written to while it was read`)
    }
    const hashes = files.map((file, i): [string, string] => [this.files[i]!, file.sha256])
    return { sha256: sha256(JSON.stringify(hashes.sort(([a], [b]) => (a < b ? -1 : 1)))), files }
  }

  #open(file: number): Promise<Opened> {
    this.#handles[file] ??= openFile(join(this.folder, this.files[file]!))
    return this.#handles[file]!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#handles)
    await Promise.all(
      opened.map((one) => (one.status === 'fulfilled' ? one.value?.handle.close() : undefined)),
    )
  }
}

/** A file as it was when it was opened. */
interface Opened {
  handle: FileHandle
  size: number
  mtimeMs: number
}

async function openFile(path: string): Promise<Opened> {
  const handle = await openPlain(path)
  try {
    const { size, mtimeMs } = await handle.stat()
    return { handle, size, mtimeMs }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** {@link HfWeights.hash} of a folder. */
export async function hashWeights(folder: string, signal?: AbortSignal): Promise<string> {
  await using weights = await HfWeights.open(folder, 'vanished')
  return (await weights.hash(signal)).sha256
}

/** Whether a folder's file names are those of a whole model's weights, complete or not. */
export function namesModelWeights(names: readonly string[]): boolean {
  return names.some((name) => name === MODEL_INDEX || /^model(-\d+-of-\d+)?\.safetensors$/.test(name))
}

async function weightFiles(folder: string, missing: MissingMeans): Promise<string[]> {
  const names = (await listFolder(folder, missing)).map(({ name }) => name)
  if (names.includes(MODEL_TENSORS) || names.includes(MODEL_INDEX)) return names
  if (namesModelWeights(names)) {
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `expected ${MODEL_INDEX} in ${folder}, found shards without it; it may still be being written`,
    )
  }
  if (names.some((name) => /^pytorch_model.*\.bin(\.index\.json)?$/.test(name))) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${folder} holds pytorch_model.bin, a pickle that can run code when it is opened; load the model with transformers and save it again with save_pretrained(..., safe_serialization=True)`,
    )
  }
  throw new TraitscopeError(
    'FILE_NOT_FOUND',
    `expected ${MODEL_TENSORS} or ${MODEL_INDEX} in ${folder}, found neither; name a Hugging Face model folder`,
  )
}

/** Tensor name to shard. */
async function readIndex(path: string, missing: MissingMeans): Promise<Map<string, string>> {
  const json = await readJsonFile(path, missing)
  const map = isJsonObject(json) ? json.weight_map : undefined
  if (!isJsonObject(map) || Object.keys(map).length === 0) {
    throw new TraitscopeError('FILE_INVALID', `expected ${path} to hold a weight_map of tensors and files`)
  }
  return new Map(
    Object.entries(map).map(([tensor, file]) => {
      if (typeof file === 'string' && SHARD_NAME.test(file)) return [tensor, file]
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected ${path} to name a .safetensors file beside it for ${quoted(tensor)}, found ${shown(file)}`,
      )
    }),
  )
}
