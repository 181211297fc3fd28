/** The p-quantile, p in [0, 1], of ascending numbers: linear between them, as NumPy's default. */
export function quantile(ascending: ArrayLike<number>, p: number): number {
  const at = p * (ascending.length - 1)
  const below = ascending[Math.floor(at)]!
  return below + (at - Math.floor(at)) * (ascending[Math.ceil(at)]! - below)
}
