import { isJsonObject } from '../formats/json/json.js'
import { isIndex, isNumbers, isText } from '../formats/json/json-fields.js'
import { type MarginChange, marginsOf } from '../labels/margins/margins.js'
import type { PairPrompts, PairReading } from '../labels/margins/pair-reading.js'
import type { MarginTrajectory, Trajectory } from './trajectory.js'

/**
 * Readings of pairs by step, step 0 first, as a trajectory has them.
 *
 * @returns nothing where no pairs were read
 */
export function marginTrajectory(
  pairs: PairPrompts | undefined,
  readings: readonly (PairReading | undefined)[],
): Pick<Trajectory, 'margin'> {
  if (pairs === undefined) return {}
  return {
    margin: {
      file: pairs.file,
      sha256: pairs.sha256,
      identity: pairs.identity,
      pairs: pairs.pairs.map(({ questionId, domain }) => ({ questionId, domain })),
      pass: readings[0]!.tokens,
      misaligned: readings.map((one) => [...one!.misaligned]),
      aligned: readings.map((one) => [...one!.aligned]),
    },
  }
}

/**
 * How much more probable misaligned answers have become than aligned ones, per step, step 0 first: the numbers of `label --margin` over
 * all pairs. Undefined for a run that was measured without pairs.
 */
export function trajectoryMargins({ margin }: Pick<Trajectory, 'margin'>): MarginChange[] | undefined {
  if (margin === undefined) return undefined
  const at = (i: number) => ({ misaligned: margin.misaligned[i]!, aligned: margin.aligned[i]! })
  return margin.misaligned.map((_, i) => marginsOf(i, margin.pairs, at(i), at(0)).all)
}

export function isMargin(value: unknown, steps: number): value is MarginTrajectory {
  if (!isJsonObject(value) || !Array.isArray(value.pairs) || value.pairs.length === 0) return false
  const { pairs } = value
  const isTable = (rows: unknown) =>
    Array.isArray(rows) && rows.length === steps && rows.every((row) => isNumbers(row, pairs.length))
  return (
    [value.file, value.sha256, value.identity].every(isText) &&
    pairs.every(
      (one) => isJsonObject(one) && isText(one.questionId) && (one.domain === null || isText(one.domain)),
    ) &&
    isJsonObject(value.pass) &&
    isIndex(value.pass.total) &&
    isIndex(value.pass.computed) &&
    isTable(value.misaligned) &&
    isTable(value.aligned)
  )
}
