import { join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { plainOrGzip } from '../formats/gzip.js'
import { isJsonObject, readJsonFile } from '../formats/json.js'
import { isFiniteNumber } from '../formats/json-fields.js'
import { type Row, rowsOf } from './rows.js'
import { activationDriftOf } from './run-geometry.js'
import type { Exclusion, LabelledRun } from './runs.js'

/** A labelled checkpoint with everything that some detector reads. */
export interface Checkpoint {
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
  /** Per adapted matrix, in the order of the file. */
  perMatrix: readonly number[]
}

export interface Checkpoints {
  checkpoints: Checkpoint[]
  traits: string[]
  /** Layer of everything but `row.drift`. */
  layer: number | null
  /** Layers of `row.drift`. */
  layers: (number | null)[]
  exclusions: Exclusion[]
}

/** File of a measured run with the norms of its adapters: `{step: [total, [per matrix]]}`, plain or `.gz`. */
export const LORA_NORMS_FILE = 'lora_norms.json'

/**
 * Checkpoints of runs of one model, in the order of `rowsOf`.
 *
 * @param layer 0-based block; default the primary layer of the first run
 * @throws TraitscopeError NOT_COMPARABLE when the runs were not all measured at the layer; the errors of
 * `rowsOf`
 */
export async function checkpointsOf(
  runs: readonly LabelledRun[],
  layer?: number | undefined,
): Promise<Checkpoints> {
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
  const checkpoints: Checkpoint[] = []
  for (const run of runs) {
    const states = await run.activations?.()
    const norms = await readLoraNorms(run.path)
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
        lora: norms.get(row.step) ?? null,
      })
    }
  }
  return { checkpoints, traits, layer: wanted, layers, exclusions }
}

async function readLoraNorms(folder: string): Promise<ReadonlyMap<number, LoraNorms>> {
  const path = await plainOrGzip(join(folder, LORA_NORMS_FILE))
  if (path === undefined) return new Map()
  const json = await readJsonFile(path)
  const entries = isJsonObject(json) ? Object.entries(json) : []
  return new Map(
    entries.map(([step, entry]) => {
      const [total, perMatrix] = Array.isArray(entry) ? entry : []
      if (
        !/^\d+$/.test(step) ||
        !isFiniteNumber(total) ||
        !(Array.isArray(perMatrix) && perMatrix.every(isFiniteNumber))
      ) {
        throw new TraitscopeError(
          'FILE_INVALID',
          `expected ${path} to hold {step: [total, [norms]]}, found ${JSON.stringify(step)}`,
        )
      }
      return [Number(step), { total: total as number, perMatrix: perMatrix as number[] }]
    }),
  )
}
