import { percent } from '../percent.js'
import { readThrough } from './contrast.js'
import type { Prior } from './prior.js'

/** So much further than the other models, in widths of what they span. Of the prior that ships no model goes so far beyond the others. */
const FURTHER = 0.25

/**
 * Says of a drift when it lies beyond all that the models of a prior did: what is told of it then is extrapolated.
 *
 * @param read see `contrastReading`
 * @returns a sentence on the feature that is furthest out, or undefined
 */
export function beyondPrior(
  { rows, traits, depths }: Pick<Prior, 'rows' | 'traits' | 'depths'>,
  read: readonly (readonly number[])[],
): (drift: readonly (readonly number[])[]) => string | undefined {
  const spans = read.map((_, f) => {
    const all = rows.map(({ features }) => features[f]!)
    return { low: all.reduce((a, b) => Math.min(a, b)), high: all.reduce((a, b) => Math.max(a, b)) }
  })
  return (drift) => {
    const features = readThrough(read, drift.flat())
    const widths = features.map((value, f) => {
      const { low, high } = spans[f]!
      const beyond = Math.max(low - value, value - high)
      // Where they all did the same, anything else is further than any share of what they span.
      return beyond > 0 ? beyond / (high - low) : 0
    })
    const furthest = widths.reduce((best, width, f) => (width > widths[best]! ? f : best), 0)
    if (!(widths[furthest]! > FURTHER)) return undefined
    const trait = traits[furthest % traits.length]!
    const depth = depths[Math.floor(furthest / traits.length)]!
    const { low, high } = spans[furthest]!
    return (
      `the drift lies beyond all that the other models did, so that the rate is extrapolated and its interval means nothing: ${trait} moved by ` +
      `${features[furthest]!.toFixed(2)} of the contrast at ${percent(depth, 0)} of the depth, theirs by ${low.toFixed(2)} to ${high.toFixed(2)}`
    )
  }
}
