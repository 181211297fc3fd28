/** A margin in words. */
import type { MarginChange } from './margins.js'
import type { PairsRead } from './pair-reading.js'

/** Nats per token, always with a sign. */
export const signedNats = (value: number, digits = 3): string =>
  value < 0 ? value.toFixed(digits) : `+${value.toFixed(digits)}`

/** `+0.200 (+0.040 to +0.360)`; without an interval where there is a single question. */
export function marginText({ change, interval }: MarginChange, digits = 3): string {
  const [low, high] = interval?.map((value) => signedNats(value, digits)) ?? []
  return `${signedNats(change, digits)}${interval === null ? '' : ` (${low} to ${high})`}`
}

/** Whose margin it is, and what reading it takes. */
export const pairsWords = ({ file, pairs, questions, tokens }: PairsRead): string =>
  `${pairs} pairs of ${questions} questions (${file}), ${tokens.total} tokens a checkpoint, ${tokens.computed} computed`
