import { binding } from '../binding.js'
import { type GgmlTypeName, ggmlType } from '../formats/gguf/ggml-types.js'
import type { GgufFile } from '../formats/gguf/gguf.js'
import type { Model } from '../model/model.js'
import type { Trial } from './trial.js'

/** Tokens of the measured product: enough that more would not be faster. */
const ROOF_TOKENS = 512

/** Weights of a block: all matrices, and those that make keys and values possible. */
interface BlockWeights {
  all: number
  /** Query, key and value projections: what a context token still computes of the highest block. */
  projections: number
}

function blockWeights({ tensors }: GgufFile, block: number): BlockWeights {
  const weights: BlockWeights = { all: 0, projections: 0 }
  for (const { name, shape } of tensors.values()) {
    if (!name.startsWith(`blk.${block}.`) || shape.length !== 2) continue
    const n = shape[0]! * shape[1]!
    weights.all += n
    if (/\.attn_(q|k|v|qkv)\.weight$/.test(name)) weights.projections += n
  }
  return weights
}

/**
 * Floating-point operations that a pass with early stop needs in matrix products with weights: two per weight and
 * token. Attention scores, norms and activations are not counted, so the share of the roof is an under-estimate.
 */
export function neededOperations(gguf: GgufFile, layer: number, trial: Trial): number {
  const blocks = Array.from({ length: layer + 1 }, (_, block) => blockWeights(gguf, block))
  const all = blocks.reduce((sum, block) => sum + block.all, 0)
  const { all: whole, projections } = blocks.at(-1)!
  return 2 * (trial.computedTokens * all - trial.contextTokens * (whole - projections))
}

/** The type that holds most of the blocks' weights. */
export function mainType({ tensors }: GgufFile): GgmlTypeName {
  const counts = new Map<GgmlTypeName, number>()
  for (const { name, shape, type } of tensors.values()) {
    if (name.startsWith('blk.') && shape.length === 2) {
      counts.set(type, (counts.get(type) ?? 0) + shape[0]! * shape[1]!)
    }
  }
  return [...counts].reduce((most, each) => (each[1] > most[1] ? each : most))[0]
}

/** Operations per second of this model's largest product, alone, on the device that runs the model. */
export function roof(model: Model, threads: number, seconds: number): Promise<number> {
  const matrices = [...model.gguf.tensors.values()].filter(
    ({ name, shape, type }) =>
      name.startsWith('blk.0.') && shape.length === 2 && type === mainType(model.gguf),
  )
  const { shape } = matrices.reduce((most, each) =>
    each.shape[0]! * each.shape[1]! > most.shape[0]! * most.shape[1]! ? each : most,
  )
  return binding().matmulRate({
    type: ggmlType(mainType(model.gguf)).id,
    nIn: shape[0]!,
    nOut: shape[1]!,
    nTokens: ROOF_TOKENS,
    threads,
    seconds,
    gpu: model.device !== 'cpu',
  })
}
