import type { NativeBatch, NativeCancelToken, NativeModel, NativeRequest, NativeStates } from '../binding.js'
import { TraitscopeError } from '../errors.js'
import { checkLength, contextCells, type PromptLimits } from './base/prompt-limits.js'

/** Batches that are computed in one context, and its size in cells of memory. */
export interface ExtractPass {
  batches: readonly NativeBatch[]
  maxTokens: number
}

/**
 * Sorts batches by the context that their prompts need: a LongRoPE base rotates long prompts otherwise than short ones,
 * and llama.cpp goes by the size of the context.
 *
 * @throws TraitscopeError PROMPT_TOO_LONG, INTERNAL when a batch holds prompts of both kinds
 */
export function passesOf(
  batches: readonly NativeBatch[],
  limits: PromptLimits,
  batchTokens: number,
): ExtractPass[] {
  const passes = new Map<number, NativeBatch[]>()
  for (const batch of batches) {
    const lengths = promptLengths(batch)
    const longest = lengths.reduce((a, b) => Math.max(a, b))
    checkLength(limits, longest, 'a prompt')
    const cells = contextCells(limits, longest, batchTokens)
    if (lengths.some((length) => contextCells(limits, length, batchTokens) !== cells)) {
      throw new TraitscopeError('INTERNAL', 'a batch holds prompts that need contexts of different sizes')
    }
    const of = passes.get(cells)
    if (of) of.push(batch)
    else passes.set(cells, [batch])
  }
  return [...passes].map(([maxTokens, of]) => ({ batches: of, maxTokens }))
}

/** Tokens of each sequence of a batch; a prompt that another one continues is no sequence of its own. */
function promptLengths({ positions, seqOffsets, seqIds }: NativeBatch): number[] {
  const lengths: number[] = []
  for (const [token, position] of positions.entries()) {
    for (let k = seqOffsets[token]!; k < seqOffsets[token + 1]!; k++) lengths[seqIds[k]!] = position + 1
  }
  return lengths.filter((length) => length !== undefined)
}

/** Runs passes one after another; their rows land in one array. */
export async function runPasses(
  native: NativeModel,
  passes: readonly ExtractPass[],
  request: Omit<NativeRequest, keyof ExtractPass>,
  cancel: NativeCancelToken,
  onProgress?: (fraction: number) => void,
): Promise<NativeStates> {
  const tokensOf = ({ batches }: ExtractPass) => batches.reduce((sum, { tokens }) => sum + tokens.length, 0)
  const total = passes.reduce((sum, pass) => sum + tokensOf(pass), 0)
  const states: NativeStates[] = []
  let before = 0
  for (const pass of passes) {
    const [start, share] = [before / total, tokensOf(pass) / total]
    const report = onProgress && ((fraction: number) => onProgress(start + share * fraction))
    states.push(await native.extract({ ...request, ...pass }, cancel, report))
    before += tokensOf(pass)
  }
  return states.reduce((a, b) => ({
    data: b.data,
    computedTokens: a.computedTokens + b.computedTokens,
    contextTokens: a.contextTokens + b.contextTokens,
    decodeSeconds: a.decodeSeconds + b.decodeSeconds,
    contextSeconds: a.contextSeconds + b.contextSeconds,
    nodesAfterStop: a.nodesAfterStop + b.nodesAfterStop,
  }))
}
