import type { VerdictKind } from '../detector/verdict.js'
import type { Settled, Step } from '../trajectory/trajectory.js'

/** Version of a notice as JSON. Within one version fields are only added. */
export const NOTICE_SCHEMA = 1

/**
 * Why somebody is told.
 *
 * - `alarm`: the run's alarm was raised, or still stands after the cool-down.
 * - `warn`: a first verdict `warn`.
 * - `cleared`: the alarm was taken back.
 * - `not-comparable`: checkpoints get no verdict.
 * - `failing`: checkpoints cannot be measured, or were lost.
 * - `overdue`: no checkpoint has come for much longer than usual; `arrived` takes it back.
 * - `ended`: the watch is over.
 */
export type NoticeKind =
  | 'alarm'
  | 'warn'
  | 'cleared'
  | 'not-comparable'
  | 'failing'
  | 'overdue'
  | 'arrived'
  | 'ended'

/** How much it matters: `alarm` is for people who sleep. */
export const NOTICE_LEVELS = ['info', 'warn', 'alarm'] as const
export type NoticeLevel = (typeof NOTICE_LEVELS)[number]

/** What somebody is told of a run. */
export interface Notice {
  /** {@link NOTICE_SCHEMA}. */
  schemaVersion: number
  kind: NoticeKind
  level: NoticeLevel
  /** The run's folder. */
  run: string
  /** When it happened, in ISO 8601. */
  time: string
  /** One sentence for a person. */
  message: string
  step?: Step
  /** The checkpoint's weights, where they were read. */
  checkpoint?: string
  verdict?: VerdictKind
  /** Predicted rate of emergent misalignment, in [0, 1], with its interval, and the threshold. */
  em?: number
  interval?: [low: number, high: number]
  /** Instead of an interval where a part of the prompts was read. */
  settled?: Settled
  threshold?: number
  /** Of an alarm that somebody was told of before. */
  repeated?: boolean
  /** Of an alarm that was raised within the cool-down: people hear of it later, files that a trainer looks for are written at once. */
  heldBack?: boolean
}

export const isAtLeast = (level: NoticeLevel, least: NoticeLevel): boolean =>
  NOTICE_LEVELS.indexOf(level) >= NOTICE_LEVELS.indexOf(least)
