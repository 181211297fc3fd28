/** NaN of no numbers. */
export function mean(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]!
  return sum / values.length
}

/** @param lost degrees of freedom: 0 of a whole population, 1 of a sample, as NumPy's `ddof` */
export function variance(values: ArrayLike<number>, lost: 0 | 1): number {
  const centre = mean(values)
  let squares = 0
  for (let i = 0; i < values.length; i++) squares += (values[i]! - centre) ** 2
  return squares / (values.length - lost)
}

/** Of numbers in any order; of an even number of them between the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}
