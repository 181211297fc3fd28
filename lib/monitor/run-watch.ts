import { join } from 'node:path'
import { asTraitscopeError, type TraitscopeError } from '../errors.js'
import type { CheckpointEvent, PromptsRead, WatchEvent } from '../events/watch-events.js'
import type { Step } from '../trajectory/trajectory.js'
import { Backoff, BaseChanged, failureOf } from './failures.js'
import {
  type Candidate,
  IN_PLACE,
  measureCandidate,
  named,
  type PassOptions,
  progressOf,
} from './measure-candidate.js'
import type { Measurer } from './measurer.js'
import { RunGaps } from './run-gaps.js'
import { RunJournal, type Tell } from './run-journal.js'
import { RunLook } from './run-look.js'
import { isStillThere, RunSecuring } from './run-securing.js'
import type { SecureMode } from './secured-files.js'
import type { Look, SeenCheckpoint } from './seen-checkpoint.js'
import { WaitingLine } from './waiting-line.js'

/** What all runs of a watch share. */
export interface RunWatchOptions {
  /** Where the run's state is kept; undefined for in memory only. */
  state: string | undefined
  secure: SecureMode
  adapterName?: string | undefined
  newestFirst: boolean
  once: boolean
  /** Milliseconds before a failure that may pass is tried again; doubles. */
  retryMs: number
  conditions: string
  tell: Tell
}

/** Watches one run: what is new in its folder, what waits to be measured, and what is remembered of it. */
export class RunWatch {
  readonly #look: RunLook
  readonly #securing: RunSecuring
  readonly #line: WaitingLine
  readonly #incomplete = new Map<number, string>()
  /** Steps that are gone and were told to be lost. */
  readonly #lost = new Set<Step>()
  readonly #lookBackoff: Backoff
  readonly #gaps: RunGaps
  #isFirst = true
  #finalAliasOf: number | undefined
  measured = 0
  #prompts: PromptsRead | undefined

  private constructor(
    readonly path: string,
    private readonly journal: RunJournal,
    private readonly options: RunWatchOptions,
  ) {
    const { state, secure, adapterName, newestFirst, retryMs } = options
    const { memory } = journal
    this.#securing = new RunSecuring(state && join(state, 'secured'), secure, journal)
    this.#gaps = new RunGaps(memory.seen, memory.lastEvent)
    this.#lookBackoff = new Backoff(retryMs)
    this.#line = new WaitingLine(retryMs)
    const known = (step: number) => memory.known(step)
    this.#look = new RunLook(path, { adapterName, newestFirst, known, retryMs })
  }

  /**
   * Takes up a run where the watch before this one left it.
   *
   * @throws TraitscopeError FILE_ACCESS when another watch has it, or the state cannot be written; FILE_INVALID for a damaged log
   */
  static async open(path: string, options: RunWatchOptions): Promise<RunWatch> {
    return new RunWatch(path, await RunJournal.open(path, options.state, options), options)
  }

  /** The first step from this one on that was measured before. */
  firstFrom(step: number): number | undefined {
    return this.journal.memory.firstFrom(step)
  }

  /** Those that may be measured now. */
  get candidates(): Candidate[] {
    return this.#line.ready
  }

  get backlog(): number {
    return this.#line.length
  }

  /** How many of those that wait are secured. */
  get securedBacklog(): number {
    return this.#line.secured
  }

  /** Says that step 0 is known, and takes over what was secured and not measured. */
  async begin(measurer: Measurer): Promise<void> {
    const { secured, resumed, isOfOthers, measured } = this.journal.memory
    const setAside = isOfOthers && measured > 0 ? { setAside: measured } : {}
    await this.journal.tell({ ...measurer.baseline, ...(resumed && { resumed }), ...setAside })
    await this.#securing.sweep(secured)
    for (const event of secured) {
      const found = await this.#securing.find(event)
      if (found) this.#line.add(found.seen, found.secured)
      else if (!(await isStillThere(event)))
        await this.#lose(
          event.step,
          'its files were secured and are gone from the state',
          event.adapterSha256,
        )
    }
  }

  /**
   * One look at the folder: says what is news, secures what is complete.
   *
   * @param runs how many are looked at by turns
   * @returns whether anything has changed, how much there is to read at once, and how many new checkpoints wait
   * @throws TraitscopeError ABORTED
   */
  async look(
    signal: AbortSignal,
    runs: number,
  ): Promise<{ changed: boolean; unread: number; found: number }> {
    const nothing = { changed: false, unread: 0, found: 0 }
    if (this.#lookBackoff.waits && !this.options.once) return nothing
    await this.journal.catchUp()
    let look: Look
    try {
      look = await this.#look.look(signal, runs)
    } catch (cause) {
      const error = asTraitscopeError(cause, `looking at ${this.path}`)
      if (signal.aborted) throw error
      if (error.code === 'FILE_VANISHED') return { ...nothing, changed: true }
      await this.journal.fail('look', error, this.#lookBackoff.failed())
      return nothing
    }
    this.#lookBackoff.succeeded()
    this.journal.isOver('error look')
    const before = this.#line.found
    await this.#tellOf(look)
    this.#isFirst = false
    return { changed: look.changed, unread: look.unread, found: this.#line.found - before }
  }

  async #tellOf(look: Look): Promise<void> {
    const { journal } = this
    if (look.waiting === undefined) journal.isOver('run')
    else if (journal.isNews('run', look.waiting))
      await journal.tell({ type: 'waiting', reason: look.waiting })
    if (look.zero && journal.isNews('zero', 'there')) {
      const reason = 'what is saved before the first step is the base itself, which is measured as step 0'
      await journal.tell({ type: 'skipped', step: 0, reason })
    }
    for (const step of look.gone) await this.#gone(step)
    this.#gaps.found(look.steps)
    for (const gap of this.#gaps.next(journal.memory, this.#look.facts)) await journal.tell(gap)
    for (const { step, reason } of look.incomplete) await this.#isIncomplete(step, reason)
    for (const { step, error } of look.unreadable) await journal.fail(step, error, this.options.retryMs)
    for (const seen of look.complete) await this.#take(seen)
  }

  async #isIncomplete(step: Step, reason: string): Promise<void> {
    if (typeof step === 'number') this.#incomplete.set(step, reason)
    this.#lost.delete(step)
    // How much of a file is there is no news.
    if (!this.journal.isNews(`wait ${step}`, reason.replaceAll(/\d+/g, '0'))) return
    await this.journal.tell({ type: 'waiting', step, reason })
  }

  async #take(seen: SeenCheckpoint): Promise<void> {
    const { step, fault } = seen
    const { journal } = this
    if (typeof step === 'number') this.#incomplete.delete(step)
    this.#lost.delete(step)
    journal.isOver(`wait ${step}`)
    if (step === 'final' && this.#mayBeLeftOver()) {
      const reason =
        'these weights were there before the watch and before any checkpoint: an earlier run may have left them; --once, or `traitscope measure`, takes them as they are'
      return journal.tell({ type: 'skipped', step, reason })
    }
    if (fault) return journal.fail(step, fault)
    const secured = await this.#securing.secure(seen)
    if (secured === undefined) {
      const before = this.#line.get(String(step))
      if (before && before !== this.#line.measuring && before.seen.stamp !== seen.stamp)
        await this.#lose(step, 'its files were written anew before its turn')
      return this.#line.add(seen, undefined)
    }
    const { folder, how, adapterSha256, bytes, files } = secured
    const isWaiting = this.#line.get(folder) !== undefined
    if (!isWaiting && journal.memory.sha256Of(step) === adapterSha256) {
      journal.memory.note(step, seen)
      return this.#securing.release(secured)
    }
    this.#line.add(seen, secured)
    if (isWaiting) return
    await journal.tell({
      ...{ type: 'secured', step, path: seen.path, adapterSha256, how, folder, bytes, files },
      ...progressOf(seen),
    })
  }

  #mayBeLeftOver(): boolean {
    return this.#isFirst && !this.options.once && this.journal.memory.isAtStart && !this.#look.hasSteps
  }

  /** A step's folder is no longer there. */
  async #gone(step: number): Promise<void> {
    const { journal } = this
    const reason = this.#incomplete.get(step)
    this.#incomplete.delete(step)
    journal.isOver(`wait ${step}`)
    this.#gaps.forget(step)
    const isTold = journal.isOver(`error ${step}`) || this.#lost.delete(step)
    const mine = this.#line.of(step)
    if (mine.some((one) => one === this.#line.measuring)) return
    const unsecured = mine.filter(({ secured }) => secured === undefined)
    for (const one of unsecured) this.#line.drop(one)
    if (unsecured.length > 0) return this.#lose(step, 'it disappeared before its turn')
    if (mine.length > 0 || isTold || journal.memory.sha256Of(step) !== undefined) return
    const when = reason === undefined ? 'read' : `complete: ${reason}`
    await this.#lose(step, `it disappeared before it was ${when}`)
  }

  /**
   * Measures a candidate, or says why it cannot be.
   *
   * @returns milliseconds that a pass took; undefined when there was none
   * @throws TraitscopeError ABORTED, {@link BaseChanged}, and what makes the watch end
   */
  async measure(candidate: Candidate, measurer: Measurer, options: PassOptions): Promise<number | undefined> {
    const { seen, secured } = candidate
    const { path: run, journal } = this
    this.#line.measuring = candidate
    try {
      const parts = { run, look: this.#look, memory: journal.memory, measurer }
      const { event, aliasOf } = await measureCandidate(candidate, parts, options)
      if (seen.step === 'final') this.#finalAliasOf = aliasOf
      if (event?.type === 'checkpoint') this.#count(event, measurer)
      journal.isOver(`error ${seen.step}`)
      if (event) await journal.tell(event)
      // Not before: until it is told, a look must know it as one that waits.
      this.#line.drop(candidate)
      await this.#securing.release(secured)
      return event?.type === 'checkpoint' ? event.milliseconds : undefined
    } catch (cause) {
      if (options.signal.aborted || cause instanceof BaseChanged) throw cause
      await this.#failed(candidate, named(asTraitscopeError(cause, `measuring ${seen.path}`), candidate))
      return undefined
    } finally {
      this.#line.measuring = undefined
      options.onProgress?.(seen.step, 1)
    }
  }

  #count({ settled }: CheckpointEvent, { settles, plan: { prompts } }: Measurer): void {
    this.measured++
    if (!settles) return
    const { read, of } = this.#prompts ?? { read: 0, of: 0 }
    this.#prompts = { read: read + (settled?.prompts ?? prompts.length), of: of + prompts.length }
  }

  async #failed(candidate: Candidate, error: TraitscopeError): Promise<void> {
    const { seen, secured, backoff } = candidate
    const { step } = seen
    const { journal } = this
    const failure = await failureOf(error, secured?.path ?? seen.path)
    if (failure === 'fatal') throw error
    if (failure === 'environment' && !this.options.once) {
      return journal.fail(step, error, backoff.failed())
    }
    this.#line.drop(candidate)
    await this.#securing.release(secured)
    if (failure === 'incomplete') {
      this.#look.forget(step)
      if (secured) return this.#lose(step, IN_PLACE, secured.adapterSha256)
      return this.#isIncomplete(step, error.message)
    }
    if (failure === 'gone') {
      // Somebody may have emptied the state: the trainer's own files are read again then.
      if (secured && (await isStillThere({ ...secured, path: seen.path }))) return this.#look.forget(step)
      return this.#lose(step, error.message, secured?.adapterSha256)
    }
    await journal.fail(step, error)
  }

  async #lose(step: Step, reason: string, adapterSha256?: string): Promise<void> {
    this.#lost.add(step)
    await this.journal.lose(step, reason, adapterSha256)
  }

  /** What there is to say at the end. */
  get summary() {
    return {
      measured: this.measured,
      lost: this.journal.lost,
      unfinished: [...new Set<Step>([...this.#incomplete.keys(), ...this.#line.steps])],
      ...(this.#prompts && { prompts: this.#prompts }),
      ...(this.#finalAliasOf === undefined ? {} : { finalAliasOf: this.#finalAliasOf }),
    }
  }

  tell(event: WatchEvent): Promise<void> {
    return this.journal.tell(event)
  }

  close(): Promise<void> {
    return this.journal.close()
  }
}
