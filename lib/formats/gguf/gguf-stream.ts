import { open } from 'node:fs/promises'
import { TraitscopeError, throwIfAborted } from '../../errors.js'
import { type FileOptions, writeFileAtomic } from '../files/atomic.js'
import { fileError } from '../files/file-errors.js'
import { readInto } from '../files/read-whole.js'
import { quoted } from '../json/json-scan.js'
import type { GgmlTypeName } from './ggml-types.js'
import {
  encodeGgufHeader,
  type GgufContents,
  type GgufFile,
  type GgufInput,
  type GgufTensor,
} from './gguf.js'
import { tensorByteLength } from './gguf-writer.js'

/** A tensor whose bytes come when they are written. */
export interface StreamedTensor {
  readonly name: string
  /** ggml's ne: the first dimension is contiguous. */
  readonly shape: readonly number[]
  readonly type: GgmlTypeName
  /** Its bytes in order, in pieces of any size; a piece may be overwritten when the next one is asked for. */
  readonly chunks: () => AsyncIterable<Uint8Array>
}

export interface GgufStreamOptions extends FileOptions {
  /** Called when everything is written, before the name appears; when it throws, nothing stays behind. */
  verify?: (() => void) | undefined
  signal?: AbortSignal | undefined
  /** Fraction of the file written, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

const PIECE_BYTES = 2 ** 24

/**
 * Writes a GGUF file of any size in little memory: the header first, then tensor after tensor. The name appears when
 * the file is complete.
 *
 * @throws FILE_EXISTS, FILE_ACCESS as `writeFileAtomic`; ABORTED; INTERNAL when a tensor yields another number of
 * bytes than its shape has; whatever a tensor's chunks or `verify` throw.
 */
export async function writeGgufStream(
  path: string,
  metadata: GgufInput['metadata'],
  tensors: readonly StreamedTensor[],
  options: GgufStreamOptions = {},
): Promise<void> {
  const { force = false, check } = options
  await writeFileAtomic(path, encode(metadata, tensors, options), { force, check })
}

async function* encode(
  metadata: GgufInput['metadata'],
  tensors: readonly StreamedTensor[],
  { verify, signal, onProgress }: GgufStreamOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { bytes, offsets, dataBytes } = encodeGgufHeader(metadata, tensors)
  yield bytes
  for (const [i, { name, shape, type, chunks }] of tensors.entries()) {
    let done = 0
    for await (const chunk of chunks()) {
      throwIfAborted(signal)
      yield chunk
      done += chunk.length
      onProgress?.((offsets[i]! + done) / dataBytes)
    }
    if (done !== tensorByteLength(name, shape, type)) {
      throw new TraitscopeError(
        'INTERNAL',
        `tensor ${quoted(name)} of shape [${shape}] yielded ${done} bytes`,
      )
    }
    yield new Uint8Array((offsets[i + 1] ?? dataBytes) - offsets[i]! - done)
  }
  verify?.()
}

/** The metadata of a file as the encoder takes it: written back, every byte is the same. */
export function storedMetadata({ metadata, types }: GgufContents): GgufInput['metadata'] {
  return [...metadata].map(([key, value]) => [key, types.get(key)!, value] as const)
}

/** The bytes of a tensor from `begin` to `end`, in pieces; each piece is overwritten by the next one. */
export async function* tensorBytes(
  { path, dataOffset }: Pick<GgufFile, 'path' | 'dataOffset'>,
  { name, offset }: GgufTensor,
  begin: number,
  end: number,
  pieceBytes = PIECE_BYTES,
): AsyncGenerator<Uint8Array, void, undefined> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw fileError(error, path)
  })
  try {
    const buffer = new Uint8Array(Math.min(pieceBytes, end - begin))
    for (let at = begin; at < end; at += buffer.length) {
      const piece = buffer.subarray(0, end - at)
      if ((await readInto(file, piece, dataOffset + offset + at)) === piece.length) yield piece
      else
        throw new TraitscopeError('FILE_INCOMPLETE', `${path} was cut short while ${quoted(name)} was read`)
    }
  } finally {
    await file.close()
  }
}
