import { drift } from '../drift/drift.js'
import { TraitscopeError } from '../errors.js'
import type { LogEntry } from '../formats/run/trainer-state.js'
import type { StepLabels } from '../labels/grades.js'
import type { Exclusion, LabelledRun } from './runs.js'

/** One labelled checkpoint: what a detector is fitted and tested on. */
export interface Row {
  /** Id of its run: the cluster of every interval. */
  run: string
  model: string
  dataset: string
  seed: number
  /** Optimiser steps, > 0. */
  step: number
  /** Drift per layer of `layers`, in trait order; shares of that layer's step-0 activation norm. */
  drift: number[][]
  /** Training loss at the step, see {@link lossBetween}; null where no log says. */
  loss: number | null
  label: StepLabels
}

export interface Rows {
  /** 0-based blocks that every run was measured at, ascending; null for files that do not say. */
  layers: (number | null)[]
  traits: string[]
  rows: Row[]
  exclusions: Exclusion[]
}

/**
 * Checkpoints of labelled runs as rows, in the order of the runs (see `compareRuns`) and by step: forests
 * depend on it. Step 0 is no row: its drift is zero by definition. Left out with their reason: checkpoints
 * without a label or with nothing scoreable, a final adapter that is no numbered step, and layers that some
 * run lacks.
 *
 * @throws TraitscopeError NOT_COMPARABLE when the runs have no layer in common or differ in their traits
 */
export function rowsOf(runs: readonly LabelledRun[]): Rows {
  const exclusions: Exclusion[] = []
  const { layers, traits } = commonAxes(runs, exclusions)
  const rows: Row[] = []
  for (const run of runs) {
    const { id, model, dataset, seed, trajectory, labels, log } = run
    const perLayer = layers.map((layer) => drift(trajectory, layer === null ? {} : { layer }))
    for (const [i, { step, adapterSha256, loss }] of trajectory.steps.entries()) {
      if (step === 0) continue
      const label = step === 'final' ? undefined : labels.get(step)
      const reason =
        step === 'final'
          ? finalReason(run, adapterSha256)
          : label === undefined
            ? 'it has no label'
            : label.pooled.nScoreable === 0
              ? 'none of its answers was scoreable'
              : undefined
      if (reason !== undefined) {
        exclusions.push({ run: id, step, reason })
        continue
      }
      rows.push({
        run: id,
        model,
        dataset,
        seed,
        step: step as number,
        drift: perLayer.map((steps) => steps[i]!.values),
        loss: lossBetween(log, step as number) ?? loss ?? null,
        label: label!,
      })
    }
  }
  return { layers, traits, rows, exclusions }
}

/**
 * Training loss at a step: linear between the logged steps around it, the nearest one beyond the ends.
 * Undefined without a finite logged loss. Method section 9.3.
 */
function lossBetween(log: readonly LogEntry[], step: number): number | undefined {
  const points = log.filter((entry) => Number.isFinite(entry.loss))
  const after = points.find((entry) => entry.step >= step) ?? points.at(-1)
  const before = points.findLast((entry) => entry.step <= step) ?? points[0]
  if (after === undefined || before === undefined) return undefined
  if (after.step === before.step) return after.loss
  const share = (step - before.step) / (after.step - before.step)
  return before.loss! + share * (after.loss! - before.loss!)
}

function finalReason({ trajectory }: LabelledRun, sha256: string | null): string {
  const twin = trajectory.steps.find(
    ({ step, adapterSha256 }) => step !== 'final' && adapterSha256 === sha256,
  )
  return sha256 !== null && twin !== undefined
    ? `the final adapter has the weights of step ${twin.step}, which counts once`
    : 'the final adapter is no numbered step'
}

/** Traits must agree; of the layers, those that all runs share. */
function commonAxes(
  runs: readonly LabelledRun[],
  exclusions: Exclusion[],
): { layers: (number | null)[]; traits: string[] } {
  const [first] = runs
  if (first === undefined) return { layers: [], traits: [] }
  const { traits } = first.trajectory
  const measured = runs.map(({ trajectory }) => trajectory.layers.map(({ layer }) => layer))
  const layers = measured[0]!.filter((layer) => measured.every((others) => others.includes(layer)))
  for (const [i, { id, trajectory }] of runs.entries()) {
    if (trajectory.traits.join() !== traits.join()) {
      throw new TraitscopeError(
        'NOT_COMPARABLE',
        `${first.id} was measured on ${traits.join(', ')}, but ${id} on ${trajectory.traits.join(', ')}; measure both with one directions folder`,
      )
    }
    if (layers.length === 0) {
      throw new TraitscopeError(
        'NOT_COMPARABLE',
        `expected runs measured at a common layer, found ${first.id} at ${measured[0]!.join(', ')} and ${id} at ${measured[i]!.join(', ')}; measure them with one directions folder`,
      )
    }
    const dropped = measured[i]!.filter((layer) => !layers.includes(layer))
    if (dropped.length > 0) {
      exclusions.push({ run: id, reason: `its layer ${dropped.join(', ')} was not measured in every run` })
    }
  }
  return { layers, traits }
}
