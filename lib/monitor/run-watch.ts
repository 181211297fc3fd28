import { basename, join } from 'node:path'
import { asTraitscopeError, TraitscopeError } from '../errors.js'
import type { WatchEvent } from '../events/watch-events.js'
import { isTensorFile } from '../formats/peft/peft.js'
import type { Step } from '../trajectory/trajectory.js'
import { Backoff, failureOf } from './failures.js'
import { gapsBefore, saveInterval } from './gaps.js'
import {
  type Candidate,
  IN_PLACE,
  measureCandidate,
  type PassOptions,
  progressOf,
} from './measure-candidate.js'
import type { Measurer } from './measurer.js'
import { RunJournal, type Tell } from './run-journal.js'
import { type Look, RunLook, type SeenCheckpoint } from './run-look.js'
import { type Secured, SecuredFiles, type SecureMode } from './secured-files.js'

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
  readonly #files: SecuredFiles | undefined
  readonly #pending = new Map<string, Candidate>()
  readonly #incomplete = new Map<number, string>()
  /** Steps that are gone and were told to be lost. */
  readonly #lost = new Set<Step>()
  readonly #lookBackoff: Backoff
  readonly #began: string | undefined
  #present: readonly number[] = []
  #presentAtFirst: ReadonlySet<number> = new Set()
  /** Steps before which gaps were looked for. */
  readonly #placed: Set<number>
  #measuring: Candidate | undefined
  #isFirst = true
  #found = 0
  #finalAliasOf: number | undefined
  measured = 0

  private constructor(
    readonly path: string,
    private readonly journal: RunJournal,
    private readonly options: RunWatchOptions,
  ) {
    const { state, secure, adapterName, newestFirst, retryMs } = options
    const { memory } = journal
    if (state !== undefined && secure !== 'off')
      this.#files = new SecuredFiles(join(state, 'secured'), secure)
    this.#began = memory.lastEvent
    this.#placed = new Set(memory.seen)
    this.#lookBackoff = new Backoff(retryMs)
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

  /** Where the alarm of the run stands. */
  get alarm(): 'quiet' | 'standing' {
    return this.journal.memory.alarm
  }

  /** The first step from this one on that was measured before. */
  firstFrom(step: number): number | undefined {
    return this.journal.memory.firstFrom(step)
  }

  /** Those that may be measured now. */
  get candidates(): Candidate[] {
    return [...this.#pending.values()].filter((one) => one !== this.#measuring && !one.backoff.waits)
  }

  get backlog(): number {
    return this.#pending.size - Number(this.#measuring !== undefined)
  }

  /** How many of those that wait are secured. */
  get securedBacklog(): number {
    return [...this.#pending.values()].filter(({ secured }) => secured !== undefined).length
  }

  /** Says that step 0 is known, and takes over what was secured and not measured. */
  async begin(measurer: Measurer): Promise<void> {
    const { lastEvent, measured, secured, alarm, isOfOthers } = this.journal.memory
    const resumed =
      isOfOthers || lastEvent === undefined
        ? undefined
        : { lastEvent, measured, secured: secured.length, alarm }
    await this.journal.tell({ ...measurer.baseline, ...(resumed && { resumed }) })
    await this.#files?.sweep(new Set(secured.map(({ folder }) => folder)))
    for (const event of secured) {
      const { step, path, folder, how, bytes, adapterSha256, files, epoch, loss, writtenAt } = event
      const at = await this.#files?.find(event, isTensorFile(path) ? basename(path) : undefined)
      if (at === undefined) {
        await this.#lose(step, 'its files were secured and are gone from the state', adapterSha256)
        continue
      }
      const seen: SeenCheckpoint = {
        ...{ step, path, folder: path, kind: 'adapter', stamp: '' },
        ...(epoch === undefined ? {} : { epoch }),
        ...(loss === undefined || loss === null ? {} : { loss }),
        ...(writtenAt === undefined ? {} : { writtenMs: Date.parse(writtenAt) }),
      }
      this.#wait(seen, { folder, path: at, how, bytes, adapterSha256, files: [...files] })
    }
  }

  /**
   * One look at the folder: says what is news, secures what is complete.
   *
   * @returns whether anything has changed, how much there is to read at once, and how many new checkpoints wait
   * @throws TraitscopeError ABORTED
   */
  async look(signal: AbortSignal): Promise<{ changed: boolean; unread: number; found: number }> {
    const nothing = { changed: false, unread: 0, found: 0 }
    if (this.#lookBackoff.waits && !this.options.once) return nothing
    await this.journal.catchUp()
    let look: Look
    try {
      look = await this.#look.look(signal)
    } catch (cause) {
      const error = asTraitscopeError(cause, `looking at ${this.path}`)
      if (signal.aborted) throw error
      if (error.code === 'FILE_VANISHED') return { ...nothing, changed: true }
      await this.journal.fail('look', error, this.#lookBackoff.failed())
      return nothing
    }
    this.#lookBackoff.succeeded()
    this.journal.isOver('error look')
    const before = this.#found
    await this.#tellOf(look)
    this.#isFirst = false
    return { changed: look.changed, unread: look.unread, found: this.#found - before }
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
    if (look.steps) this.#present = look.steps
    if (this.#isFirst) this.#presentAtFirst = new Set(this.#present)
    await this.#tellGaps()
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

  /** Steps between those that are known, by the trainer's save interval; as soon as that is known. */
  async #tellGaps(): Promise<void> {
    const fresh = this.#present.filter((step) => !this.#placed.has(step))
    if (fresh.length === 0) return
    const known = [...new Set([...this.journal.memory.seen, ...this.#present])].sort((a, b) => a - b)
    const every = saveInterval(known, this.#look.saveSteps, this.#look.maxSteps)
    if (every === undefined) return
    for (const step of fresh) this.#placed.add(step)
    const now = new Date().toISOString()
    const isFirst = fresh.some((step) => this.#presentAtFirst.has(step))
    const reason = !isFirst
      ? 'they came and went between two looks: a shorter --interval sees more'
      : this.#began === undefined
        ? `they were saved and removed before this watch began, at ${now}`
        : `no watch of this run was there between ${this.#began} and ${now}`
    for (const gap of gapsBefore(fresh, known, every))
      await this.journal.tell({ type: 'gap', ...gap, reason })
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
    const secured = await this.#secure(seen)
    if (secured === undefined) {
      const before = this.#pending.get(String(step))
      if (before && before !== this.#measuring && before.seen.stamp !== seen.stamp)
        await this.#lose(step, 'its files were written anew before its turn')
      return this.#wait(seen, undefined)
    }
    const { folder, how, adapterSha256, bytes, files } = secured
    const isWaiting = this.#pending.has(folder)
    if (!isWaiting && journal.memory.sha256Of(step) === adapterSha256) {
      journal.memory.note(step, seen)
      return this.#files!.release(secured)
    }
    this.#wait(seen, secured)
    if (isWaiting) return
    await journal.tell({
      ...{ type: 'secured', step, path: seen.path, adapterSha256, how, folder, bytes, files },
      ...progressOf(seen),
    })
  }

  #mayBeLeftOver(): boolean {
    return this.#isFirst && !this.options.once && this.journal.memory.isAtStart && !this.#look.hasSteps
  }

  async #secure(seen: SeenCheckpoint): Promise<Secured | undefined> {
    try {
      const secured = await this.#files?.secure(seen)
      this.journal.isOver('error secure')
      return secured
    } catch (cause) {
      const error = asTraitscopeError(cause, `securing ${seen.path}`)
      // Everything else is said when it is measured from where it lies.
      if (error.code === 'FILE_ACCESS') {
        const why = `step ${seen.step} cannot be secured and is measured from where it lies: ${error.message}`
        await this.journal.fail('secure', new TraitscopeError(error.code, why, { cause }))
      }
      return undefined
    }
  }

  #wait(seen: SeenCheckpoint, secured: Secured | undefined): void {
    const key = secured?.folder ?? String(seen.step)
    const before = this.#pending.get(key)
    if (before !== undefined && before === this.#measuring) return
    if (before === undefined) this.#found++
    const backoff = before?.backoff ?? new Backoff(this.options.retryMs)
    this.#pending.set(key, { seen, secured, backoff })
  }

  /** A step's folder is no longer there. */
  async #gone(step: number): Promise<void> {
    const { journal } = this
    const reason = this.#incomplete.get(step)
    this.#incomplete.delete(step)
    journal.isOver(`wait ${step}`)
    this.#placed.delete(step)
    const isTold = journal.isOver(`error ${step}`) || this.#lost.delete(step)
    const mine = [...this.#pending].filter(([, { seen }]) => seen.step === step)
    if (mine.some(([, one]) => one === this.#measuring)) return
    const unsecured = mine.filter(([, { secured }]) => secured === undefined)
    for (const [key] of unsecured) this.#pending.delete(key)
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
    this.#measuring = candidate
    try {
      const parts = { run, look: this.#look, memory: journal.memory, measurer }
      const { event, aliasOf } = await measureCandidate(candidate, parts, options)
      if (seen.step === 'final') this.#finalAliasOf = aliasOf
      if (event?.type === 'checkpoint') this.measured++
      journal.isOver(`error ${seen.step}`)
      if (event) await journal.tell(event)
      // Not before: until it is told, a look must know it as one that waits.
      this.#drop(candidate)
      if (secured) await this.#files!.release(secured)
      return event?.type === 'checkpoint' ? event.milliseconds : undefined
    } catch (cause) {
      if (options.signal.aborted || cause instanceof BaseChanged) throw cause
      await this.#failed(candidate, named(asTraitscopeError(cause, `measuring ${seen.path}`), candidate))
      return undefined
    } finally {
      this.#measuring = undefined
      options.onProgress?.(seen.step, 1)
    }
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
    this.#drop(candidate)
    if (secured) await this.#files!.release(secured)
    if (failure === 'incomplete') {
      this.#look.forget(step)
      if (secured) return this.#lose(step, IN_PLACE, secured.adapterSha256)
      return this.#isIncomplete(step, error.message)
    }
    if (failure === 'gone') return this.#lose(step, error.message, secured?.adapterSha256)
    await journal.fail(step, error)
  }

  async #lose(step: Step, reason: string, adapterSha256?: string): Promise<void> {
    this.#lost.add(step)
    await this.journal.lose(step, reason, adapterSha256)
  }

  #drop(candidate: Candidate): void {
    for (const [key, one] of this.#pending) if (one === candidate) this.#pending.delete(key)
  }

  /** What there is to say at the end. */
  get summary() {
    const pending = [...this.#pending.values()].map(({ seen }) => seen.step)
    return {
      measured: this.measured,
      lost: this.journal.lost,
      unfinished: [...new Set<Step>([...this.#incomplete.keys(), ...pending])],
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

/** The base's file is another one than was opened: no checkpoint's fault. */
export class BaseChanged extends Error {
  constructor(override readonly cause: TraitscopeError) {
    super(cause.message)
  }
}

/** With the trainer's path in place of ours. */
function named(error: TraitscopeError, { seen, secured }: Candidate): TraitscopeError {
  if (secured === undefined || !error.message.includes(secured.path)) return error
  return new TraitscopeError(error.code, error.message.replaceAll(secured.path, seen.path), { cause: error })
}
