import type { RateModelSpec } from '../detector/rate-model.js'
import type { VerdictKind } from '../detector/verdict.js'
import type { Row, Rows } from '../runs/rows.js'
import { isEnough } from './calibration-data.js'
import { foldsOf, outOfFold } from './cross-validation.js'
import { chooseThreshold, fitDetector, type ThresholdOptions } from './fit-detector.js'
import type { Pool } from './fit-rate-model.js'
import { type Agreement, agreement, rankRateModels } from './model-selection.js'

/** How the whole procedure, choices included, does on sets that it has not seen. */
export interface HeldOutFigures extends Agreement {
  /** Share of labelled rates inside their intervals; to compare with the nominal one. */
  coverage: number
  verdicts: Record<Exclude<VerdictKind, 'not-comparable'>, number>
}

/** What became of the intervals where the predicted rate lay between two others. */
export interface BandCoverage {
  /** Predicted rates in [from, to). */
  from: number
  to: number
  runs: number
  checkpoints: number
  /** Share of labelled rates inside their intervals. */
  coverage: number
}

/** Those of all sets, and of each. */
export interface NestedFigures extends HeldOutFigures {
  perDataset: Record<string, HeldOutFigures>
  /** Those that have a checkpoint, ascending. */
  bands: BandCoverage[]
}

/** Bounds of the bands of predicted rates. */
const BANDS = [0, 0.02, 0.06, 0.15, 0.35, 1]

/** Chooses and fits without each set (or fold of sets, when there are many) in turn, and predicts its checkpoints. */
export async function nestedFigures(
  rows: Rows,
  specs: readonly RateModelSpec[],
  {
    cut,
    nominalCoverage,
    options,
    pool,
    onFold,
  }: {
    cut: number
    nominalCoverage: number
    options: ThresholdOptions & { signal?: AbortSignal | undefined }
    pool: Pool | undefined
    onFold: (done: number) => void
  },
): Promise<NestedFigures | null> {
  const unseen: HeldOutPrediction[] = []
  const folds = foldsOf(rows.rows, 'dataset')
  if (folds.length < 2) return null
  for (const [i, fold] of folds.entries()) {
    const inside = { ...rows, rows: rows.rows.filter(({ dataset }) => !fold.includes(dataset)) }
    if (pool === undefined && !isEnough(inside, cut)) return null
    const [chosen] = await rankRateModels(inside, specs, cut, options.signal, pool)
    const predictions = await outOfFold(inside, chosen!, cut, 'dataset', options.signal, pool)
    const { threshold } = chooseThreshold(inside.rows, predictions, cut, options, [], pool)
    const detector = fitDetector(inside, chosen!, predictions, { cut, threshold, nominalCoverage, pool })
    const at = detector.layers.map((layer) => rows.layers.indexOf(layer))
    for (const row of rows.rows) {
      if (!fold.includes(row.dataset)) continue
      const { em, interval, verdict } = detector.verdict(at.map((index) => row.drift[index]!))
      // The threshold differs between folds, so predictions are compared in units of it.
      unseen.push({ row, em: em!, scaled: (em! / threshold) * cut, interval: interval!, verdict })
    }
    onFold(i + 1)
  }
  const datasets = new Set(rows.rows.map(({ dataset }) => dataset))
  const perDataset = Object.fromEntries(
    [...datasets].map((dataset) => [
      dataset,
      heldOut(
        unseen.filter(({ row }) => row.dataset === dataset),
        cut,
      ),
    ]),
  )
  return { ...heldOut(unseen, cut), perDataset, bands: bandCoverage(unseen) }
}

function bandCoverage(unseen: readonly HeldOutPrediction[]): BandCoverage[] {
  return BANDS.slice(1).flatMap((to, i) => {
    const from = BANDS[i]!
    const inside = unseen.filter(({ em }) => em >= from && (em < to || to === 1))
    if (inside.length === 0) return []
    const runs = new Set(inside.map(({ row }) => row.run)).size
    return [{ from, to, runs, checkpoints: inside.length, coverage: covered(inside) }]
  })
}

/** What a detector that has not seen the row's set says of it. */
interface HeldOutPrediction {
  row: Row
  em: number
  scaled: number
  interval: [number, number]
  verdict: VerdictKind
}

function heldOut(unseen: readonly HeldOutPrediction[], cut: number): HeldOutFigures {
  const count = (kind: VerdictKind) => unseen.filter(({ verdict }) => verdict === kind).length
  return {
    ...agreement(
      unseen.map(({ row }) => row),
      unseen.map(({ scaled }) => scaled),
      { cut },
    ),
    coverage: covered(unseen),
    verdicts: { ok: count('ok'), warn: count('warn'), alarm: count('alarm') },
  }
}

function covered(unseen: readonly HeldOutPrediction[]): number {
  const inside = unseen.filter(({ row, interval: [low, high] }) => {
    const { rate } = row.label.pooled
    return rate >= low && rate <= high
  })
  return inside.length / unseen.length
}
