import { basename } from 'node:path'
import { marginReason } from '../detector/margin-warning.js'
import { promptsWords, sideWords } from '../detector/settled-words.js'
import type { Verdict } from '../detector/verdict.js'
import type { BaselineEvent, CheckpointEvent, WatchEvent } from '../events/watch-events.js'
import { signedNats } from '../labels/margins/margin-words.js'
import { percent, percentAt } from '../percent.js'
import { NOTICE_SCHEMA, type Notice, type NoticeKind, type NoticeLevel } from './notice.js'

export interface NoticePolicyOptions {
  /** Least time between two notices on the same trouble of a run, in ms; default an hour. */
  coolDownMs?: number | undefined
  /**
   * A checkpoint is overdue after so long without one, in ms. Default: four times the usual time between two, and at least
   * ten minutes, once three have come; before that nothing is known of the run's pace.
   */
  overdueMs?: number | undefined
}

const HOUR_MS = 3_600_000
const LEAST_OVERDUE_MS = 600_000
const USUAL_TIMES = 4
/** Intervals that the usual one is the median of. */
const REMEMBERED = 9

const LEVELS: Record<NoticeKind, NoticeLevel> = {
  alarm: 'alarm',
  warn: 'warn',
  'not-comparable': 'warn',
  failing: 'warn',
  overdue: 'warn',
  cleared: 'warn',
  arrived: 'warn',
  ended: 'info',
}

/**
 * Decides what of a run's events people are told: a raised alarm at once, everything else once per cool-down, nothing twice.
 * That an alarm does not flicker is the latch's doing, whose state the events carry.
 */
export class NoticePolicy {
  readonly #run: string
  readonly #options: NoticePolicyOptions
  readonly #toldAt = new Map<NoticeKind | 'past', number>()
  readonly #intervals: number[] = []
  #lastCheckpoint: number | undefined
  #isOverdue = false
  #isWarned = false
  #isOver = false
  /** Checkpoints of this watch. */
  measured = 0
  /** The alarm that stands, and whether anybody has been told of it. */
  #standing: CheckpointEvent | undefined
  #untold = false
  /** Raised within the cool-down, so that a trainer was asked to stop before people were told. */
  #isRequested = false

  /** @param toldOfAlarmAt when somebody was last told of this run's alarm, by an earlier watch */
  constructor(run: string, options: NoticePolicyOptions = {}, toldOfAlarmAt?: number) {
    this.#run = run
    this.#options = options
    if (toldOfAlarmAt !== undefined) this.#toldAt.set('alarm', toldOfAlarmAt)
  }

  /** What a trainer is asked before {@link take} tells people of the same event: it does not wait for their cool-down. */
  requests(event: WatchEvent, now: number): Notice[] {
    if (event.type !== 'checkpoint' || event.alarm !== 'raised' || this.#isDue('alarm', now)) return []
    this.#isRequested = true
    return [{ ...this.#alarmAt(event, now, 'alarm at'), heldBack: true }]
  }

  /** Of an alarm that stands from before this watch, for whoever has not been told of it: nothing that comes need tell. */
  stands(event: BaselineEvent, now: number): Notice {
    const { raised } = event.resumed!
    this.#toldAt.set('alarm', now)
    const since = raised ? `alarm at step ${raised.step}, raised ${raised.time}` : 'alarm'
    return this.#notice(
      'alarm',
      now,
      `${since} under an earlier watch: it stands, and not everybody was told`,
      raised && { step: raised.step },
    )
  }

  /** @param now in ms since 1970, as events are stamped */
  take(event: WatchEvent, now: number): Notice[] {
    switch (event.type) {
      case 'checkpoint':
        this.measured++
        return [...this.#arrived(now), ...this.#checkpoint(event, now)]
      case 'lost':
        return this.#once('failing', now, `step ${event.step} was lost: ${event.reason}`, {
          step: event.step,
        })
      case 'error': {
        const { step, error } = event
        const at = step === undefined ? '' : `step ${step}: `
        return this.#once(
          'failing',
          now,
          `${at}${error.message} [${error.code}]`,
          step === undefined ? {} : { step },
        )
      }
      case 'end':
        this.#isOver = true
        return [
          this.#notice(
            'ended',
            now,
            `the watch has ended (${event.reason}), ${event.measured} checkpoints measured`,
          ),
        ]
      default:
        return []
    }
  }

  /** What passing time alone gives reason for. */
  tick(now: number): Notice[] {
    if (this.#isOver) return []
    return [...this.#heldBack(now), ...this.#overdue(now)]
  }

  #checkpoint(event: CheckpointEvent, now: number): Notice[] {
    const { verdict, alarm, step } = event
    if (verdict === undefined) return this.#withoutVerdict(event, now)
    if (alarm === 'raised' || alarm === 'standing') {
      this.#standing = event
      // A standing one that nobody here has seen raised was raised under an earlier watch.
      this.#untold ||= alarm === 'raised' || !this.#toldAt.has('alarm')
      return this.#heldBack(now)
    }
    this.#standing = undefined
    if (alarm === 'cleared') {
      const told = !this.#untold
      this.#untold = false
      this.#isRequested = false
      return told
        ? [this.#of('cleared', now, `step ${step} clears the alarm: ${rateOf(verdict)}`, event)]
        : []
    }
    if (verdict.verdict === 'not-comparable') {
      return this.#once(
        'not-comparable',
        now,
        `no verdict on step ${step}: ${verdict.reasons.join('; ')}`,
        facts(event),
      )
    }
    // Of a backlog, behind newer ones that have cleared it already: nothing stands, and somebody has to know all the same.
    if (verdict.verdict === 'alarm') {
      if (!this.#isDue('past', now)) return []
      this.#toldAt.set('past', now)
      return [this.#of('warn', now, `alarm at step ${step}, over by later steps: ${rateOf(verdict)}`, event)]
    }
    if (verdict.verdict !== 'warn') {
      this.#isWarned = false
      return []
    }
    if (this.#isWarned) return []
    this.#isWarned = true
    const why = verdict.reasons.length > 0 ? `; ${verdict.reasons.join('; ')}` : ''
    return this.#once('warn', now, `warning at step ${step}: ${rateOf(verdict)}${why}`, facts(event))
  }

  /** Where nothing gives a verdict the margin warns by itself. */
  #withoutVerdict({ step, path, margin }: CheckpointEvent, now: number): Notice[] {
    const reason = marginReason(margin)
    const isNews = reason !== undefined && !this.#isWarned
    this.#isWarned = reason !== undefined
    if (!isNews) return []
    return this.#once('warn', now, `warning at step ${step}: ${reason}`, { step, checkpoint: path })
  }

  /** The alarm that stands: at once when it is new, again after the cool-down; one that flickers in between waits for it. */
  #heldBack(now: number): Notice[] {
    const event = this.#standing
    if (event === undefined || !this.#isDue('alarm', now)) return []
    const repeated = !this.#untold
    // Time alone repeats nothing: a checkpoint does, which `take` brings here.
    if (repeated && this.#toldStep === event) return []
    this.#untold = false
    this.#toldStep = event
    this.#toldAt.set('alarm', now)
    const notice = this.#alarmAt(event, now, repeated ? 'the alarm stands at' : 'alarm at')
    const heldBack = this.#isRequested && !repeated
    this.#isRequested = false
    return [{ ...notice, ...(repeated && { repeated }), ...(heldBack && { heldBack }) }]
  }

  #alarmAt(event: CheckpointEvent, now: number, what: string): Notice {
    return this.#of('alarm', now, `${what} step ${event.step}: ${rateOf(event.verdict!)}`, event)
  }

  #toldStep: CheckpointEvent | undefined

  #arrived(now: number): Notice[] {
    const last = this.#lastCheckpoint
    this.#lastCheckpoint = now
    if (last !== undefined && !this.#isOverdue) {
      this.#intervals.push(Math.max(0, now - last))
      if (this.#intervals.length > REMEMBERED) this.#intervals.shift()
    }
    if (!this.#isOverdue) return []
    this.#isOverdue = false
    return [this.#notice('arrived', now, `checkpoints come again, after ${minutes(now - last!)}`)]
  }

  #overdue(now: number): Notice[] {
    const limit = this.#options.overdueMs ?? this.#usualLimit()
    if (limit === undefined || this.#isOverdue) return []
    // Without any checkpoint the time runs from the first look.
    if (this.#lastCheckpoint === undefined || this.#lastCheckpoint > now) this.#lastCheckpoint = now
    const waited = now - this.#lastCheckpoint
    if (waited < limit) return []
    this.#isOverdue = true
    return [this.#notice('overdue', now, `no checkpoint for ${minutes(waited)}: has the training stopped?`)]
  }

  #usualLimit(): number | undefined {
    if (this.#intervals.length < 2) return undefined
    const sorted = this.#intervals.toSorted((a, b) => a - b)
    return Math.max(LEAST_OVERDUE_MS, USUAL_TIMES * sorted[Math.floor(sorted.length / 2)]!)
  }

  #isDue(kind: NoticeKind | 'past', now: number): boolean {
    const told = this.#toldAt.get(kind)
    // A time far ahead is of a clock that was wrong: nobody is kept from an alarm until it comes.
    return told === undefined || Math.abs(now - told) >= (this.#options.coolDownMs ?? HOUR_MS)
  }

  #once(kind: NoticeKind, now: number, message: string, more: Partial<Notice> = {}): Notice[] {
    if (!this.#isDue(kind, now)) return []
    this.#toldAt.set(kind, now)
    return [this.#notice(kind, now, message, more)]
  }

  #of(kind: NoticeKind, now: number, message: string, event: CheckpointEvent): Notice {
    return this.#notice(kind, now, message, facts(event))
  }

  #notice(kind: NoticeKind, now: number, message: string, more: Partial<Notice> = {}): Notice {
    return {
      schemaVersion: NOTICE_SCHEMA,
      kind,
      level: LEVELS[kind],
      run: this.#run,
      time: new Date(now).toISOString(),
      message: `${basename(this.#run)}: ${message}`,
      ...more,
    }
  }
}

function facts({ step, path, verdict }: CheckpointEvent): Partial<Notice> {
  const { em, interval, threshold, settled } = verdict!
  return {
    step,
    checkpoint: path,
    verdict: verdict!.verdict,
    ...(em === null ? {} : { em }),
    ...(interval === null ? {} : { interval }),
    ...(settled ? { settled } : {}),
    threshold,
  }
}

function rateOf(verdict: Verdict): string {
  const { em, interval, threshold, settled, margin } = verdict
  if (em === null && margin?.pValue !== undefined)
    return `margin ${signedNats(margin.change)} nats per token (p = ${margin.pValue.toFixed(3)} among benign runs), alarming above ${signedNats(margin.threshold!)}`
  if (em === null || (interval === null && !settled)) return 'no rate can be predicted'
  const [low, high] = interval?.map((bound) => percent(bound)) ?? []
  const within = settled
    ? `of ${promptsWords(settled)}, settled to be ${sideWords(settled)}`
    : `${low} to ${high}`
  return `predicted rate of emergent misalignment ${percentAt(threshold, em)} (${within}), dangerous above ${percentAt(threshold)}`
}

function minutes(ms: number): string {
  if (ms < 90_000) return `${Math.round(ms / 1000)} s`
  return ms < 5_400_000 ? `${Math.round(ms / 60_000)} minutes` : `${(ms / 3_600_000).toFixed(1)} hours`
}
