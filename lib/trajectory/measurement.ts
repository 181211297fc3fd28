import type { CheckpointKernels } from '../conditions/engine.js'
import type { FileHash } from '../formats/files/hash.js'
import type { PairReading } from '../labels/margins/pair-reading.js'
import type { Projection } from './project.js'
import type { AdapterSummary, Settled } from './trajectory.js'

/** One forward pass over the evaluation prompts, projected. */
export interface Measurement {
  /** Per layer of the directions. */
  layers: Projection[]
  /** Prompt-level states, shape `[nPrompts, nLayers, nEmbd]`, float32. */
  states: Float32Array
  tokens: { total: number; computed: number }
}

/** Step 0: the untouched base model. */
export interface BaseMeasurement extends Measurement {
  /** N per layer: mean over prompts of ‖h‖. */
  activationNorms: number[]
  /** True when no pass was needed; `tokens` are those of the pass that filled the cache. */
  cached: boolean
  /** Where pairs of answers are read too. */
  pairs?: PairReading
  /** The same in every context, in the plan's order, without states. */
  contexts: Omit<BaseMeasurement, 'states' | 'contexts' | 'pairs'>[]
}

/** One checkpoint. */
export interface CheckpointMeasurement extends Measurement {
  /** Identity of the checkpoint's weights. */
  adapterSha256: string
  /** How it met the base. */
  how: CheckpointKernels
  /** Absent for a whole model. */
  adapter?: AdapterSummary
  /** Per layer: ‖H − H₀‖ / ‖H₀‖ over all prompts. */
  stateChange: number[]
  /** Where not all prompts were read: the states are those of the ones that were. */
  settled?: Settled
  /** What was read of it. */
  files: readonly FileHash[]
  /** Ascending; empty where none was asked for. */
  strengths: readonly StrengthMeasurement[]
  /** In every context, in the plan's order. */
  contexts: readonly ContextMeasurement[]
  /** Where pairs of answers are read too: as trained, in no context. */
  pairs?: PairReading
  /** What was left out, and how base and template differ from its own, in sentences. */
  remarks: readonly string[]
}

/** One checkpoint with its adapter's effect multiplied. */
export interface StrengthMeasurement {
  strength: number
  /** Per layer of the directions. */
  layers: Projection[]
  /** Per layer: ‖H − H₀‖ / ‖H₀‖ over all prompts. */
  stateChange: number[]
}

/** One checkpoint in a context. */
export type ContextMeasurement = Omit<Measurement, 'states'>
