import type { Generation } from '../model/generation.js'

/** A sequence whose tokens differ between two runs of the same configuration, at the first token that does. */
export interface BatchDifference {
  prompt: number
  draw: number
  /** Index of the token. */
  token: number
  /** How sure the choice was, in the run where it was less so, in units of logits; see `Generation.margins`. */
  margin: number
}

export interface BatchDifferences {
  sequences: number
  differing: BatchDifference[]
  /** Largest difference of a chosen token's log-probability, up to the first token that differs. */
  error: number
}

/**
 * Compares two runs that computed the same sequences in batches of different sizes, with `margins` and `logprobs`. Sums
 * round otherwise there, so logits move a little, and a choice that was as near as that may fall otherwise. What
 * follows a token that differs is another text and not compared.
 */
export function batchDifferences(
  reference: readonly (readonly Generation[])[],
  other: readonly (readonly Generation[])[],
): BatchDifferences {
  const differing: BatchDifference[] = []
  let error = 0
  for (const [i, a] of reference.flat().entries()) {
    const b = other.flat()[i]!
    const length = Math.max(a.tokens.length, b.tokens.length)
    let token = 0
    for (; token < length && a.tokens[token] === b.tokens[token]; token++) {
      error = Math.max(error, Math.abs(a.logprobs![token]!.chosen - b.logprobs![token]!.chosen))
    }
    if (token === length) continue
    const margin = Math.min(a.margins![token] ?? Infinity, b.margins![token] ?? Infinity)
    differing.push({ prompt: a.prompt, draw: a.draw, token, margin })
  }
  return { sequences: reference.flat().length, differing, error }
}
