import { Made, type OptionKinds } from '../arguments.js'
import { BUNDLE, type Bundle } from '../detector/bundle.js'
import { ORDINARY_RUNS, type OrdinaryRuns } from '../detector/conditional.js'
import type { Prior } from '../detector/prior.js'
import type { Model } from '../model/model.js'
import { MEASUREMENT_OPTIONS, type MeasurementOptions } from '../trajectory/prepare-measurement.js'
import type { Step } from '../trajectory/trajectory.js'
import type { SecureMode } from './secured-files.js'

/** How to watch, and when to end. */
export interface WatchRunOptions extends MeasurementOptions {
  /** Stops the watch: the last event is then `end` with reason `aborted`. */
  signal?: AbortSignal | undefined
  /** Time between two looks at the folder, in milliseconds; default 2000. */
  intervalMs?: number | undefined
  /** Look once, measure what is there, end. */
  once?: boolean | undefined
  /**
   * End with the first checkpoint of this step or a later one, also when it cannot be measured: the last step of the
   * training run, or the last one of interest. What comes after it is not looked at.
   */
  untilStep?: number | undefined
  /** End when nothing has changed for this long, in milliseconds. Default: watch until stopped. */
  idleMs?: number | undefined
  /** Give a verdict on every checkpoint by this bundle, whose directions must be the ones that are watched with. */
  bundle?: Bundle | undefined
  /** Without a bundle: provisional verdicts by what is known of other bases. */
  prior?: Prior | undefined
  /** Contexts are ranked against these runs instead of the bundle's, see `ordinaryRuns`. */
  ordinary?: OrdinaryRuns | undefined
  /**
   * Stop reading the prompts of a checkpoint once it is settled, with at most this probability of an error, on which side of the threshold
   * its rate lies, see `settlingIn`. Default: all are read. Not with strengths or contexts.
   */
  settle?: number | undefined
  /** End at the first checkpoint whose verdict is an alarm. */
  endOnAlarm?: boolean | undefined
  /**
   * Folder for what a watch must remember, such as `defaultStateDir()`: a folder per run, with its `events.jsonl` and the
   * files that are secured. A watch that begins later goes on where this one ended. Default: nothing is kept.
   */
  stateDir?: string | undefined
  /**
   * How adapters are kept from the trainer's rotation until they are measured: a hard link where that can be made, else a copy
   * (`link`, default), always a `copy`, or `off`. It needs a `stateDir`.
   */
  secure?: SecureMode | undefined
  /** Which of several checkpoints is measured first; default the newest, with `once` the oldest. The final weights come last. */
  order?: 'newest' | 'oldest' | undefined
  /**
   * Close the base when nothing has waited to be measured for this long, in milliseconds, and open it again by `reopen` when
   * something does: the memory is the trainer's meanwhile. The model that was passed is closed then. Default: it stays open.
   */
  idleUnloadMs?: number | undefined
  /** Opens the base as it was opened; what it opens, the watch closes. */
  reopen?: (() => Promise<Model>) | undefined
  /** Fraction done of the pass over step 0 or a checkpoint: 0 as soon as work on it begins, 1 when it ends, however. */
  onProgress?: ((step: Step, fraction: number) => void) | undefined
}

export const WATCH_OPTIONS: OptionKinds<WatchRunOptions> = {
  ...MEASUREMENT_OPTIONS,
  signal: 'signal',
  intervalMs: 'number',
  once: 'boolean',
  untilStep: 'number',
  idleMs: 'number',
  bundle: BUNDLE,
  prior: new Made('a prior as loadPrior reads it', 'depths'),
  ordinary: ORDINARY_RUNS,
  settle: 'number',
  endOnAlarm: 'boolean',
  stateDir: 'path',
  secure: ['link', 'copy', 'off'],
  order: ['newest', 'oldest'],
  idleUnloadMs: 'number',
  reopen: 'function',
  onProgress: 'function',
}
