import { type OptionKinds, takeOptions } from '../arguments.js'
import { type Directions, directionRows } from '../directions/directions.js'
import { drift } from '../drift/drift.js'
import { TraitscopeError } from '../errors.js'
import type { Matrix64 } from '../estimators/matrix.js'
import { activationDriftOf } from '../runs/activation-drift.js'
import {
  type Exclusion,
  type MeasuredRun,
  SCAN_RUNS_OPTIONS,
  type ScanRunsOptions,
  scanMeasuredRuns,
} from '../runs/runs.js'
import { driftGeometry, type FinalDrift, type Geometry } from './geometry.js'

/** Which runs, and against what chance. */
export interface RunGeometryOptions extends ScanRunsOptions {
  /** 0-based block; default the primary layer of every run. */
  layer?: number | undefined
  /** Directions that the runs were measured with, found by their hash; without them there are no controls. */
  directions?: readonly Directions[] | undefined
  /** Draws of the nulls. */
  draws?: number | undefined
  seed?: number | undefined
}

const OPTIONS: OptionKinds<RunGeometryOptions> = {
  ...SCAN_RUNS_OPTIONS,
  layer: 'number',
  directions: 'list',
  draws: 'number',
  seed: 'number',
}

/** One checkpoint in the plane of the first two axes of all runs. */
export interface PlanePoint {
  run: string
  dataset: string
  step: number
  /** `x · PC1` and `x · PC2`, not centred: step 0 is the origin. */
  at: [number, number]
}

/** Where runs end, and the way there. */
export interface RunGeometry extends Geometry {
  /** Every checkpoint of every run, step 0 included. */
  plane: PlanePoint[]
  exclusions: Exclusion[]
}

/**
 * Geometry of a folder of runs (laid out as `scanLabelledRuns` wants it, labels or not): where they end and the way there.
 *
 * @throws TraitscopeError NOT_COMPARABLE when traits differ or directions are not those of the runs; the
 * errors of `scanLabelledRuns` and `driftGeometry`, ABORTED among them
 */
export async function runGeometry(root: string, options: RunGeometryOptions = {}): Promise<RunGeometry> {
  const own = takeOptions('runGeometry', options, OPTIONS)
  const { runs, exclusions } = await scanMeasuredRuns(root, own)
  const [first] = runs
  if (first === undefined) {
    const left = exclusions
      .slice(0, 10)
      .map(({ run, reason }) => `; left out: ${run}: ${reason}`)
      .join('')
    throw new TraitscopeError(
      'SHAPE',
      `the geometry of drifts needs at least 2 runs, got 0 below ${root}${left}`,
    )
  }
  const { traits } = first.trajectory
  const odd = runs.find(({ trajectory }) => trajectory.traits.join() !== traits.join())
  if (odd !== undefined) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `${first.id} was measured on ${traits.join(', ')}, but ${odd.id} on ${odd.trajectory.traits.join(', ')}; measure both with one trait pack`,
    )
  }
  const finals: FinalDrift[] = []
  for (const run of runs) finals.push(await finalDrift(run, own.layer))
  const directions =
    own.directions && new Map(runs.map((run) => [run.model, measuredWith(run, own)] as const))
  const { draws, seed, signal } = own
  const geometry = await driftGeometry(finals, { traits, directions, draws, seed, signal })
  const [pc1, pc2] = geometry.pooled.components
  const along = (values: readonly number[], axis: readonly number[] | undefined) =>
    axis === undefined ? 0 : values.reduce((sum, value, t) => sum + value * axis[t]!, 0)
  const plane = runs.flatMap(({ id, dataset, trajectory }) =>
    drift(trajectory, { layer: own.layer })
      .filter(({ step }) => step !== 'final')
      .map(({ step, values }): PlanePoint => {
        return { run: id, dataset, step: step as number, at: [along(values, pc1), along(values, pc2)] }
      }),
  )
  return { ...geometry, plane, exclusions }
}

/** The drift at the run's last numbered step, with activations where the run has them. */
async function finalDrift(run: MeasuredRun, layer: number | undefined): Promise<FinalDrift> {
  const { id, model, dataset, trajectory } = run
  const steps = drift(trajectory, { layer }).filter(({ step }) => typeof step === 'number')
  const { step, values } = steps.at(-1)!
  if (step === 0) {
    throw new TraitscopeError('SHAPE', `${id} has no checkpoint beside step 0; measure its checkpoints`)
  }
  const states = await run.activations?.()
  const activation = states === undefined ? null : activationDriftOf(run, states, layer, step as number)
  return { run: id, model, dataset, step: step as number, values, activation }
}

/** The directions of a run at one layer as rows in trait order. */
function measuredWith(run: MeasuredRun, { layer, directions = [] }: RunGeometryOptions): Matrix64 {
  const { measurement, layers, primary } = run.trajectory
  const found = directions.find(({ sha256 }) => sha256 === measurement?.directionsSha256)
  const at = found?.layers.indexOf(layer ?? layers[primary]!.layer ?? -1) ?? -1
  if (found === undefined || at < 0) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `none of the given directions is what ${run.id} was measured with; name their folders, or leave --directions out to go without the controls`,
    )
  }
  return directionRows(found, at)
}
