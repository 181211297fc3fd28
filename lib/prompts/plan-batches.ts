/** A contiguous range of the sorted unique prompts, and the size of its prefix tree. */
export interface BatchRange {
  begin: number
  end: number
  nTokens: number
}

/** What batching needs to know of a sorted unique prompt. */
interface SortedPrompt {
  tokens: { length: number }
  /** Common prefix with the prompt before, in tokens. */
  shared: number
}

/**
 * What one more decode costs, in tokens: every decode reads all weights once and starts all kernels, which is worth a
 * few dozen tokens of arithmetic. Keeps the cuts from buying a handful of tokens with an extra batch.
 */
const BATCH_COST_IN_TOKENS = 32

/**
 * Cuts sorted prompts into contiguous batches so that `computed tokens + 32 * batches` is minimal under both limits.
 * A cut before prompt k computes the `shared` tokens of k a second time. Dynamic programme over cut places; a batch
 * that fits still fits when its first prompts go, so each place has one window of candidates.
 */
export function chooseBatches(
  sorted: readonly SortedPrompt[],
  maxTokens: number,
  maxSequences: number,
): BatchRange[] {
  const n = sorted.length
  const length = (k: number) => sorted[k]!.tokens.length
  // A prompt that starts the next one ends in no leaf, so it takes no sequence of its own.
  const startsNext = (k: number) => k + 1 < n && sorted[k + 1]!.shared === length(k)

  // added[k]: tokens of a tree over prompts [0, k), so a batch [i, j) has length(i) + added[j] - added[i + 1].
  const added = new Int32Array(n + 1)
  const leaves = new Int32Array(n + 1)
  for (let k = 0; k < n; k++) {
    added[k + 1] = added[k]! + length(k) - sorted[k]!.shared
    leaves[k + 1] = leaves[k]! + (startsNext(k) ? 0 : 1)
  }
  const tokensOf = (i: number, j: number) => length(i) + added[j]! - added[i + 1]!
  // The last prompt of a batch always ends in a leaf, also when its continuation went into the next batch.
  const sequencesOf = (i: number, j: number) => leaves[j - 1]! - leaves[i]! + 1

  const cost = new Float64Array(n + 1)
  const from = new Int32Array(n + 1)
  let first = 0
  for (let j = 1; j <= n; j++) {
    while (tokensOf(first, j) > maxTokens || sequencesOf(first, j) > maxSequences) first++
    let best = Number.POSITIVE_INFINITY
    for (let i = first; i < j; i++) {
      const candidate = cost[i]! + (i === 0 ? 0 : sorted[i]!.shared)
      if (candidate < best) {
        best = candidate
        from[j] = i
      }
    }
    cost[j] = best + BATCH_COST_IN_TOKENS
  }

  const ranges: BatchRange[] = []
  for (let end = n; end > 0; ) {
    const begin = from[end]!
    ranges.push({ begin, end, nTokens: tokensOf(begin, end) })
    end = begin
  }
  return ranges.reverse()
}
