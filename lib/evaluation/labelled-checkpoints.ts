import { TraitscopeError } from '../errors.js'
import { activationDriftOf } from '../runs/activation-drift.js'
import { type Row, rowsOf } from '../runs/rows.js'
import type { Exclusion, LabelledRun } from '../runs/runs.js'

/** A labelled checkpoint with everything that some detector reads. */
export interface LabelledCheckpoint {
  row: Row
  /** Trait drift at the layer, in trait order. */
  drift: readonly number[]
  /** Step-0 activation norm N of the layer, native activation units. */
  norm: number
  /** Activation drift at the layer, shape `[nEmbd]`; null where the run has no activations of it. */
  activation: Float64Array | null
  /** Mean hidden state at step 0, shape `[nEmbd]`, native activation units; null together with `activation`. */
  origin: Float64Array | null
  lora: LoraNorms | null
}

/** Frobenius norms of the weight changes of one adapter. */
export interface LoraNorms {
  /** Root of the sum of their squares. */
  total: number
  /** Per adapted matrix, in the order of the adapter. */
  perMatrix: readonly number[]
}

export interface LabelledCheckpoints {
  checkpoints: LabelledCheckpoint[]
  traits: string[]
  /** Layer of everything but `row.drift`. */
  layer: number | null
  /** Layers of `row.drift`. */
  layers: (number | null)[]
  exclusions: Exclusion[]
}

/**
 * Labelled checkpoints of runs of one model, in the order of `rowsOf`.
 *
 * @param layer 0-based block; default the primary layer of the first run
 * @throws TraitscopeError NOT_COMPARABLE when the runs were not all measured at the layer; the errors of
 * `rowsOf`
 */
export async function labelledCheckpoints(
  runs: readonly LabelledRun[],
  layer?: number | undefined,
): Promise<LabelledCheckpoints> {
  const { layers, traits, rows, exclusions } = rowsOf(runs)
  const [first] = runs
  const wanted = layer ?? first?.trajectory.layers[first.trajectory.primary]?.layer ?? null
  const at = layers.indexOf(wanted)
  if (first !== undefined && at < 0) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected all runs of ${first.model} to be measured at layer ${wanted}, found layer ${layers.join(', ')} in common; choose one of these`,
    )
  }
  const checkpoints: LabelledCheckpoint[] = []
  for (const run of runs) {
    const states = await run.activations?.()
    const { step0ActivationNorm } = run.trajectory.layers.find((one) => one.layer === wanted)!
    const start = states && states.layers.indexOf(wanted ?? states.layers[0]!) * states.nEmbd
    for (const row of rows.filter((one) => one.run === run.id)) {
      const activation = states ? activationDriftOf(run, states, wanted, row.step) : null
      const origin = activation && states!.steps.get(0)!.subarray(start!, start! + states!.nEmbd)
      checkpoints.push({
        row,
        drift: row.drift[at]!,
        norm: step0ActivationNorm,
        activation,
        origin,
        lora: loraNorms(run, row.step),
      })
    }
  }
  return { checkpoints, traits, layer: wanted, layers, exclusions }
}

function loraNorms({ trajectory }: LabelledRun, step: number): LoraNorms | null {
  const { deltaNorm, deltaNorms } = trajectory.steps.find((one) => one.step === step)?.adapter ?? {}
  return deltaNorm === undefined || deltaNorms === undefined
    ? null
    : { total: deltaNorm, perMatrix: deltaNorms }
}
