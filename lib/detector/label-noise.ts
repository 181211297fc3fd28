import type { EmCounts } from '../labels/grades.js'

/**
 * Labels are counts, so a rate near the cut may lie on either side of it. On the scale `2 asin(sqrt(rate))`
 * a binomial rate has the standard error `1 / sqrt(n)` whatever its size, also at 0; n is the number of
 * independent answers.
 */
export const stabilized = (rate: number): number => 2 * Math.asin(Math.sqrt(Math.min(1, Math.max(0, rate))))
/** Inverse of {@link stabilized}, clipped to [0, 1]. */
export const unstabilized = (z: number): number => Math.sin(Math.min(Math.PI, Math.max(0, z)) / 2) ** 2

/**
 * Independent answers that carry as much as the scoreable ones do: fewer when answers to one prompt resemble
 * each other, which the standard error of the file knows.
 */
export function effectiveAnswers({ rate, nScoreable, standardError }: EmCounts): number {
  const binomial = rate * (1 - rate)
  // At 0 and 1 no spread is seen, so nothing can be said about how alike the answers are.
  return binomial === 0 ? nScoreable : Math.min(nScoreable, binomial / standardError ** 2)
}

/** Probability, in [0, 1], that the rate behind the counts is above `cut`: 0.5 when they lie on it. */
export function probabilityAbove(label: EmCounts, cut: number): number {
  return normalCdf(Math.sqrt(effectiveAnswers(label)) * (stabilized(label.rate) - stabilized(cut)))
}

/** Standard normal distribution function, to 1e-7 (Abramowitz and Stegun 26.2.17). */
export function normalCdf(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x))
  const series = [1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153]
  const tail = (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * series.reduce((sum, c) => (sum + c) * t, 0)
  return x < 0 ? tail : 1 - tail
}
