import type { VerdictKind } from '../detector/verdict.js'
import { backlogAfter } from '../events/backlog.js'
import type { LoggedEvent } from '../events/event-log.js'
import { isSetBack, writtenBy } from '../events/set-clocks.js'
import type { Step } from '../trajectory/trajectory.js'

/** Figures of one measured checkpoint under short names, for trainers' logs and metrics. */
export interface CheckpointScalars {
  step: Step
  /** Identity of the weights. */
  sha256: string
  /** When it was measured, in seconds since 1970. */
  time: number
  /** `drift_<trait>`, `drift_length`; `predicted_em` and `margin`, with `_low` and `_high`, where there are any. */
  scalars: Record<string, number>
  verdict?: VerdictKind
  milliseconds: number
}

/** Checkpoints that a summary keeps the figures of: what a trainer has not asked for by then it does not want. */
const KEPT = 32

/** What is to be said of a run, from its events; a few strings per checkpoint. */
export class RunSummary {
  traits: readonly string[] = []
  /** Of the last checkpoints, in the order in which they were measured. */
  checkpoints: CheckpointScalars[] = []
  /** Identity of the weights that were measured last, by step. */
  readonly weights = new Map<Step, string>()
  measured = 0
  lost = 0
  errors = 0
  backlog = 0
  /** Seconds since 1970 at which the alarm that stands was raised. */
  alarmSince: number | undefined
  alarmMessage: string | undefined
  /** Whether a watch is at work, as far as its log says. */
  isWatched = false
  lastEvent: string | undefined
  seq = 0
  #newest: { checkpoint: CheckpointScalars; writtenAt: number } | undefined

  constructor(
    readonly id: string,
    readonly run: string,
  ) {}

  /** The checkpoint that was measured last. */
  get last(): CheckpointScalars | undefined {
    return this.checkpoints.at(-1)
  }

  /** How the run stands: the figures of the checkpoint that the trainer wrote last. A backlog may be measured after it. */
  get newest(): CheckpointScalars | undefined {
    return this.#newest?.checkpoint ?? this.last
  }

  /** Whether the run's newest verdict is no clean one; where there is none, whether its margin is no clean one. */
  get isWarned(): boolean {
    const { verdict, scalars } = this.newest ?? {}
    return verdict === 'warn' || verdict === 'alarm' || (scalars?.margin_low ?? 0) > 0
  }

  take(event: LoggedEvent): void {
    this.seq = event.seq
    if (this.#newest && isSetBack(event.time, this.lastEvent))
      this.#newest.writtenAt = Number.NEGATIVE_INFINITY
    this.lastEvent = event.time
    this.isWatched = event.type !== 'end'
    this.backlog = backlogAfter(this.backlog, event)
    switch (event.type) {
      case 'baseline':
        this.#begin(event)
        return
      case 'secured':
        // Weights that a trainer has put in the place of others have no figures yet.
        this.#drop(({ step, sha256 }) => step === event.step && sha256 !== event.adapterSha256)
        return
      case 'lost':
        this.lost++
        return
      case 'error':
        this.errors++
        return
      case 'checkpoint':
        this.#checkpoint(event)
    }
  }

  /** Where nothing is taken up from before, such as under other conditions, no figure and no alarm of before holds. */
  #begin({ traits, resumed, time }: Extract<LoggedEvent, { type: 'baseline' }>): void {
    if (resumed === undefined) {
      this.checkpoints = []
      this.#newest = undefined
      this.#clear()
    }
    this.traits = traits
    if (resumed?.alarm === 'standing' && this.alarmSince === undefined)
      this.#raise(time, 'an alarm stands from before')
  }

  #drop(isReplaced: (checkpoint: CheckpointScalars) => boolean): void {
    this.checkpoints = this.checkpoints.filter((checkpoint) => !isReplaced(checkpoint))
    if (this.#newest && isReplaced(this.#newest.checkpoint)) this.#newest = undefined
  }

  #raise(time: string, message: string): void {
    this.alarmSince = Date.parse(time) / 1000
    this.alarmMessage = message
  }

  #clear(): void {
    this.alarmSince = undefined
    this.alarmMessage = undefined
  }

  #checkpoint(event: Extract<LoggedEvent, { type: 'checkpoint' }>): void {
    const { step, adapterSha256: sha256, verdict, margin, alarm, milliseconds, writtenAt } = event
    const { values, norm } = event.drift[event.primary]!
    const scalars: Record<string, number> = Object.fromEntries(
      this.traits.map((trait, t) => [`drift_${trait}`, values[t]!]),
    )
    scalars.drift_length = norm
    if (verdict && verdict.em !== null) scalars.predicted_em = verdict.em
    if (margin) scalars.margin = margin.change
    if (margin?.interval) [scalars.margin_low, scalars.margin_high] = margin.interval
    if (verdict?.settled) scalars.prompts_read = verdict.settled.prompts
    if (verdict?.interval) [scalars.predicted_em_low, scalars.predicted_em_high] = verdict.interval
    const time = Date.parse(event.time) / 1000
    const checkpoint: CheckpointScalars = {
      step,
      sha256,
      time,
      scalars,
      milliseconds,
      ...(verdict && { verdict: verdict.verdict }),
    }
    this.checkpoints.push(checkpoint)
    const written = writtenBy(writtenAt ?? event.time, event.time)
    if (!(written < (this.#newest?.writtenAt ?? 0))) this.#newest = { checkpoint, writtenAt: written }
    if (this.checkpoints.length > KEPT) this.checkpoints.shift()
    this.weights.set(step, sha256)
    this.measured++
    if (alarm === 'raised' || (alarm === 'standing' && this.alarmSince === undefined))
      this.#raise(event.time, `alarm at step ${step}`)
    if (alarm === 'cleared' || alarm === 'quiet') this.#clear()
  }
}
