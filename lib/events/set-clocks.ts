/** Clocks are set, and that of a trainer's disk may be another: what its times cannot mean. */

/** Less is a clock that is kept in time. */
const SET_BACK_MS = 60_000

/** When a file was written that was told of at a time: not later than that. In milliseconds since 1970. */
export const writtenBy = (writtenAt: string, toldAt: string): number =>
  Math.min(Date.parse(writtenAt), Date.parse(toldAt))

/** Whether the clock was set back between two events of a log: times of before are no measure for those that come. */
export const isSetBack = (time: string, before: string | undefined): boolean =>
  before !== undefined && Date.parse(time) < Date.parse(before) - SET_BACK_MS
