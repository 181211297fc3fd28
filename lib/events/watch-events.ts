import type { Verdict } from '../detector/verdict.js'
import type { DriftStep } from '../drift/drift.js'
import type { ErrorCode, TraitscopeError } from '../errors.js'
import type { FileHash } from '../formats/files/hash.js'
import type { MarginChange } from '../labels/margins/margins.js'
import type { PairsRead } from '../labels/margins/pair-reading.js'
import type { Projection } from '../trajectory/project.js'
import type { AdapterSummary, NoiseFloor, Settled, Step } from '../trajectory/trajectory.js'

/** Version of an event as JSON. Within one version fields and types are only added, and none changes its meaning. */
export const EVENT_SCHEMA = 2

/** Where the alarm of a run stands: `raised` and `cleared` happen once; between them it is `standing`. */
export type AlarmState = 'quiet' | 'raised' | 'standing' | 'cleared'

/** What every event says beside what happened. */
export interface EventStamp {
  /** When, in ISO 8601. */
  time?: string
  /** The run's folder; absent where an event is about all runs that are watched. */
  run?: string
  /** Number of the event in its run's log, from 1, never given twice; absent where there is no run. */
  seq?: number
}

/** Step 0 is known: the base model was measured, or its states came from the cache. A watch of a run begins with it. */
export interface BaselineEvent extends EventStamp {
  type: 'baseline'
  /** The base's file, without its folder, and what its tensors and metadata are known by. */
  base: { file: string; fingerprint: string }
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
  /** The pairs of answers whose margin every checkpoint is told by; absent where none are read. */
  margin?: PairsRead
  /** SHA-256 over base, directions, prompts, pairs and detector: what was measured under others is measured again. */
  conditions: string
  /** What an earlier watch of this run has left to go on from; absent when this is the first. */
  resumed?: ResumedFrom
  /** Checkpoints that an earlier watch has measured under other conditions: they count no more. Absent where there are none. */
  setAside?: number
  /** What the bundle's detector says of the start; absent when the watch has none. */
  verdict?: Verdict
}

/** What a watch knows of a run when it begins. */
export interface ResumedFrom {
  /** When the last event was logged, in ISO 8601: what came and went after it, nobody has seen. */
  lastEvent: string
  /** Steps that are measured already. */
  measured: number
  /** Steps that are secured and not measured yet. */
  secured: number
  /** Where the alarm stands. */
  alarm: 'quiet' | 'standing'
  /** Of one that stands: the step that raised it, and when, where that is known. */
  raised?: { step: Step; time: string }
}

/** A checkpoint was measured. */
export interface CheckpointEvent extends EventStamp {
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
  /** Where not all prompts were read: what they settled, see `TrajectoryStep`. */
  settled?: Settled
  /** How much more probable misaligned answers have become than aligned ones; absent where no pairs are read. */
  margin?: MarginChange
  /** Index of the primary layer in `projections` and `drift`. */
  primary: number
  tokens: { total: number; computed: number }
  /** Wall time of reading, attaching and measuring, in milliseconds. */
  milliseconds: number
  /** Checkpoints of all runs that are complete and wait for their turn. */
  backlog: number
  /** When its last file was written, in ISO 8601. */
  writtenAt?: string
  /**
   * When the run's folder was found without any checkpoint, where all that is there now came after that: it may be another run,
   * so what was measured before counts no more for the alarm.
   */
  emptySince?: string
  /** Changes when its files change; whoever goes on from here need not read them again. */
  stamp?: string
  /** What the bundle's detector says; absent when the watch has none. */
  verdict?: Verdict
  /** Where the alarm of the run stands; goes with `verdict`. */
  alarm?: AlarmState
}

/** Something is not there yet; sent once per reason, not once per look. */
export interface WaitingEvent extends EventStamp {
  type: 'waiting'
  /** Absent when it is the run itself that is waited for. */
  step?: Step
  reason: string
}

/** What looks like a checkpoint is none of this run, and is left out. */
export interface SkippedEvent extends EventStamp {
  type: 'skipped'
  step: Step
  reason: string
}

/** A checkpoint's files are kept until it is measured, whatever the trainer does with them. */
export interface SecuredEvent extends EventStamp {
  type: 'secured'
  step: Step
  path: string
  adapterSha256: string
  /** `link`: a second name of the same file. `copy`: other bytes on the disk. */
  how: 'link' | 'copy'
  /** Folder below the state's that holds them. */
  folder: string
  bytes: number
  /** The names of its files, below the run's folder. */
  files: readonly string[]
  epoch?: number
  loss?: number
  writtenAt?: string
  /** As of a {@link CheckpointEvent}. */
  emptySince?: string
}

/** A checkpoint waits where it lies, and is lost if the trainer removes it before its turn. Sent once per reason. */
export interface UnsecuredEvent extends EventStamp {
  type: 'unsecured'
  step: Step
  path: string
  reason: string
}

/** A checkpoint was there while a watch ran, and can no longer be measured. */
export interface LostEvent extends EventStamp {
  type: 'lost'
  step: Step
  reason: string
  /** Where it was read before it went. */
  adapterSha256?: string
}

/** Steps between two checkpoints that no watch has seen. */
export interface GapEvent extends EventStamp {
  type: 'gap'
  /** Checkpoints that are known on both sides; 0 is the start of the run. */
  after: number
  before: number
  /** The trainer's save interval: missing are its multiples between the two. */
  every: number
  count: number
  reason: string
}

/** Checkpoints come faster than they are measured. Sent when it begins, and whenever the backlog has doubled. */
export interface FallingBehindEvent extends EventStamp {
  type: 'falling-behind'
  /** Complete checkpoints that wait. */
  backlog: number
  /** Seconds from one checkpoint to the next, and seconds that measuring one takes; medians of the last ones. */
  secondsBetween: number
  secondsPerCheckpoint: number
  /** How many of those that wait are secured. */
  secured: number
  /** What it costs and which flag helps, in a sentence. */
  advice: string
}

/** A new verdict on a checkpoint that had one. Not sent by this version. */
export interface RevisedEvent extends EventStamp {
  type: 'revised'
  step: Step
  adapterSha256: string
  verdict: Verdict
  reason: string
}

/** Something failed, and the watch goes on: a checkpoint, a look at a run, or the log itself. */
export interface WatchErrorEvent extends EventStamp {
  type: 'error'
  step?: Step
  error: TraitscopeError
  /** It is tried again after so many milliseconds; absent when only a change of the files makes it worth it. */
  retryMs?: number
}

/** How many prompts were read where a verdict may be settled by a part of them, and how many there were. */
export interface PromptsRead {
  read: number
  of: number
}

/** Why a watch is over. */
export type EndReason = 'once' | 'until-step' | 'idle' | 'alarm' | 'aborted' | 'failed'

/** The watch is over; always the last event. */
export interface EndEvent extends EventStamp {
  type: 'end'
  /**
   * `once`: one look was asked for. `until-step`: that step is measured. `idle`: nothing new for long enough.
   * `alarm`: the watch was to end at the first one. `failed`: the error before it lets nothing be measured any more.
   */
  reason: EndReason
  /** Checkpoints measured by this watch, re-measured ones counted again. */
  measured: number
  /** Checkpoints that were lost under it. */
  lost: number
  /** Steps that were begun and not finished by the trainer, or not measured yet. */
  unfinished: readonly Step[]
  /** Of all prompts of these checkpoints how many were read; absent where all had to be. */
  prompts?: PromptsRead
  /** Step that the final adapter repeats, if it is known to. */
  finalAliasOf?: number
}

/** What a watch tells, in the order that it happens. */
export type WatchEvent =
  | BaselineEvent
  | CheckpointEvent
  | WaitingEvent
  | SkippedEvent
  | SecuredEvent
  | UnsecuredEvent
  | LostEvent
  | GapEvent
  | FallingBehindEvent
  | RevisedEvent
  | WatchErrorEvent
  | EndEvent

/** An event as JSON has it: errors are code and message, and what is no number is null. */
export type EventJson =
  | Exclude<WatchEvent, WatchErrorEvent>
  | (Omit<WatchErrorEvent, 'error'> & { error: { code: ErrorCode; message: string } })

/** The event as a plain value for JSON, with its schema: errors have no enumerable fields of their own. */
export function watchEventJson(event: WatchEvent): EventJson & { schemaVersion: number } {
  const plain = { ...event, schemaVersion: EVENT_SCHEMA }
  if (plain.type !== 'error') return plain
  return { ...plain, error: { code: plain.error.code, message: plain.error.message } }
}
