import { TraitscopeError } from '../../errors.js'
import type { MissingMeans } from '../files/file-errors.js'
import { gunzip, isGzipName } from '../files/gzip.js'
import { sha256, sha256File } from '../files/hash.js'
import { onDisk, type ReadWholeOptions, readInto, readWhole, withFile } from '../files/read-whole.js'
import { quoted } from '../json/json-scan.js'
import { decodeFloat32, firstNonFinite } from './safetensors-dtypes.js'
import {
  parseSafetensorsHeader,
  type SafetensorsHeader,
  safetensorsDataStart,
  type TensorEntry,
} from './safetensors-header.js'

export type { SafetensorsDtype } from './safetensors-dtypes.js'
export { encodeSafetensors, type SafetensorsInput } from './safetensors-writer.js'
export type { SafetensorsHeader, TensorEntry }

/** Most that a packed file may become: activations of a run, never models. */
const MAX_UNPACKED_BYTES = 1024 ** 3

export interface SafetensorsParseOptions {
  /** Largest header that is accepted; the format allows 100,000,000 bytes. */
  maxHeaderBytes?: number
}

/** Reads bytes of a file. */
type ByteSource = (begin: number, end: number) => Uint8Array

/**
 * A safetensors file, in memory or left on disk. Everything that the format promises has been checked; the values
 * themselves are not covered by the format, see {@link Safetensors.finiteFloat32}.
 */
export class Safetensors {
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, TensorEntry>

  protected constructor(
    /** Names the file in errors. */
    readonly where: string,
    private readonly source: ByteSource,
    private readonly header: SafetensorsHeader,
  ) {
    this.metadata = header.metadata
    this.tensors = header.tensors
  }

  /**
   * Parses a whole file; the buffer is kept, not copied.
   *
   * @throws FILE_INCOMPLETE when the file is cut short, FILE_INVALID when it breaks the format.
   */
  static parse(buffer: Uint8Array, where: string, options: SafetensorsParseOptions = {}): Safetensors {
    return new Safetensors(where, inMemory(buffer), headerOf(buffer, where, options))
  }

  /** The raw little-endian bytes of a tensor: of a file in memory a view, not a copy. */
  bytes(name: string): Uint8Array {
    const { begin, end } = this.entry(name)
    return this.read(begin, end)
  }

  private read(begin: number, end: number): Uint8Array {
    const { dataStart } = this.header
    return this.source(dataStart + begin, dataStart + end)
  }

  /**
   * A tensor as a fresh Float32Array in C order. Decodes F32, F16, BF16 and F64 (rounded to float32).
   *
   * @throws UNSUPPORTED for other dtypes, FILE_INVALID when there is no such tensor.
   */
  float32(name: string): Float32Array {
    return decodeFloat32(this.entry(name).dtype, this.bytes(name), `tensor ${quoted(name)} of ${this.where}`)
  }

  /**
   * Rows of a tensor (slices along its first dimension), in the order asked for, as {@link Safetensors.float32} decodes
   * them: for tensors that are too large to be decoded as a whole.
   */
  float32Rows(name: string, rows: ArrayLike<number>): Float32Array {
    const { dtype, shape, begin, end } = this.entry(name)
    const stride = (end - begin) / shape[0]!
    const picked = new Uint8Array(rows.length * stride)
    for (let i = 0; i < rows.length; i++) {
      const at = begin + rows[i]! * stride
      picked.set(this.read(at, at + stride), i * stride)
    }
    return decodeFloat32(dtype, picked, `tensor ${quoted(name)} of ${this.where}`)
  }

  /**
   * As {@link Safetensors.float32}, with every value checked.
   *
   * @throws SHAPE naming the tensor and the element when a value is NaN or infinite.
   */
  finiteFloat32(name: string): Float32Array {
    const values = this.float32(name)
    const bad = firstNonFinite(values)
    if (bad >= 0) {
      throw new TraitscopeError(
        'SHAPE',
        `expected finite values in tensor ${quoted(name)} of ${this.where}, found ${values[bad]} at element ${bad}`,
      )
    }
    return values
  }

  private entry(name: string): TensorEntry {
    const entry = this.tensors.get(name)
    if (!entry)
      throw new TraitscopeError('FILE_INVALID', `expected ${this.where} to hold tensor ${quoted(name)}`)
    return entry
  }
}

/** A safetensors file of the disk. */
export class SafetensorsFile extends Safetensors {
  private constructor(
    path: string,
    source: ByteSource,
    header: SafetensorsHeader,
    /** SHA-256 of the file's (unpacked) bytes, hex. */
    readonly sha256: string,
  ) {
    super(path, source, header)
  }

  static async read(
    path: string,
    options: ReadWholeOptions & SafetensorsParseOptions,
  ): Promise<SafetensorsFile> {
    const stored = await readWhole(path, options)
    const buffer = isGzipName(path) ? gunzip(stored, path, options.maxBytes ?? MAX_UNPACKED_BYTES) : stored
    return new SafetensorsFile(path, inMemory(buffer), headerOf(buffer, path, options), sha256(buffer))
  }

  /** Leaves the tensors on disk: they are read, synchronously, whenever they are asked for. */
  static async open(
    path: string,
    options: { missing?: MissingMeans } & SafetensorsParseOptions,
  ): Promise<SafetensorsFile> {
    const source = await onDisk(path, options.missing ?? 'absent')
    const header = await readSafetensorsHeader(path, options)
    const hash = await sha256File(path)
    source(0, 0) // header and hash are of the file that later reads insist on
    return new SafetensorsFile(path, source, header, hash)
  }
}

function inMemory(buffer: Uint8Array): ByteSource {
  return (begin, end) => buffer.subarray(begin, end)
}

/**
 * Reads a whole safetensors file; a name that ends in `.gz` is unpacked.
 *
 * @throws FILE_NOT_FOUND, FILE_VANISHED, FILE_INCOMPLETE, FILE_INVALID.
 */
export async function readSafetensors(
  path: string,
  options: ReadWholeOptions & SafetensorsParseOptions = {},
): Promise<SafetensorsFile> {
  return SafetensorsFile.read(path, options)
}

/**
 * Opens a safetensors file whose tensors are to be read one by one, because together they would take much memory. The
 * file has to stay as it is; reading from one that changed is an error.
 *
 * @throws as {@link readSafetensors}; later reads FILE_VANISHED
 */
export async function openSafetensors(
  path: string,
  options: { missing?: MissingMeans } & SafetensorsParseOptions = {},
): Promise<SafetensorsFile> {
  return SafetensorsFile.open(path, options)
}

/**
 * Checks a file's header against its size without reading the data: enough to know that it was written to its end.
 *
 * @throws as {@link readSafetensors}.
 */
export async function readSafetensorsHeader(
  path: string,
  options: { missing?: MissingMeans } & SafetensorsParseOptions = {},
): Promise<SafetensorsHeader> {
  return withFile(path, options.missing ?? 'absent', async (file) => {
    const { size } = await file.stat()
    const prefix = new Uint8Array(8)
    const read = await readInto(file, prefix, 0)
    const dataStart = safetensorsDataStart(prefix.subarray(0, read), size, path, options.maxHeaderBytes)
    const json = new Uint8Array(dataStart - 8)
    await readInto(file, json, 8)
    return parseSafetensorsHeader(json, size, path)
  })
}

function headerOf(buffer: Uint8Array, where: string, options: SafetensorsParseOptions): SafetensorsHeader {
  const dataStart = safetensorsDataStart(buffer.subarray(0, 8), buffer.length, where, options.maxHeaderBytes)
  return parseSafetensorsHeader(buffer.subarray(8, dataStart), buffer.length, where)
}
