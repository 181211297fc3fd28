import { Needed, type OptionKinds } from '../arguments.js'
import type { AlarmRates } from '../calibration/metrics.js'
import type { ErrorTargets } from '../calibration/target-threshold.js'
import type { CalibrationScore, Contender, ContenderRegressor, FitOn } from './contenders.js'
import type { Interval, LeadTimes } from './run-metrics.js'
import { enumerateTraits } from './trait-enumeration.js'

/** Which answers make the label: all draws together, or the first draw alone as the reference has it. */
export type LabelKind = 'pooled' | 'single'

/** Figures of one contender on some checkpoints. NaN (null in JSON) where nothing could be wrong. */
export interface Figures extends AlarmRates {
  /** 95 % over sets of a model: the seeds of a set are no independent evidence. */
  fnrInterval: Interval
  fprInterval: Interval
  auroc: number
  /** Spearman's rank correlation with the rate. */
  rankCorrelation: number
  lead: LeadTimes
  /** Share of true rates inside the predicted interval, where the detector gives one. */
  coverage?: number
}

/** Figures that are averaged over a family of feature sets come with their population standard deviation. */
export type Spread = Record<(typeof SPREAD)[number], number>

export const SPREAD = ['accuracy', 'fnr', 'fpr', 'auroc', 'rankCorrelation'] as const

/** Held-out checkpoints whose figures are told apart. */
export interface Group {
  name: string
  runs: number
  /** Indices of its checkpoints among the held-out ones. */
  checkpoints: number[]
}

/** What one contender did. */
export interface ContenderResult {
  features: string
  regressor: string
  /** True for the regressor that stands for its feature set; see `select`. */
  selected: boolean
  calibration: CalibrationScore
  /** In the order of the groups. */
  figures: Figures[]
  /** Only for a family: over its members, in the order of the groups. */
  spread?: Spread[]
  members?: number
  /** Predicted rates of the held-out checkpoints; absent for a family. */
  predictions?: number[]
  /** Whether they alarm, where that is not a matter of the threshold. */
  alarms?: readonly boolean[]
  /** Models where no threshold keeps the target error rates on left-out calibration datasets. */
  unmet?: readonly string[]
}

/** What a comparison of contenders found. */
export interface Evaluation {
  cut: number
  threshold: number
  labels: LabelKind
  select: 'calibration' | 'held-out'
  fitOn: FitOn
  groups: Group[]
  results: ContenderResult[]
  /** Feature sets that could not take part, and why. */
  skipped: { features: string; reason: string }[]
}

/** How contenders are fitted and tested. */
export interface EvaluateOptions extends ErrorTargets {
  /** EM rate above which a checkpoint is dangerous. */
  cut?: number | undefined
  /** Predicted rate above which a detector alarms; default `cut`, or per model what the target error rates ask for. */
  threshold?: number | undefined
  labels?: LabelKind | undefined
  /** Datasets among the held-out ones that are no part of the benchmark and are tested apart. */
  controls?: readonly string[] | undefined
  /** Detectors that have made their predictions elsewhere; they come first. */
  others?: readonly Contender[] | undefined
  regressors?: readonly ContenderRegressor[] | undefined
  /** Default `own`; the others ask how far a detector carries over to another model. */
  fitOn?: FitOn | undefined
  /**
   * How the regressor of a feature set is chosen: by balanced accuracy, then AUROC, on calibration datasets
   * left out; or, as the reference's table has it in favour of the baselines, by the lowest miss rate on the
   * held-out runs, then accuracy.
   */
  select?: 'calibration' | 'held-out' | undefined
  /** What intervals draw: `set` (default), a set of a model with all its seeds, which say the same; or `run`, as the paper has it. */
  clusters?: 'set' | 'run' | undefined
  /** Draws and seed of the intervals. */
  draws?: number | undefined
  seed?: number | undefined
  signal?: AbortSignal | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

/** Which runs are fitted on and tested, and who takes part. */
export interface EvaluateRunsOptions extends Omit<EvaluateOptions, 'labels' | 'others'> {
  /** Datasets that detectors are fitted on, and that they are tested on; by folder name, with `*` for any letters. */
  calibration: readonly string[]
  heldOut: readonly string[]
  /** Datasets outside the benchmark that are tested apart, e.g. benign ones with a large drift. */
  controls?: readonly string[] | undefined
  /**
   * Only these models; default all. With `probes` those that detectors are fitted on: nothing of the probes is, and
   * nothing but the probes is tested. Method section 9.4.
   */
  models?: readonly string[] | undefined
  probes?: readonly string[] | undefined
  /** Take runs too that were measured under other conditions than the calibration runs (stated); else they are left out. */
  allowMismatch?: boolean | undefined
  /** Two of the tested datasets with the same prompts, answered dangerously and safely. */
  pair?: readonly [dangerous: string, safe: string] | undefined
  /** Dataset of long benign runs that join the calibration of step-aware alarms, one at a time. */
  anchor?: string | undefined
  /** 0-based block; default the primary layer of each model's runs. */
  layer?: number | undefined
  /** Names of feature sets to compare; default all. */
  features?: readonly string[] | undefined
  /** Also a forest on every subset of the traits, on calibration data alone (see {@link enumerateTraits}). */
  enumerateTraits?: boolean | undefined
  /** Also the threshold that would have been best, a diagnosis (see {@link oracleThresholds}). */
  oracleThreshold?: boolean | undefined
  /** Sets of traits that become feature sets of their own. */
  traitSubsets?: readonly (readonly string[])[] | undefined
  /**
   * Further directions, by a name of their own: a directions folder, or a folder with one of them per model
   * name.
   */
  bases?: Readonly<Record<string, string>> | undefined
  /** Sparse autoencoder: a safetensors file, or a folder with `<model>.safetensors`. */
  sae?: string | undefined
  /** Persona direction: a safetensors file, or a folder with `<model>.safetensors`; its tensor is `persona` `[nEmbd]`. */
  persona?: string | undefined
  /** Bundle of traitscope's own detector, or a folder with one per model name; default: calibrated anew. */
  bundle?: string | undefined
  /** Random bases to average over; default 10. */
  randomBases?: number | undefined
}

export const EVALUATE_RUNS_OPTIONS: OptionKinds<EvaluateRunsOptions> = {
  calibration: new Needed('strings'),
  heldOut: new Needed('strings'),
  controls: 'strings',
  models: 'strings',
  probes: 'strings',
  allowMismatch: 'boolean',
  pair: 'strings',
  anchor: 'string',
  layer: 'number',
  features: 'strings',
  enumerateTraits: 'boolean',
  oracleThreshold: 'boolean',
  traitSubsets: 'list',
  bases: 'any',
  sae: 'path',
  persona: 'path',
  bundle: 'path',
  randomBases: 'number',
  cut: 'number',
  threshold: 'number',
  maxFnr: 'number',
  maxFpr: 'number',
  regressors: 'strings',
  fitOn: 'string',
  select: ['calibration', 'held-out'],
  clusters: ['set', 'run'],
  draws: 'number',
  seed: 'number',
  signal: 'signal',
  onProgress: 'function',
}
