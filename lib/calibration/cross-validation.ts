import { setImmediate } from 'node:timers/promises'
import type { RateModelSpec } from '../detector/rate-model.js'
import { TraitscopeError, throwIfAborted } from '../errors.js'
import type { Row, Rows } from '../runs/rows.js'
import { fitRateModel, type Pool } from './fit-rate-model.js'

/** What is held out together: checkpoints of one run or set are no independent evidence. */
export type HoldOut = 'run' | 'dataset'

/** Features of rows at some layers, side by side. */
export function featuresAt(
  { layers }: Pick<Rows, 'layers'>,
  rows: readonly Pick<Row, 'drift'>[],
  wanted: readonly number[],
): number[][] {
  const at = wanted.map((layer) => {
    const index = layers.indexOf(layer)
    if (index < 0) {
      throw new TraitscopeError(
        'NOT_COMPARABLE',
        `the runs were measured at layer ${layers.join(', ')}, not at ${layer}`,
      )
    }
    return index
  })
  return rows.map(({ drift }) => at.flatMap((index) => drift[index]!))
}

/** With more groups than this, several are held out together: the fits grow with the square of the folds. */
const MOST_FOLDS = 8

/** Groups of rows in folds, which partition them: each alone, or dealt out in turn when there are many. */
export function foldsOf(rows: readonly Row[], by: HoldOut): (string | number)[][] {
  const groups = [...new Set(rows.map((row) => row[by]))]
  const count = Math.min(groups.length, MOST_FOLDS)
  return Array.from({ length: count }, (_, fold) => groups.filter((_, i) => i % count === fold))
}

/**
 * Predicted rate of every row by a model that has not seen its group. A fit takes up to a tenth of a second; between two of
 * them the caller's other work gets its turn.
 *
 * @param pool of a pooled model: one group is enough then, and is told by other bases alone
 * @throws TraitscopeError SHAPE with fewer than two groups; ABORTED
 */
export async function outOfFold(
  rows: Rows,
  spec: RateModelSpec,
  cut: number,
  by: HoldOut,
  signal?: AbortSignal,
  pool?: Pool,
): Promise<Float64Array> {
  const folds = foldsOf(rows.rows, by)
  if (folds.length < 2 && pool === undefined) {
    throw new TraitscopeError(
      'SHAPE',
      `expected rows of at least two ${by}s to leave one out, found ${folds.length}`,
    )
  }
  const features = featuresAt(rows, rows.rows, spec.layers)
  const predictions = new Float64Array(rows.rows.length)
  for (const fold of folds) {
    throwIfAborted(signal)
    await setImmediate()
    const rowsWhere = (heldOut: boolean) =>
      [...rows.rows.keys()].filter((i) => fold.includes(rows.rows[i]![by]) === heldOut)
    const train = rowsWhere(false)
    const test = rowsWhere(true)
    const own = {
      features: train.map((i) => features[i]!),
      labels: train.map((i) => rows.rows[i]!.label.pooled),
      datasets: train.map((i) => rows.rows[i]!.dataset),
    }
    const model = fitRateModel(spec, cut, own, pool)
    const predicted = model.predict(test.map((i) => features[i]!))
    for (const [k, i] of test.entries()) predictions[i] = predicted[k]!
  }
  return predictions
}
