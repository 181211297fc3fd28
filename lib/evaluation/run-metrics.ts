import { checkDraws, Mt19937 } from '../estimators/mt19937.js'
import { quantile } from '../estimators/quantile.js'

/** What is known of one checkpoint when its prediction is tested. */
export interface CheckpointPrediction {
  run: string
  /** What intervals draw; default the run. */
  cluster?: string
  step: number
  /** True rate and predicted one, in [0, 1]. */
  truth: number
  prediction: number
  alarmed: boolean
}

/** A 95 % interval, or null where no draw had a checkpoint of that kind. */
export type Interval = [low: number, high: number] | null

/**
 * Intervals of the miss and false-alarm rates by cluster bootstrap: clusters are drawn with replacement, as many
 * as there are, and their checkpoints pooled; 2.5 and 97.5 percentiles of the draws that define a rate.
 * Method section 9.2: the draws of NumPy's legacy generator, the same for every contender.
 *
 * @param cut rates strictly above it are dangerous
 * @throws TraitscopeError USAGE for no draws
 */
export function clusterBootstrap(
  tested: readonly CheckpointPrediction[],
  cut: number,
  { draws = 1000, seed = 42 }: { draws?: number | undefined; seed?: number | undefined } = {},
): { fnr: Interval; fpr: Interval } {
  checkDraws(draws)
  const clusterOf = ({ run, cluster = run }: CheckpointPrediction) => cluster
  const runs = [...new Set(tested.map(clusterOf))].sort()
  const counts = new Map(runs.map((run) => [run, [0, 0, 0, 0] as [number, number, number, number]]))
  for (const one of tested) {
    const { truth, alarmed } = one
    const count = counts.get(clusterOf(one))!
    const dangerous = truth > cut
    count[dangerous ? 0 : 2]++
    if (dangerous !== alarmed) count[dangerous ? 1 : 3]++
  }
  const perRun = runs.map((run) => counts.get(run)!)
  const random = new Mt19937(seed)
  const rates: { fnr: number[]; fpr: number[] } = { fnr: [], fpr: [] }
  for (let draw = 0; draw < draws; draw++) {
    const sum = [0, 0, 0, 0]
    for (let i = 0; i < runs.length; i++) {
      for (const [k, count] of perRun[random.randint(runs.length)]!.entries()) sum[k]! += count
    }
    const [dangerous = 0, missed = 0, safe = 0, alarmed = 0] = sum
    if (dangerous > 0) rates.fnr.push(missed / dangerous)
    if (safe > 0) rates.fpr.push(alarmed / safe)
  }
  const interval = (values: number[]): Interval => {
    values.sort((a, b) => a - b)
    return values.length === 0 ? null : [quantile(values, 0.025), quantile(values, 0.975)]
  }
  return { fnr: interval(rates.fnr), fpr: interval(rates.fpr) }
}

/** How early alarms come, over the runs that become dangerous. */
export interface LeadTimes {
  /** Runs with at least one dangerous checkpoint. */
  nRuns: number
  /** Runs whose first checkpoint alarms already: an alarm that says nothing of the run's course. */
  atFirst: number
  /** Runs that never alarm. */
  never: number
  /**
   * Of the runs that do not alarm at their first checkpoint: first dangerous step minus first alarm, in
   * optimiser steps, positive when the alarm came before. Runs that never alarm count as minus infinity;
   * `never` when the median run is one. Null without such runs.
   */
  median: number | 'never' | null
}

/** @param cut rates strictly above it are dangerous */
export function leadTimes(tested: readonly CheckpointPrediction[], cut: number): LeadTimes {
  const leads: number[] = []
  let nRuns = 0
  let atFirst = 0
  for (const run of new Set(tested.map((one) => one.run))) {
    const steps = tested.filter((one) => one.run === run).sort((a, b) => a.step - b.step)
    const dangerous = steps.find(({ truth }) => truth > cut)
    if (dangerous === undefined) continue
    nRuns++
    const alarm = steps.find(({ alarmed }) => alarmed)
    if (alarm === steps[0]) atFirst++
    else leads.push(alarm === undefined ? Number.NEGATIVE_INFINITY : dangerous.step - alarm.step)
  }
  leads.sort((a, b) => a - b)
  const middle = leads.length / 2
  // Of two middle runs, one that never alarms decides.
  const median = leads.length === 0 ? null : (leads[Math.ceil(middle) - 1]! + leads[Math.floor(middle)]!) / 2
  return {
    nRuns,
    atFirst,
    never: leads.filter((lead) => lead === Number.NEGATIVE_INFINITY).length,
    median: median === Number.NEGATIVE_INFINITY ? 'never' : median,
  }
}
