import type { LoggedEvent } from '../events/event-log.js'
import { isSetBack, writtenBy } from '../events/set-clocks.js'
import type { AlarmState, EventJson, ResumedFrom, SecuredEvent } from '../events/watch-events.js'
import { stepOrder } from '../trajectory/step-order.js'
import { stepsText } from '../trajectory/steps-text.js'
import type { Step } from '../trajectory/trajectory.js'
import { AlarmLatch, type LatchInput } from './alarm-latch.js'
import type { KnownCheckpoint } from './seen-checkpoint.js'

/** What is remembered of a step: a few strings, whatever its event held. */
interface StepMemory {
  /** Weights that were measured last; undefined when measuring failed. */
  sha256: string | undefined
  files?: KnownCheckpoint
  writtenMs?: number
  verdict?: LatchInput
}

/**
 * What a run's events add up to: which weights were measured under which step, what is secured, where the alarm stands. An
 * event changes it when it happens and when it is read again, in the same way; so a watch that begins knows what the one
 * before it knew.
 */
export class RunMemory {
  readonly #steps = new Map<Step, StepMemory>()
  readonly #stepsBySha = new Map<string, Set<Step>>()
  readonly #secured = new Map<string, SecuredEvent>()
  /** Steps that are known to have been there; of the run as it goes now. */
  readonly #seen = new Set<number>()
  /** What was written last, and when it was first told of. */
  #newest: { step: number; writtenMs: number; toldMs: number } | undefined
  #conditions: string | undefined
  #standsFromBefore = false
  /** What raised the alarm that was last told to stand. */
  #raised: ResumedFrom['raised']
  #emptySince: string | undefined
  /** The last checkpoint before which the run was another one, and how that is known. */
  #wentBack: { step: Step; why: string } | undefined
  /** Whether the alarm stood by what was told last. */
  #isToldOf = false
  lastEvent: string | undefined

  /** @param conditions as `watchedUnder`: what was measured under others does not count */
  constructor(private readonly conditions: string) {}

  apply(event: EventJson | LoggedEvent): void {
    if (event.time !== undefined && isSetBack(event.time, this.lastEvent)) this.#newest = undefined
    this.lastEvent = event.time ?? this.lastEvent
    switch (event.type) {
      case 'baseline':
        if (this.#conditions !== undefined && this.#conditions !== event.conditions) this.#forget()
        this.#conditions = event.conditions
        // Of a log that was begun anew: the verdicts before it are gone.
        if (this.#steps.size === 0) {
          this.#standsFromBefore = event.resumed?.alarm === 'standing'
          this.#raised = event.resumed?.raised
        }
        return
      case 'secured':
        this.#secured.set(event.folder, event)
        this.#beginAnew(event)
        this.#see(event.step, event)
        return
      case 'checkpoint': {
        const { step, path, stamp, adapterSha256, verdict, alarm } = event
        this.#beginAnew(event)
        this.#see(step, event)
        if (alarm !== undefined) this.#isToldOf = alarm === 'raised' || alarm === 'standing'
        if (alarm === 'raised' && event.time !== undefined) this.#raised = { step, time: event.time }
        this.#release(step, adapterSha256)
        this.#settle(step, {
          sha256: adapterSha256,
          ...(stamp === undefined
            ? {}
            : { files: { path, stamp, kind: event.adapter ? ('adapter' as const) : ('model' as const) } }),
          ...(verdict && {
            verdict: {
              ...{ verdict: verdict.verdict, em: verdict.em, threshold: verdict.threshold },
              ...(verdict.settled && { settled: verdict.settled }),
              ...(verdict.margin && { margin: verdict.margin }),
            },
          }),
        })
        return
      }
      case 'error':
        if (event.step !== undefined) this.#see(event.step)
        return
      case 'lost':
        this.#see(event.step)
        if (event.adapterSha256 !== undefined) this.#release(event.step, event.adapterSha256)
        return
      case 'unsecured':
        this.#see(event.step)
        return
      case 'waiting':
        if (event.step !== undefined) this.#see(event.step)
    }
  }

  /** True when the events so far were of other conditions than this memory's. */
  get isOfOthers(): boolean {
    return this.#conditions !== undefined && this.#conditions !== this.conditions
  }

  /** What the events so far leave to go on from; undefined when there are none, or only of other conditions. */
  get resumed(): ResumedFrom | undefined {
    const { lastEvent, measured, secured, alarm } = this
    if (this.isOfOthers || lastEvent === undefined) return undefined
    const raised = alarm === 'standing' && this.#raised !== undefined && { raised: this.#raised }
    return { lastEvent, measured, secured: secured.length, alarm, ...raised }
  }

  /** True until a checkpoint has been seen. */
  get isAtStart(): boolean {
    return this.#steps.size === 0 && this.#seen.size === 0 && this.#secured.size === 0
  }

  /** Steps with weights that were measured. */
  get measured(): number {
    return [...this.#steps.values()].filter(({ sha256 }) => sha256 !== undefined).length
  }

  /** What is secured and not measured yet; final weights that a measured step has are no checkpoint of their own. */
  get secured(): readonly SecuredEvent[] {
    return [...this.#secured.values()].filter(({ step, adapterSha256 }) =>
      step === 'final'
        ? this.stepsOf(adapterSha256).length === 0
        : // It may have been measured from where it lay before it could be secured.
          this.sha256Of(step) !== adapterSha256,
    )
  }

  /** Steps that are known to have been there, ascending. */
  get seen(): number[] {
    return [...this.#seen].sort((a, b) => a - b)
  }

  /** The first step from this one on that was measured. */
  firstFrom(step: number): number | undefined {
    const known = [...this.#steps].flatMap(([at, { sha256 }]) =>
      sha256 !== undefined && at !== 'final' && at >= step ? [at] : [],
    )
    return known.length === 0 ? undefined : Math.min(...known)
  }

  sha256Of(step: Step): string | undefined {
    return this.#steps.get(step)?.sha256
  }

  known(step: Step): KnownCheckpoint | undefined {
    return this.#steps.get(step)?.files
  }

  /** Numbered steps that had these weights. */
  stepsOf(sha256: string): number[] {
    const steps = [...(this.#stepsBySha.get(sha256) ?? [])]
    return steps.filter((step) => typeof step === 'number').sort((a, b) => a - b)
  }

  /** A sentence when what was known before this step counts no more. */
  anew(step: Step): string[] {
    return this.#wentBack?.step === step ? [this.#wentBack.why] : []
  }

  /** A sentence when other steps had these weights: a frozen adapter, or a copy in place of a checkpoint. */
  sameWeights(step: Step, sha256: string): string[] {
    const same = [...(this.#stepsBySha.get(sha256) ?? [])].filter((other) => other !== step)
    return same.length === 0 ? [] : [`step ${step} has the same weights as step ${stepsText(same)}`]
  }

  /** Notes the files of weights that are known: they were only touched, or the checkpoint cannot be measured. */
  note(step: Step, files: KnownCheckpoint): void {
    const entry = this.#steps.get(step) ?? { sha256: undefined }
    this.#steps.set(step, { ...entry, files })
  }

  /** Where the alarm stands after all verdicts, in the order of their steps. */
  get alarm(): 'quiet' | 'standing' {
    return this.#alarmWith() ? 'standing' : 'quiet'
  }

  /** Where it stands once a step has this verdict too. */
  alarmAfter(step: Step, verdict: LatchInput): AlarmState {
    const before = this.#alarmWith()
    const after = this.#alarmWith({ step, verdict })
    if (after) return before ? 'standing' : 'raised'
    // In a run that went back the alarm went with its step, and nobody has been told.
    return before || this.#isToldOf ? 'cleared' : 'quiet'
  }

  #alarmWith(more?: { step: Step; verdict: LatchInput }): boolean {
    const verdicts = new Map<number, LatchInput>()
    for (const [step, { verdict }] of this.#steps) {
      if (verdict && (step === 'final' || this.#seen.has(step))) verdicts.set(stepOrder(step), verdict)
    }
    if (more) verdicts.set(stepOrder(more.step), more.verdict)
    let on = this.#standsFromBefore
    const latch = new AlarmLatch(on)
    for (const at of [...verdicts.keys()].sort((a, b) => a - b)) {
      const state = latch.next(verdicts.get(at)!)
      on = state === 'raised' || state === 'standing'
    }
    return on
  }

  #settle(step: Step, memory: StepMemory): void {
    const before = this.#steps.get(step)?.sha256
    if (before !== undefined) this.#stepsBySha.get(before)?.delete(step)
    this.#steps.set(step, memory)
    if (memory.sha256 === undefined) return
    const steps = this.#stepsBySha.get(memory.sha256) ?? new Set()
    this.#stepsBySha.set(memory.sha256, steps.add(step))
  }

  #release(step: Step, sha256: string): void {
    for (const [folder, one] of this.#secured) {
      if (one.step === step && one.adapterSha256 === sha256) this.#secured.delete(folder)
    }
  }

  /** Once: a checkpoint is told of when it is secured and when it is measured. */
  #beginAnew({ step, emptySince }: Pick<SecuredEvent, 'step' | 'emptySince'>): void {
    if (emptySince === undefined || emptySince === this.#emptySince) return
    this.#emptySince = emptySince
    this.#newest = undefined
    this.#goBack(
      step,
      0,
      `the folder was empty at ${emptySince}, so this may be another run: what was measured before counts no more for the alarm`,
    )
  }

  /**
   * A checkpoint that was written after one of a later step had been told of: the run went back, and what came after is not its
   * past. Files that lay there together have the times of whoever copied them, in any order.
   */
  #see(step: Step, { writtenAt, time }: { writtenAt?: string; time?: string } = {}): void {
    if (step === 'final') return
    const writtenMs = writtenAt === undefined ? undefined : writtenBy(writtenAt, time ?? writtenAt)
    if (writtenMs !== undefined && writtenMs > (this.#newest?.writtenMs ?? 0)) {
      const isEarlier = this.#newest !== undefined && step < this.#newest.step
      if (!isEarlier || writtenMs > this.#newest!.toldMs) {
        if (isEarlier) {
          const later = `step ${this.#newest!.step} had been told of when this was written: the run went back`
          this.#goBack(
            step,
            step,
            `${later}, and what was measured of later steps counts no more for the alarm`,
          )
        }
        this.#newest = { step, writtenMs, toldMs: Date.parse(this.lastEvent ?? '') }
      }
    }
    this.#seen.add(step)
  }

  /** Steps from one on are not the run's any more: their weights are known all the same, their verdicts are of another past. */
  #goBack(step: Step, from: number, why: string): void {
    this.#wentBack = { step, why }
    for (const later of this.#seen) if (later > from) this.#seen.delete(later)
    for (const [at, { sha256, files }] of this.#steps) {
      if (stepOrder(at) >= from) this.#steps.set(at, { sha256, ...(files && { files }) })
    }
  }

  /** What was measured under other conditions says nothing of these; what is secured is measured again. */
  #forget(): void {
    this.#steps.clear()
    this.#stepsBySha.clear()
    this.#standsFromBefore = false
    this.#raised = undefined
    this.#isToldOf = false
  }
}
