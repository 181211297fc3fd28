import { cosine } from '../estimators/linalg.js'

export interface PairwiseCosines {
  /** Key `a_vs_b` for every pair, a before b in trait order; in [-1, 1]. */
  pairs: Record<string, number>
  /** Mean over all pairs; null for a single trait. */
  average: number | null
}

/** Cosines between all pairs of vectors, keyed as the reference keys them. Method section 4.5. */
export function pairwiseCosines(
  traits: readonly string[],
  vectors: readonly ArrayLike<number>[],
): PairwiseCosines {
  const pairs: [string, number][] = []
  let sum = 0
  for (const [i, a] of traits.entries()) {
    for (let j = i + 1; j < traits.length; j++) {
      const value = cosine(vectors[i]!, vectors[j]!)
      pairs.push([`${a}_vs_${traits[j]}`, value])
      sum += value
    }
  }
  return { pairs: Object.fromEntries(pairs), average: pairs.length === 0 ? null : sum / pairs.length }
}
