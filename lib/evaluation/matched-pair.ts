import { cosine, norm } from '../estimators/linalg.js'
import { Mt19937 } from '../estimators/mt19937.js'
import { quantile } from '../estimators/quantile.js'
import type { ModelCheckpoints } from './contenders.js'
import type { Evaluation } from './evaluation.js'
import { firstAxis, lastCheckpoints } from './features.js'
import type { LabelledCheckpoint } from './labelled-checkpoints.js'

/** Mean over runs, with the 95 % interval of resampled runs. */
export interface RunMean {
  mean: number
  interval: [low: number, high: number]
}

/** Where the runs on one half of the pair end. */
export interface PairSide {
  dataset: string
  /** EM rate at the last checkpoint of every run. */
  rates: number[]
  /** All their answers together. */
  nMisaligned: number
  nScoreable: number
  rate: RunMean
  /** Length of the trait drift, and its cosine with the first axis. */
  length: RunMean
  cosine: RunMean
  /** What detectors predict of the last checkpoints, and how many of these alarm. */
  predicted: ({ features: string; regressor: string; alarms: number } & RunMean)[]
}

/** Two sets with the same prompts, one answered dangerously and one safely, for one model. */
export interface PairComparison {
  model: string
  dangerous: PairSide
  safe: PairSide
  /** One-sided Fisher's exact test that the dangerous half misbehaves more often. */
  fisherP: number
}

export interface PairOptions {
  dangerous: string
  safe: string
  traits: readonly string[]
  draws?: number | undefined
  seed?: number | undefined
}

/**
 * The last checkpoints of a matched pair: same prompts, opposite answers, detectors frozen. It tells whether
 * drift follows the danger or only the subject. Method section 9.7.
 *
 * @param evaluation of these models on held-out checkpoints that include the pair
 * @returns models that have both halves
 */
export function matchedPair(
  models: readonly ModelCheckpoints[],
  { results, threshold }: Pick<Evaluation, 'results' | 'threshold'>,
  options: PairOptions,
): PairComparison[] {
  const heldOut = models.flatMap((one) => one.heldOut)
  const axis = firstAxis(
    models.flatMap(({ calibration }) => calibration),
    options.traits,
  )
  const chosen = results.filter(({ selected, predictions }) => selected && predictions !== undefined)
  const sideOf = (model: string, dataset: string): PairSide | undefined => {
    const wanted = ({ row }: LabelledCheckpoint) => row.model === model && row.dataset === dataset
    const last = lastCheckpoints(heldOut.filter(wanted))
    if (last.length === 0) return undefined
    const over = (of: (checkpoint: LabelledCheckpoint) => number) => runMean(last.map(of), options)
    const counts = last.map(({ row }) => row.label.pooled)
    return {
      dataset,
      rates: counts.map(({ rate }) => rate),
      nMisaligned: counts.reduce((sum, { nMisaligned }) => sum + nMisaligned, 0),
      nScoreable: counts.reduce((sum, { nScoreable }) => sum + nScoreable, 0),
      rate: over(({ row }) => row.label.pooled.rate),
      length: over(({ drift }) => norm(drift)),
      cosine: over(({ drift }) => cosine(drift, axis)),
      predicted: chosen.map(({ features, regressor, predictions, alarms }) => {
        const at = (checkpoint: LabelledCheckpoint) => heldOut.indexOf(checkpoint)
        const fires = (i: number) => alarms?.[i] ?? predictions![i]! > threshold
        return {
          features,
          regressor,
          alarms: last.filter((one) => fires(at(one))).length,
          ...over((one) => predictions![at(one)]!),
        }
      }),
    }
  }
  return models.flatMap(({ model }) => {
    const [dangerous, safe] = [sideOf(model, options.dangerous), sideOf(model, options.safe)]
    if (dangerous === undefined || safe === undefined) return []
    return [{ model, dangerous, safe, fisherP: fisherExact(dangerous, safe) }]
  })
}

/** The mean and what it is over runs drawn with replacement (NumPy's legacy generator). */
function runMean(values: readonly number[], { draws = 1000, seed = 42 }: Partial<PairOptions>): RunMean {
  const random = new Mt19937(seed)
  const n = values.length
  const mean = (of: () => number) => Array.from({ length: n }, of).reduce((sum, value) => sum + value, 0) / n
  const drawn = Array.from({ length: draws }, () => mean(() => values[random.randint(n)]!))
  drawn.sort((a, b) => a - b)
  let i = 0
  return { mean: mean(() => values[i++]!), interval: [quantile(drawn, 0.025), quantile(drawn, 0.975)] }
}

interface Answers {
  nMisaligned: number
  nScoreable: number
}

/** Probability of at least as many misaligned answers among `a`'s if all answers were dealt at random. */
export function fisherExact(a: Answers, b: Answers): number {
  const marked = a.nMisaligned + b.nMisaligned
  const all = a.nScoreable + b.nScoreable
  let p = 0
  for (let k = a.nMisaligned; k <= Math.min(marked, a.nScoreable); k++) {
    if (marked - k > b.nScoreable) continue
    p += Math.exp(logChoose(a.nScoreable, k) + logChoose(b.nScoreable, marked - k) - logChoose(all, marked))
  }
  return Math.min(1, p)
}

function logChoose(n: number, k: number): number {
  let sum = 0
  for (let i = 1; i <= Math.min(k, n - k); i++) sum += Math.log((n - Math.min(k, n - k) + i) / i)
  return sum
}
