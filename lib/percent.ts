/** A share as a person reads it, `12.3 %`; `-` where there is none or it is no number. */
export function percent(share: number | null | undefined, digits = 1): string {
  const value = inPercent(share, digits)
  return value === '-' ? value : `${value} %`
}

/** The same without the unit, `12.3`, for a column that has it in its head. */
export function inPercent(share: number | null | undefined, digits = 1): string {
  return share == null || !Number.isFinite(share) ? '-' : (100 * share).toFixed(digits)
}
