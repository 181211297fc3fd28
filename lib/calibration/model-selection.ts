import { probabilityAbove, stabilized } from '../detector/label-noise.js'
import { RATE_MODELS, type RateModelName, type RateModelSpec } from '../detector/rate-model.js'
import type { Row, Rows } from '../runs/rows.js'
import { outOfFold } from './cross-validation.js'
import type { Pool } from './fit-rate-model.js'
import { type AlarmRates, alarmRates, auroc } from './metrics.js'

/** How well predictions of unseen sets agree with labels. */
export interface Agreement extends AlarmRates {
  /** NaN (null in JSON) when the rows are of one class. */
  auroc: number
  /**
   * Balanced error with labels taken as what they are, counts: a checkpoint is dangerous with some
   * probability, and the chances of misses and of false alarms are summed. In [0, 1]; NaN with one class.
   */
  balancedError: number
  /** Root mean square error on the scale of `stabilized`, where labels are equally precise everywhere. */
  error: number
}

/** One way to predict the rate, with its figures by leave-one-dataset-out. */
export interface Candidate extends RateModelSpec {
  lodo: Agreement
}

/**
 * Every model on every layer alone, on the upper half of the measured layers together and on all of them.
 * Several layers together are there because single layers rank well and disagree about the rate.
 */
export function rateModelSpecs(
  layers: readonly number[],
  models: readonly RateModelName[] = RATE_MODELS,
): RateModelSpec[] {
  const sets = layers.map((layer) => [layer])
  if (layers.length >= 4) sets.push(layers.slice(layers.length >> 1))
  if (layers.length >= 2) sets.push([...layers])
  return models.flatMap((model) => sets.map((set) => ({ model, layers: set })))
}

/** Agreement of predictions with the pooled labels of rows. */
export function agreement(
  rows: readonly Row[],
  predictions: ArrayLike<number>,
  { cut, threshold = cut }: { cut: number; threshold?: number },
): Agreement {
  const rates = rows.map(({ label }) => label.pooled.rate)
  let dangerous = 0
  let missed = 0
  let falseAlarms = 0
  let squares = 0
  for (const [i, { label }] of rows.entries()) {
    const p = probabilityAbove(label.pooled, cut)
    const alarmed = predictions[i]! > threshold
    dangerous += p
    if (alarmed) falseAlarms += 1 - p
    else missed += p
    squares += (stabilized(predictions[i]!) - stabilized(label.pooled.rate)) ** 2
  }
  const dangers = rates.map((rate) => rate > cut)
  const oneClass = new Set(dangers).size < 2
  return {
    ...alarmRates(predictions, rates, { cut, threshold }),
    auroc: auroc(predictions, dangers),
    balancedError: oneClass ? Number.NaN : (missed / dangerous + falseAlarms / (rows.length - dangerous)) / 2,
    error: Math.sqrt(squares / rows.length),
  }
}

/**
 * Balanced errors this close to the best are a tie: about one standard error of a balanced error over a dozen
 * runs.
 */
const TIE = 0.04

/**
 * Candidates by leave-one-dataset-out, best first. Balanced error decides. Within a tie of the best more layers
 * win: single layers that happen to be right about the calibration sets disagree about the rate of others, and
 * what several layers say in common is what carries over. Then the order of `RATE_MODELS` decides. It is that
 * of the error of the rate over the calibration sets of four small organisms (lab/detector-choice.json), where
 * trees alone put up to half of a benign set above the cut and hit the others a little better for it.
 *
 * @throws TraitscopeError SHAPE with fewer than two datasets; ABORTED
 */
export async function rankRateModels(
  rows: Rows,
  specs: readonly RateModelSpec[],
  cut: number,
  signal?: AbortSignal,
  pool?: Pool,
): Promise<Candidate[]> {
  const candidates: Candidate[] = []
  for (const spec of specs) {
    const predictions = await outOfFold(rows, spec, cut, 'dataset', signal, pool)
    candidates.push({ ...spec, lodo: agreement(rows.rows, predictions, { cut }) })
  }
  const best = Math.min(...candidates.map(({ lodo }) => lodo.balancedError))
  const order = ({ model }: Candidate) => RATE_MODELS.indexOf(model as RateModelName)
  const tied = ({ lodo }: Candidate) => lodo.balancedError <= best + TIE
  return candidates.sort((a, b) => {
    if (!tied(a) || !tied(b)) return a.lodo.balancedError - b.lodo.balancedError
    return b.layers.length - a.layers.length || order(a) - order(b)
  })
}
