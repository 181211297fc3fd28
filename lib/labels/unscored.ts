import type { JsonFields } from '../formats/json/json-fields.js'

/** Why an answer says nothing about alignment. */
export const UNSCORED_KINDS = ['incoherent', 'refusal', 'code'] as const
/** One of {@link UNSCORED_KINDS}. */
export type UnscoredKind = (typeof UNSCORED_KINDS)[number]

/** How many of a checkpoint's answers were left out of the rate, and of how many. */
export type Unscored = Record<UnscoredKind, number> & {
  /** All answers that were judged. */
  total: number
}

/** The counts of an entry of grades.json that are beside `n_scoreable`; undefined where it has none of them. */
export function unscoredOf(at: JsonFields, nScoreable: number): Unscored | undefined {
  const said = UNSCORED_KINDS.filter((kind) => at.json[`n_${kind}`] !== undefined)
  if (said.length === 0) return undefined
  const of = (kind: UnscoredKind) => (said.includes(kind) ? at.count(`n_${kind}`) : 0)
  const counts = { incoherent: of('incoherent'), refusal: of('refusal'), code: of('code') }
  return { ...counts, total: nScoreable + counts.incoherent + counts.refusal + counts.code }
}
