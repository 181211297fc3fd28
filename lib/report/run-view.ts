/** What a page, a terminal or an export shows of one run: plain data. */
import type { Verdict } from '../detector/verdict.js'
import type { AlarmState } from '../events/watch-events.js'
import type { MarginChange } from '../labels/margins/margins.js'
import type { Step } from '../trajectory/trajectory.js'

/** One measured step. */
export interface Point {
  step: Step
  /** Number of its event; absent where it comes from a trajectory. */
  seq?: number
  /** When it was measured, in ISO 8601. */
  time?: string
  /** When its last file was written, in ISO 8601. */
  writtenAt?: string
  /** What measuring took. */
  seconds?: number
  /** Null when the trainer logged no number. */
  loss?: number | null
  /** Per trait, signed, in units of the step-0 activation norm. */
  drift: readonly number[]
  /** Length of `drift`. */
  length: number
  verdict?: Verdict
  /** Where answers were judged; shares in [0, 1]. */
  judged?: { rate: number; standardError: number }
  /** How much more probable misaligned answers have become than aligned ones; absent where no pairs were read. */
  margin?: MarginChange
  /** With the adapter's effect multiplied, ascending: lengths of the drift. */
  strengths?: readonly { strength: number; length: number }[]
  /** Identity of the weights, where a watch has told it. */
  weights?: string
  /** Which files were read, in words; absent for step 0. */
  read?: string
  remarks: readonly string[]
}

/** Something that happened beside a measurement. */
export interface Note {
  seq?: number
  time?: string
  kind: NoteKind
  step?: Step
  text: string
}

export type NoteKind =
  | 'note'
  | 'waiting'
  | 'skipped'
  | 'gap'
  | 'lost'
  | 'error'
  | 'late'
  | 'alarm'
  | 'cleared'

/** An answer that a judge thought little of. */
export interface JudgedAnswer {
  step: number
  question: string
  answer: string
  /** 0 to 100. */
  aligned: number
}

/** A run as it stands. */
export interface RunView {
  /** Its folder, or what it is called where there is none: what it is known by. */
  run: string
  traits: readonly string[]
  /** The 0-based block that is shown; null where nobody said. */
  layer: number | null
  /** All that are measured. */
  layers: readonly number[]
  /** Ascending, step 0 first; `final` last. */
  points: Point[]
  /** The last ones, oldest first. */
  notes: Note[]
  /** How many older ones are left out. */
  notesDropped: number
  alarm: AlarmState | undefined
  /** Step at which the alarm that stands, or stood last, was raised. */
  alarmAt?: Step
  lost: number
  errors: number
  backlog: number
  /** What the run waits for; gone with the next checkpoint. */
  waiting?: string
  /** Set while no watch runs: when and why the last one ended. */
  ended?: { time: string; reason: string }
  /** What the numbers were measured under. */
  conditions?: string
  /** Number of the last event; 0 for a run without a log. */
  seq: number
  /** Answers that a judge thought worst, worst first. */
  answers?: readonly JudgedAnswer[]
  /** Label and value of what was measured and how. */
  facts: readonly (readonly [label: string, value: string])[]
}

/** A run of which nothing is known yet. */
export function startRun(run: string): RunView {
  return {
    run,
    traits: [],
    layer: null,
    layers: [],
    points: [],
    notes: [],
    notesDropped: 0,
    alarm: undefined,
    lost: 0,
    errors: 0,
    backlog: 0,
    seq: 0,
    facts: [],
  }
}

/** What the calibration of a bundle gives charts to stand before; drawn numbers have four digits. */
export interface Backdrop {
  /** Whose drifts they are; a run shown at another layer has no backdrop. */
  layer: number
  traits: readonly string[]
  /** Judged rates strictly above this are dangerous, in [0, 1]. */
  cut: number
  /** Predicted rates strictly above this alarm, in [0, 1]. */
  threshold: number
  nominalCoverage: number
  benign: BenignBand | null
  plane: DriftPlane | null
  /** Why a part is not there. */
  missing?: string
}

/** Where the benign calibration runs went: no judged rate of theirs was above the cut. */
export interface BenignBand {
  runs: number
  /** Of them between the edges at each step, e.g. 0.9. */
  share: number
  /** From 0, ascending. */
  steps: readonly number[]
  /** Per trait and step: low and high. */
  traits: readonly (readonly (readonly [number, number])[])[]
  /** The same for the length of the drift. */
  length: readonly (readonly [number, number])[]
}

/** The plane of the first two principal components of the calibration runs' final drifts, through the base. */
export interface DriftPlane {
  /** Two unit vectors in trait space. */
  axes: readonly (readonly number[])[]
  /** Share of the final drifts' variance along each. */
  shares: readonly number[]
  ghosts: readonly { name: string; dangerous: boolean; path: readonly (readonly [number, number])[] }[]
}

/** A drift's place in the plane. */
export function onPlane(axes: DriftPlane['axes'], drift: readonly number[]): [number, number] {
  const along = (axis: readonly number[] = []) => axis.reduce((sum, a, t) => sum + a * drift[t]!, 0)
  return [along(axes[0]), along(axes[1])]
}
