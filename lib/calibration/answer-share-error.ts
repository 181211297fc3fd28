import type { Rows } from '../runs/rows.js'
import { featuresAt, foldsOf } from './cross-validation.js'
import { fitAnswerShares } from './fit-detector.js'
import type { Pool } from './fit-rate-model.js'

/** How well the share of scoreable answers is told on sets that were left out, in [0, 1]. */
export interface AnswerShareError {
  checkpoints: number
  /** Root mean square error of the predicted share, and of guessing the mean of the labels. */
  error: number
  guessing: number
  /** Smallest share that a label had. */
  lowest: number
}

/** Null where labels do not say, or too few sets do. */
export function answerShareError(
  rows: Rows,
  layers: readonly number[],
  pool: Pool | undefined,
): AnswerShareError | null {
  const told: [predicted: number, actual: number][] = []
  for (const fold of foldsOf(rows.rows, 'dataset')) {
    const inFold = ({ dataset }: { dataset: string }) => fold.includes(dataset)
    const rest = rows.rows.filter((row) => !inFold(row))
    const others = pool && { ...pool, prior: pool.prior.where((row) => !inFold(row)) }
    const model = fitAnswerShares({ ...rows, rows: rest }, featuresAt(rows, rest, layers), others)
    if (model === null) return null
    for (const row of rows.rows) {
      const { unscored, pooled } = row.label
      if (!inFold(row) || unscored === undefined) continue
      const { scoreable } = model.predict(featuresAt(rows, [row], layers)[0]!)
      told.push([scoreable, pooled.nScoreable / unscored.total])
    }
  }
  if (told.length === 0) return null
  const mean = told.reduce((sum, [, actual]) => sum + actual, 0) / told.length
  const rms = (of: (pair: [number, number]) => number) =>
    Math.sqrt(told.reduce((sum, pair) => sum + of(pair) ** 2, 0) / told.length)
  return {
    checkpoints: told.length,
    error: rms(([predicted, actual]) => predicted - actual),
    guessing: rms(([, actual]) => actual - mean),
    lowest: Math.min(...told.map(([, actual]) => actual)),
  }
}
