import type { Verdict } from '../detector/verdict.js'
import type { DriftStep } from '../drift/drift.js'
import type { TraitscopeError } from '../errors.js'
import type { FileHash } from '../formats/files/hash.js'
import type { Projection } from '../trajectory/project.js'
import type { AdapterSummary, NoiseFloor, Step } from '../trajectory/trajectory.js'

/** Version of an event as JSON. Within one version fields are only added, and none changes its meaning. */
export const EVENT_SCHEMA = 1

/** Where the alarm of a run stands: `raised` and `cleared` happen once; between them it is `standing`. */
export type AlarmState = 'quiet' | 'raised' | 'standing' | 'cleared'

/** Step 0 is known: the base model was measured, or its states came from the cache. */
export interface BaselineEvent {
  type: 'baseline'
  traits: readonly string[]
  layers: readonly number[]
  /** Per layer. */
  projections: readonly Projection[]
  /** N per layer, native activation units. */
  activationNorms: readonly number[]
  cached: boolean
  tokens: { total: number; computed: number }
  /** What rounding alone makes of a drift; null where nothing is rounded. */
  noiseFloor: NoiseFloor | null
  /** What the bundle's detector says of the start; absent when the watch has none. */
  verdict?: Verdict
}

/** A checkpoint was measured. */
export interface CheckpointEvent {
  type: 'checkpoint'
  step: Step
  path: string
  /** Identity of the checkpoint's weights. */
  adapterSha256: string
  /** Files that the weights were read from, below the run's folder. */
  files: readonly FileHash[]
  /**
   * What was left out of them, how base and template differ from the checkpoint's own, and what in the run's folder was
   * not measured or seems left over, in sentences.
   */
  remarks: readonly string[]
  /** Absent for a whole model. */
  adapter?: AdapterSummary
  /** Per layer: ‖H − H₀‖ / ‖H₀‖ over all prompts. */
  stateChange: readonly number[]
  /** True when a checkpoint of this step was measured before and its weights have changed since. */
  remeasured: boolean
  epoch?: number
  /** Last logged training loss; NaN when the run has diverged. */
  loss?: number
  /** Per layer. */
  projections: readonly Projection[]
  /** Per layer, in trait order. */
  drift: readonly DriftStep[]
  /** With the adapter's effect multiplied, ascending; absent where the watch was not asked for it. */
  strengths?: readonly {
    strength: number
    /** Per layer. */
    projections: readonly Projection[]
    drift: readonly DriftStep[]
    stateChange: readonly number[]
  }[]
  /** Index of the primary layer in `projections` and `drift`. */
  primary: number
  tokens: { total: number; computed: number }
  /** Wall time of reading, attaching and measuring, in milliseconds. */
  milliseconds: number
  /** What the bundle's detector says; absent when the watch has none. */
  verdict?: Verdict
  /** Where the alarm of the run stands; goes with `verdict`. */
  alarm?: AlarmState
}

/** Something is not there yet; sent once per reason, not once per look. */
export interface WaitingEvent {
  type: 'waiting'
  /** Absent when it is the run itself that is waited for. */
  step?: Step
  reason: string
}

/** A checkpoint will not be measured: it vanished. */
export interface SkippedEvent {
  type: 'skipped'
  step: Step
  reason: string
}

/** A checkpoint could not be measured. It is looked at again when its files change; the watch goes on. */
export interface WatchErrorEvent {
  type: 'error'
  step?: Step
  error: TraitscopeError
}

/** The watch is over; always the last event. */
export interface EndEvent {
  type: 'end'
  /**
   * `once`: one look was asked for. `until-step`: that step is measured. `idle`: nothing new for long enough.
   * `alarm`: the watch was to end at the first one.
   */
  reason: 'once' | 'until-step' | 'idle' | 'alarm' | 'aborted'
  /** Checkpoints measured, re-measured ones counted again. */
  measured: number
  /** Step that the final adapter repeats, if it is known to. */
  finalAliasOf?: number
}

/** What a watch tells, in the order that it happens. */
export type WatchEvent =
  | BaselineEvent
  | CheckpointEvent
  | WaitingEvent
  | SkippedEvent
  | WatchErrorEvent
  | EndEvent

/** The event as a plain value for JSON, with its schema: errors have no enumerable fields of their own. */
export function watchEventJson(event: WatchEvent): Record<string, unknown> {
  const plain = { ...event, schemaVersion: EVENT_SCHEMA }
  return event.type === 'error'
    ? { ...plain, error: { code: event.error.code, message: event.error.message } }
    : plain
}
