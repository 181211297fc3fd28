import { encodeGgufHeader, type GgufFile, type GgufTensor, type GgufValue } from '../../formats/gguf/gguf.js'

/**
 * What of a base is opened. llama.cpp gets a GGUF that exists nowhere: a header of its own, and behind it the parts of the
 * file that run (native/core/model_file.h). Nothing is copied to disk, and what is left out is neither mapped nor read.
 */
export interface GgufPart {
  /** Blocks of what is opened. */
  readonly blocks: number
  /** The first block that never runs; `blocks` when all do. */
  readonly runsTo: number
  /** Whether tokens are predicted from what the blocks give. */
  readonly runsHead: boolean
  /** In the order of the file. */
  readonly tensors: readonly GgufTensor[]
}

/** llama.cpp takes these depths for a size of the family, and the scale of attention from that. */
export const DEPTHS_WITH_A_MEANING: Readonly<Record<string, readonly number[]>> = {
  gemma2: [46],
  gemma3: [62],
}

/** The whole base. */
export function wholeGguf(gguf: GgufFile, architecture: string): GgufPart {
  const blocks = blocksOf(gguf, architecture)
  return { blocks, runsTo: blocks, runsHead: true, tensors: [...gguf.tensors.values()] }
}

/**
 * The part that gives the states of blocks up to `layer`: these and one more, which never runs. It is there because
 * llama.cpp computes a model's last block for fewer tokens, which would round differently; its weights are zeros. The
 * output head is left out: llama.cpp takes the embedding for it then, and does not run it either.
 */
export function ggufUpTo(gguf: GgufFile, architecture: string, layer: number): GgufPart {
  const all = blocksOf(gguf, architecture)
  const blocks = depth(gguf, architecture, Math.min(layer + 2, all), all)
  const tensors = [...gguf.tensors.values()].filter(({ name }) => {
    const block = blockOf(name)
    return block === undefined ? !name.startsWith('output.') : block < blocks
  })
  return { blocks, runsTo: layer + 1, runsHead: false, tensors }
}

/** Where cutting would change what is computed, the model keeps its depth. */
function depth(gguf: GgufFile, architecture: string, wanted: number, all: number): number {
  const telling = DEPTHS_WITH_A_MEANING[architecture] ?? []
  if (telling.includes(all) || gguf.metadata.has(`${architecture}.nextn_predict_layers`)) return all
  return telling.includes(wanted) ? wanted + 1 : wanted
}

/** Header and parts of the opened GGUF, as the addon takes them. */
export function encodePart(gguf: GgufFile, architecture: string, part: GgufPart) {
  const { bytes, offsets } = encodeGgufHeader(metadataOf(gguf, architecture, part), part.tensors)
  const parts = part.tensors.flatMap(({ name, byteLength, offset }, i) => [
    offsets[i]!,
    byteLength,
    (blockOf(name) ?? -1) < part.runsTo ? gguf.dataOffset + offset : -1,
  ])
  return { header: bytes, parts: Float64Array.from(parts) }
}

/** As {@link encodePart}, without vocabulary and without data: all that memory depends on. */
export function encodePlan(gguf: GgufFile, architecture: string, part: GgufPart, nVocab: number) {
  const metadata = metadataOf(gguf, architecture, part).filter(
    ([key]) => !key.startsWith('tokenizer.') && key !== `${architecture}.vocab_size`,
  )
  const { bytes, dataBytes } = encodeGgufHeader(
    [...metadata, ['tokenizer.ggml.model', 'string', 'none'], [`${architecture}.vocab_size`, 'u32', nVocab]],
    part.tensors,
  )
  return { header: bytes, parts: Float64Array.from([0, dataBytes, -1]) }
}

type Metadata = Parameters<typeof encodeGgufHeader>[0]

function metadataOf(gguf: GgufFile, architecture: string, { blocks }: GgufPart): [...Metadata] {
  const all = blocksOf(gguf, architecture)
  return [...gguf.metadata].map(([key, value]) => {
    const type = gguf.types.get(key)!
    if (key === `${architecture}.block_count`) return [key, type, blocks]
    return [key, type, key.startsWith(`${architecture}.`) ? perBlock(value, all, blocks) : value]
  })
}

/** Settings that a base gives block by block go with the blocks. */
function perBlock(value: GgufValue, all: number, blocks: number): GgufValue {
  const isList = ArrayBuffer.isView(value) && !(value instanceof DataView) && value.length === all
  return isList ? value.subarray(0, blocks) : value
}

/** Blocks of the file; 0 where it does not say. */
export function blocksOf(gguf: GgufFile, architecture: string): number {
  return Number(gguf.metadata.get(`${architecture}.block_count`) ?? 0)
}

function blockOf(name: string): number | undefined {
  const found = /^blk\.(\d+)\./.exec(name)
  return found ? Number(found[1]) : undefined
}
