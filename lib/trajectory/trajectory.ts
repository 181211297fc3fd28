import { Made } from '../arguments.js'
import type { MeasuredUnder } from '../conditions/calibrated-for.js'
import type { Context } from '../contexts/context.js'
import type { FileHash } from '../formats/files/hash.js'

/**
 * Where a measurement stands in its run: optimiser steps, or `final` for an adapter that no numbered
 * checkpoint holds.
 */
export type Step = number | 'final'

/** How an adapter met the base model. */
export interface AdapterSummary {
  /** `r` and `lora_alpha` of adapter_config.json. */
  rank: number
  alpha: number
  /** Modules that were matched, and their distinct names, e.g. `q_proj`. */
  modules: number
  targets: string[]
  /** Distinct ranks and scales (alpha / r, or alpha / sqrt r), ascending. */
  ranks: number[]
  scales: number[]
  /** Modules whose B is all zero: they change nothing. */
  zeroModules: number
  /**
   * Frobenius norm of the weight change, and of each module's: by block, in a block q before v. Absent with DoRA and in
   * older files.
   */
  deltaNorm?: number
  deltaNorms?: number[]
  /** Why it was merged into a copy of the base, as half a sentence; absent when it was attached. */
  merged?: string
}

/** What stopped the reading of a checkpoint's prompts. */
export interface Settled {
  /** Where the predicted rate of all prompts lies. */
  side: 'above' | 'below'
  /** Above or below which rate, in [0, 1]. */
  threshold: number
  /** It lies elsewhere with at most this probability, over the order of the prompts. */
  error: number
  /** Prompts that were read, and how many there are. */
  prompts: number
  of: number
  /** SHA-256 of the score and the threshold of the detector that it was settled for. */
  by: string
}

/** One measured point of a run. */
export interface TrajectoryStep {
  step: Step
  /**
   * Where not all prompts were read. Projections are then those of step 0 and, added, the mean change of the prompts that were; spread,
   * state change and tokens are of these alone. Absent where all were.
   */
  settled?: Settled
  /** Identity of the adapter's weights; null for the base, and where a file does not say. */
  adapterSha256: string | null
  /** Of step 0: the GGUF's file name and its identity, as `Model.fingerprint`. Absent otherwise, and in older files. */
  base?: { file: string; fingerprint: string }
  adapter?: AdapterSummary
  /** Files that the weights were read from, below the run's folder; absent for the base and in older files. */
  files?: FileHash[]
  /** What was left out of them, and how base and template differ from the checkpoint's own, in sentences. */
  remarks?: string[]
  /**
   * How far the checkpoint moves the states it was measured by, per layer: ‖H − H₀‖ / ‖H₀‖ over all prompts. Absent for
   * the base and in older files.
   */
  stateChange?: number[]
  epoch?: number
  /** Training loss logged last before the checkpoint; null when the trainer logged NaN or Infinity. */
  loss?: number | null
  /**
   * Input tokens of the evaluation prompts, and how many one pass computes; the same whether step 0 was
   * cached or not.
   */
  tokens?: { total: number; computed: number }
}

/** Evaluation prompts of one kind. */
export interface PromptCategory {
  category: string
  /** How many there are. */
  prompts: number
}

/** The numbers of one layer; outer index = step (as in {@link Trajectory.steps}), inner index = trait. */
export interface LayerTrajectory {
  /** 0-based block; null in files of the reference's first version, which do not say. */
  layer: number | null
  /** N: mean over prompts of ‖h‖ at step 0, native activation units. */
  step0ActivationNorm: number
  /** Mean over prompts of h · d, raw, native activation units. Absolute, not drift: step 0 is not zero. */
  projections: number[][]
  /** Standard deviation over prompts, ddof 1; absent in files of the reference. */
  std?: number[][]
  /** Per step and category of prompts the mean over its prompts, in trait order; absent in older files. */
  categories?: number[][][]
}

/**
 * The same checkpoints with the adapter's effect multiplied. What a checkpoint does rarely or weakly it does more often
 * then, and earlier in the run; it is no longer the model that is trained, and loses coherence.
 */
export interface StrengthTrajectory {
  /** Factor on the adapter, above 0; 1, as trained, is the trajectory itself. */
  strength: number
  /** As those of the trajectory; step 0 is the same base. */
  layers: LayerTrajectory[]
  /** Per step and layer: ‖H − H₀‖ / ‖H₀‖ over all prompts; zeros for the base. */
  stateChange: number[][]
}

/** The same checkpoints, with the evaluation prompts read in a context, against step 0 in the same context. */
export interface ContextTrajectory extends Context {
  /** How much longer it makes a prompt, in tokens. */
  tokens: number
  /** Input tokens of the prompts in it, and how many of them one pass computes. */
  pass: { total: number; computed: number }
  /** As those of the trajectory, without the spread over prompts. */
  layers: LayerTrajectory[]
}

/** How probable given answers are to every checkpoint, as trained and in no context; see `trajectoryMargins`. */
export interface MarginTrajectory {
  /** Name of the file of pairs, and SHA-256 of its bytes. */
  file: string
  sha256: string
  /** SHA-256 over that file and the token ids of its questions and answers: equal ones were asked the same. */
  identity: string
  /** Which question each pair answers, and where it is from. */
  pairs: { questionId: string; domain: string | null }[]
  /** Input tokens of questions and answers, and how many of them one pass computes. */
  pass: { total: number; computed: number }
  /** Per step and pair: mean log-probability of the misaligned answer, nats per token. */
  misaligned: number[][]
  /** The same of the aligned one. */
  aligned: number[][]
}

/** A checkpoint that was not measured, and why. */
export interface SkippedCheckpoint {
  step: Step
  reason: string
}

/** What rounding alone makes of a measurement at one layer. */
export interface LayerNoise {
  layer: number
  /** Length of the drift of all prompts, root mean square, in units of N. */
  drift: number
  /** As `stateChange` of a checkpoint: ‖H − H₀‖ / ‖H₀‖. */
  stateChange: number
}

/**
 * What kernels that round weights and activations make of a drift that is not there: measured, not derived from the
 * types. A drift that is not several times longer says nothing. Verdicts do not know of it.
 */
export interface NoiseFloor {
  /**
   * The base is read bare, and with a small random adapter at strength s and −s: what is left of h(s) + h(−s) − 2 h(0) is
   * rounding, whatever the weights, and has three times the variance of the rounding in one difference. No copy of the
   * base is made, so it costs three passes over a few prompts at any size.
   */
  method: 'opposite-perturbations'
  /** Prompts that were read for it, of those that a measurement reads. */
  prompts: number
  layers: LayerNoise[]
}

/**
 * What is known of the training run; null where nobody said. Field meanings are those of the reference's
 * files.
 */
export interface RunDescription {
  model: string | null
  dataSource: string | null
  seed: number | null
  nSamples: number | null
  fullFinetune: boolean
  loraRank: number | null
  loraAlpha: number | null
  lr: number | null
  epochs: number | null
  saveSteps: number | null
  maxSteps: number | null
  earlyUpdateSteps: number[] | null
}

/** What our own measurements add: the conditions that make numbers comparable. */
export interface MeasurementRecord extends MeasuredUnder {
  nPrompts: number
  /** Sum over all passes. */
  tokens: { total: number; computed: number }
  /** Differences between directions and measurement that the caller chose to accept; normally empty. */
  mismatches: string[]
  /** Where reading was to stop once a verdict was settled: of all prompts of the checkpoints how many were read. Absent elsewhere. */
  settle?: { error: number; read: number; prompts: number }
  /** Where contexts were taken from; absent where there are none. */
  contextFiles?: FileHash[]
  /** What in the run's folder was not measured or seems left over, in sentences; absent in older files. */
  remarks?: string[]
  versions: { traitscope: string; llamaCpp: string }
}

/** Projections of a run's checkpoints on trait directions, at one or several layers. */
export interface Trajectory {
  /** Whose file layout this came from. */
  source: 'traitscope' | 'reference-v1' | 'reference-v2'
  /** Trait order of every inner array. */
  traits: string[]
  /** Step 0 first, then ascending; `final` last, if it is there at all. */
  steps: TrajectoryStep[]
  /** Step whose checkpoint the final adapter repeats; it is counted once. Null when there is none. */
  finalAliasOf: number | null
  layers: LayerTrajectory[]
  /** Index into `layers` of the one that a reader of a single layer gets. */
  primary: number
  /** Of the layers' `categories`; absent in older files. */
  categories?: PromptCategory[]
  /** Ascending, without 1; absent where the adapters were read as trained only. */
  strengths?: StrengthTrajectory[]
  /** Absent where checkpoints were read in no context. */
  contexts?: ContextTrajectory[]
  /** Absent where no pairs of answers were read. */
  margin?: MarginTrajectory
  skipped: SkippedCheckpoint[]
  run: RunDescription
  /** What rounding alone makes of a drift; null where nothing is rounded, absent in older files. */
  noiseFloor?: NoiseFloor | null
  measurement?: MeasurementRecord
}

export const TRAJECTORY = new Made<Trajectory>(
  'a trajectory as measureRun gives or readTrajectory reads it',
  'steps',
)
