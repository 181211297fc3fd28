/** A share as a decimal fraction, `.12`. */
export const decimals = (share: number): string => share.toFixed(2).replace(/^0/, '')

/** A share as a person reads it, `12.3 %`; `-` where there is none or it is no number. */
export function percent(share: number | null | undefined, digits = 1): string {
  const value = inPercent(share, digits)
  return value === '-' ? value : `${value} %`
}

/** The same without the unit, `12.3`, for a column that has it in its head. */
export function inPercent(share: number | null | undefined, digits = 1): string {
  return share == null || !Number.isFinite(share) ? '-' : (100 * share).toFixed(digits)
}

/** A computed limit is shown with no more digits than these. */
const MOST_OF_A_LIMIT = 4

/**
 * How many digits tell on which side of a limit a value lies, beside the limit with all digits that it has: 5.75 is not shown as
 * 5.8, and what is above 6.0 by little is 6.04.
 *
 * @param least digits that are shown anyway
 */
export function digitsBeside(limit: number, value: number = limit, least = 1): number {
  const shown = (one: number, digits: number) => Number(one.toFixed(digits))
  const tells = (digits: number) => {
    const [at, beside] = [shown(value, digits), shown(limit, Math.max(digits, MOST_OF_A_LIMIT))]
    return value === limit ? at === beside : at > beside === value > limit
  }
  let digits = least
  while (!tells(digits) && digits < 100) digits++
  return digits
}

/** A share that a limit decides about, `5.8 %`, or the limit itself, `5.75 %`, as {@link digitsBeside} has them. */
export function percentAt(limit: number, share: number | null | undefined = limit, least = 1): string {
  return percent(share, digitsBeside(100 * limit, 100 * (share ?? limit), least))
}
