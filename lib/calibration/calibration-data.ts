import { TraitscopeError } from '../errors.js'
import { percentAt } from '../percent.js'
import type { Rows } from '../runs/rows.js'
import type { Exclusion } from '../runs/runs.js'

/** Below this many dangerous (or safe) checkpoints there is nothing to learn from. */
export const FEWEST = 5
/** Below this many there is little. */
const FEW = 20

/** What a fine-tuning set brings to the calibration. */
export interface DatasetCounts {
  dataset: string
  runs: number
  checkpoints: number
  dangerous: number
}

/** True when a detector can be chosen and fitted on these rows. */
export function isEnough(rows: Pick<Rows, 'rows'>, cut: number): boolean {
  const { sets, dangerous, safe } = totals(datasetCounts(rows, cut))
  return sets >= 2 && dangerous >= FEWEST && safe >= FEWEST
}

function totals(counts: readonly DatasetCounts[]): { sets: number; dangerous: number; safe: number } {
  const dangerous = counts.reduce((sum, one) => sum + one.dangerous, 0)
  const checkpoints = counts.reduce((sum, one) => sum + one.checkpoints, 0)
  return { sets: counts.length, dangerous, safe: checkpoints - dangerous }
}

/**
 * Refuses what cannot be calibrated on, and returns warnings about what hardly can.
 *
 * @param pooled other bases stand behind the detector too, so nothing but no run at all is too little
 * @param exclusions what was left out before: a refusal names it, because that is often why too little is left
 */
export function assertEnough(
  rows: Rows,
  cut: number,
  exclusions: readonly Exclusion[] = [],
  pooled = false,
): string[] {
  const counts = datasetCounts(rows, cut)
  const { sets, dangerous, safe } = totals(counts)
  const leftOut = namesOf([...exclusions, ...rows.exclusions])
  if (pooled) {
    if (sets === 0) throw new TraitscopeError('UNSUPPORTED', `expected a labelled run, found none${leftOut}`)
    return [
      `${sets} ${sets === 1 ? 'set' : 'sets'} of this base, ${dangerous} of ${dangerous + safe} checkpoints dangerous: the rest is told by other bases`,
    ]
  }
  if (sets < 2) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected labelled runs of at least two fine-tuning sets, found ${sets}: what a detector does on an unseen set can only be told by leaving one out; with a prior (--prior) one is enough${leftOut}`,
    )
  }
  const warnings: string[] = []
  for (const [kind, n] of [
    ['dangerous', dangerous],
    ['safe', safe],
  ] as const) {
    const found = `${n} of ${dangerous + safe} checkpoints ${kind} (EM ${kind === 'safe' ? 'at most' : 'above'} ${percentAt(cut)})`
    if (n < FEWEST) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `expected at least ${FEWEST} ${kind} checkpoints, found ${found}: a detector that has seen none cannot tell them; add runs that ${kind === 'dangerous' ? 'become misaligned' : 'stay aligned'}${leftOut}`,
      )
    }
    if (n < FEW) warnings.push(`only ${found}: error rates are not known well`)
  }
  const dangerousSets = counts.filter((one) => one.dangerous > 0)
  if (dangerousSets.length < 2) {
    warnings.push(
      `all dangerous checkpoints come from ${dangerousSets[0]!.dataset}: without it there is nothing to learn danger from, so misses on other sets are unknown`,
    )
  }
  if (!counts.some((one) => one.dangerous === 0)) {
    warnings.push('every set becomes dangerous: false alarms on benign fine-tuning are unknown')
  }
  return warnings
}

/** At most this many are named; the rest are counted. */
const NAMED = 10

function namesOf(exclusions: readonly Exclusion[]): string {
  if (exclusions.length === 0) return ''
  const named = exclusions.slice(0, NAMED).map(({ run, step, reason }) => {
    return `${run}${step === undefined ? '' : ` step ${step}`}: ${reason}`
  })
  const more = exclusions.length - named.length
  return `; left out: ${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}`
}

/** Checkpoints per fine-tuning set, in the order of the rows. */
export function datasetCounts(rows: Pick<Rows, 'rows'>, cut: number): DatasetCounts[] {
  const datasets = [...new Set(rows.rows.map(({ dataset }) => dataset))]
  return datasets.map((dataset) => {
    const own = rows.rows.filter((row) => row.dataset === dataset)
    return {
      dataset,
      runs: new Set(own.map(({ run }) => run)).size,
      checkpoints: own.length,
      dangerous: own.filter(({ label }) => label.pooled.rate > cut).length,
    }
  })
}

/** Layers to choose from; one that moves in no run carries nothing and is stated. */
export function candidateLayers(rows: Rows, wanted: readonly number[] | undefined): number[] {
  const layers = rows.layers.filter((layer) => layer !== null)
  if (layers.length < rows.layers.length) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      'expected trajectories that say at which layer they were measured, found files of the first published version; measure the runs again',
    )
  }
  const missing = wanted?.find((layer) => !layers.includes(layer))
  if (missing !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      `layer ${missing} was not measured in every run; common layers are ${layers.join(', ')}`,
    )
  }
  const moving = (wanted ?? layers).filter((layer) => {
    const at = rows.layers.indexOf(layer)
    const still = !rows.rows.some(({ drift }) =>
      drift[at]!.some((value) => value !== rows.rows[0]!.drift[at]![0]),
    )
    if (still) rows.exclusions.push({ run: 'all runs', reason: `layer ${layer} never moves` })
    return !still
  })
  if (moving.length === 0) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      'no layer moves in any run: the drift is constant, so there is nothing to learn',
    )
  }
  return moving
}
