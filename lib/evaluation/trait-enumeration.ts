import { cosine } from '../estimators/linalg.js'
import { midRanks } from '../estimators/ranks.js'
import { principalAxes } from '../geometry/principal-axis.js'
import {
  type CalibrationScore,
  calibrationScore,
  type LeftOutPredictions,
  leaveDatasetsOut,
  type ModelCheckpoints,
  type OperatingPoint,
} from './contenders.js'
import { lastCheckpoints, traitDrift } from './features.js'
import type { LabelledCheckpoint } from './labelled-checkpoints.js'

/** What some of the traits are worth: a forest on them, tested on calibration datasets left out. */
export interface SubsetScore extends CalibrationScore {
  traits: string[]
  /** In the order of the models; NaN (null in JSON) where a model has one class only. */
  aurocByModel: number[]
  /** Share of the variance of the runs' last drifts along their first axis, within the subset. */
  pc1Share: number
  /** Of that axis, zero elsewhere, with the first axis of all traits; not negative. */
  pc1Cosine: number
}

/** Method section 9.9. */
export interface TraitEnumeration {
  models: string[]
  /** Every subset that is not empty, the smallest first. */
  subsets: SubsetScore[]
  /** From all traits down to one, each without the trait that is missed least; `dropped` is null at first. */
  elimination: { dropped: string | null; score: SubsetScore }[]
  /** Per model and trait: AUROC of all traits minus AUROC without it, and its rank, 1 for the largest. */
  importance: { model: string; trait: string; loss: number; rank: number }[]
}

/**
 * Fits a forest on every subset of the traits with every calibration dataset of every model left out in turn. 127 subsets
 * of 12 runs on four models take about half a minute.
 *
 * @throws TraitscopeError ABORTED
 */
export async function enumerateTraits(
  models: readonly ModelCheckpoints[],
  traits: readonly string[],
  point: OperatingPoint,
  {
    signal,
    onProgress,
  }: { signal?: AbortSignal | undefined; onProgress?: ((share: number) => void) | undefined } = {},
): Promise<TraitEnumeration> {
  const all = traits.map((_, i) => i)
  const finals = models.flatMap(({ calibration }) => lastCheckpoints(calibration).map(({ drift }) => drift))
  const full = principalAxes(finals).components[0]!
  const subsets: SubsetScore[] = []
  const choices = subsetsOf(all)
  const regressors = ['random-forest'] as const
  for (const [i, subset] of choices.entries()) {
    const chosen = subset.map((t) => traits[t]!)
    const features = traitDrift(chosen.join('+'), traits, chosen)
    const parts = await leaveDatasetsOut(models, features, {
      regressors,
      counts: pooledCounts,
      cut: point.cut,
      signal,
    })
    const score = (of: readonly LeftOutPredictions[]) =>
      calibrationScore(
        of.flatMap(({ predicted }) => predicted[0]!),
        of.flatMap(({ truths }) => truths),
        point,
      )
    const { shares, components } = axesWithin(finals, subset)
    const padded = all.map((t) => (subset.includes(t) ? components[0]![subset.indexOf(t)]! : 0))
    subsets.push({
      traits: chosen,
      ...score(parts),
      aurocByModel: parts.map((part) => score([part]).auroc),
      pc1Share: shares[0]!,
      pc1Cosine: Math.abs(cosine(padded, full)),
    })
    onProgress?.((i + 1) / choices.length)
  }
  const find = (wanted: readonly string[]) =>
    subsets.find((one) => one.traits.length === wanted.length && wanted.every((t) => one.traits.includes(t)))!
  return {
    models: models.map(({ model }) => model),
    subsets,
    elimination: eliminate(traits, find),
    importance: models.flatMap(({ model }, m) => importanceOf(model, m, traits, find)),
  }
}

const pooledCounts = ({ row }: LabelledCheckpoint) => row.label.pooled

function subsetsOf(items: readonly number[]): number[][] {
  const subsets = Array.from({ length: 2 ** items.length - 1 }, (_, i) =>
    items.filter((item) => ((i + 1) >> item) & 1),
  )
  return subsets.sort((a, b) => a.length - b.length)
}

/** A single trait is its own axis, and needs no decomposition. */
function axesWithin(finals: readonly ArrayLike<number>[], subset: readonly number[]) {
  if (subset.length === 1) return { shares: [1], components: [[1]] }
  return principalAxes(finals.map((drift) => subset.map((t) => drift[t]!)))
}

/** By balanced accuracy, the AUROC deciding between equals. */
export function isBetter(a: CalibrationScore, b: CalibrationScore): boolean {
  return (
    a.balancedAccuracy > b.balancedAccuracy ||
    (a.balancedAccuracy === b.balancedAccuracy && a.auroc > b.auroc)
  )
}

/** Drops, one after another, the trait whose removal leaves the best score. */
function eliminate(
  traits: readonly string[],
  find: (wanted: readonly string[]) => SubsetScore,
): TraitEnumeration['elimination'] {
  const path: TraitEnumeration['elimination'] = [{ dropped: null, score: find(traits) }]
  let left = traits
  while (left.length > 1) {
    const rivals = left.map((dropped) => ({
      dropped,
      score: find(left.filter((trait) => trait !== dropped)),
    }))
    const best = rivals.reduce((a, b) => (isBetter(b.score, a.score) ? b : a))
    path.push(best)
    left = best.score.traits
  }
  return path
}

function importanceOf(
  model: string,
  index: number,
  traits: readonly string[],
  find: (wanted: readonly string[]) => SubsetScore,
): TraitEnumeration['importance'] {
  const whole = find(traits).aurocByModel[index]!
  const losses = traits.map(
    (trait) => whole - find(traits.filter((other) => other !== trait)).aurocByModel[index]!,
  )
  const ranks = midRanks(losses.map((loss) => -loss))
  return traits.map((trait, i) => ({ model, trait, loss: losses[i]!, rank: ranks[i]! }))
}
