import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Directions } from '../directions/directions.js'
import { asTraitscopeError, type TraitscopeError, throwIfAborted } from '../errors.js'
import { realRun, runState } from '../events/state-folder.js'
import type { EndEvent, EndReason, PromptsRead, WatchEvent } from '../events/watch-events.js'
import { defaultCacheDir } from '../formats/files/cache-dir.js'
import { sweepAbandoned } from '../formats/files/owner.js'
import type { Model } from '../model/model.js'
import { BaseFailures } from './base-failures.js'
import { Backoff, BaseChanged, firstRetryMs, whenMemoryAllows } from './failures.js'
import type { Candidate } from './measure-candidate.js'
import { ModelKeeper } from './model-keeper.js'
import { Pace } from './pace.js'
import type { Tell } from './run-journal.js'
import { isPattern, matchingRuns, refuseParent } from './run-patterns.js'
import { RunWatch } from './run-watch.js'
import { Turns } from './turns.js'
import type { WatchRunOptions } from './watch-options.js'

/** Before the next look, when there is more to read. */
const AT_ONCE_MS = 10

/** What the looks and the passes of a watch share: its runs, whose turn it is, and when it ends. */
export class WatchSession {
  readonly #runs = new Map<string, RunWatch>()
  /** Of runs that could not be taken up. */
  readonly #refused = new Map<string, Backoff>()
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #pace = new Pace()
  readonly #base: BaseFailures
  readonly #intervalMs: number
  readonly #newestFirst: boolean
  readonly #turns: Turns
  #keeper: ModelKeeper | undefined
  #end: EndReason | undefined
  #ownEnd: EndEvent | undefined
  #lookedAt = false
  #busy = false
  #changedMs = 0
  #wake: () => void = () => {}

  constructor(
    private readonly model: Model,
    private readonly directions: Directions,
    private readonly runDirs: readonly string[],
    private readonly options: WatchRunOptions,
    private readonly pass: Tell,
  ) {
    const { signal, intervalMs = 2000, once = false, order = once ? 'oldest' : 'newest' } = options
    this.#intervalMs = intervalMs
    this.#newestFirst = order === 'newest'
    this.#turns = new Turns({ newestFirst: this.#newestFirst, untilStep: options.untilStep })
    this.#base = new BaseFailures(this.#retryMs)
    this.#signal = AbortSignal.any([this.#stop.signal, ...(signal ? [signal] : [])])
  }

  get #retryMs(): number {
    return firstRetryMs(this.#intervalMs)
  }

  /** Ends the watch where it stands, without another event. */
  stop(): void {
    this.#finish('aborted')
  }

  /** @throws what is known before the first event, as `watchRuns` */
  async run(): Promise<void> {
    try {
      try {
        await this.#begin()
      } catch (error) {
        if (!this.options.signal?.aborted) throw error
      }
      if (!this.#signal.aborted)
        await Promise.all([this.#looks(), this.#passes()].map((loop) => this.#guard(loop)))
      await this.#tellEnd()
    } finally {
      await this.#close()
    }
  }

  /** A log that cannot be closed keeps no other one open, nor the model. */
  async #close(): Promise<void> {
    const closed = await Promise.allSettled([...this.#runs.values()].map((run) => run.close()))
    await this.#keeper?.close(this.model)
    for (const one of closed) if (one.status === 'rejected') throw one.reason
  }

  async #begin(): Promise<void> {
    const { cacheDir = defaultCacheDir(), once = false } = this.options
    for (const place of [tmpdir(), ...(cacheDir === false ? [] : [cacheDir])]) await sweepAbandoned(place)
    const before = async (conditions: string) => {
      // What is refused is refused before the work.
      const named = this.runDirs.filter((path) => !isPattern(path))
      for (const path of named) await refuseParent(path)
      for (const path of new Set(await Promise.all(named.map(realRun))))
        if (!this.#runs.has(path)) await this.#open(path, conditions)
    }
    const parts = { signal: this.#signal, before }
    const open = () => ModelKeeper.open(this.model, this.directions, this.options, parts)
    const wait = { firstMs: this.#retryMs, signal: this.#signal }
    const tell = (error: TraitscopeError, retryMs: number) =>
      this.#tell({ type: 'error', time: now(), error, retryMs })
    this.#keeper = await (once ? open() : whenMemoryAllows(open, wait, tell))
    for (const run of this.#runs.values()) await this.#beginRun(run)
    this.#changedMs = performance.now()
  }

  async #open(path: string, conditions: string): Promise<RunWatch> {
    const { stateDir, secure = 'link', adapterName, once = false } = this.options
    const state = stateDir === undefined ? undefined : await runState(stateDir, path)
    const run = await RunWatch.open(path, {
      ...{ state: state?.folder, secure, adapterName, once, conditions },
      ...{ newestFirst: this.#newestFirst, retryMs: this.#retryMs },
      tell: (event) => this.#tell(event),
    })
    this.#runs.set(path, run)
    this.#turns.add(run)
    return run
  }

  async #beginRun(run: RunWatch): Promise<void> {
    await run.begin(this.#keeper!.measurer)
    this.#turns.begin(run)
  }

  /** Runs that a pattern stands for, or a link leads to, since the last look; one that has several names counts once. */
  async #findRuns(): Promise<void> {
    let real: Promise<Set<string>> | undefined
    const isWatched = async (run: string) => {
      if (this.#runs.has(run)) return true
      // A run whose folder was not there when it was taken up may have become a link since.
      real ??= Promise.all([...this.#runs.keys()].map(realRun)).then((paths) => new Set(paths))
      return (await real).has(run)
    }
    for (const given of this.runDirs) {
      for (const path of await matchingRuns(given, isWatched)) {
        if (this.#refused.get(path)?.waits) continue
        try {
          const run = await this.#open(path, this.#keeper!.measurer.conditions)
          this.#refused.delete(path)
          await this.#beginRun(run)
        } catch (cause) {
          await this.#refuse(path, asTraitscopeError(cause, `taking up ${path}`))
        }
      }
    }
  }

  async #refuse(path: string, error: TraitscopeError): Promise<void> {
    const backoff = this.#refused.get(path) ?? new Backoff(this.#retryMs)
    const isNews = !this.#refused.has(path)
    const retryMs = backoff.failed()
    this.#refused.set(path, backoff)
    if (isNews) await this.#tell({ type: 'error', run: path, time: now(), error, retryMs })
  }

  /** Looks at all runs, again and again, whatever is being measured. */
  async #looks(): Promise<void> {
    for (;;) {
      await this.#findRuns()
      let unread = 0
      let found = 0
      let changed = false
      for (const run of this.#runs.values()) {
        const look = await run.look(this.#signal, this.#runs.size)
        unread += look.unread
        found += look.found
        // Who measures need not wait for the looks at all the others; with `once` turns are taken from the first checkpoint on.
        if (look.found > 0 && !this.options.once) this.#wake()
        changed ||= look.changed
      }
      if (this.#lookedAt) this.#pace.arrived(found)
      if (unread === 0) this.#lookedAt = true
      if (changed) this.#changedMs = performance.now()
      this.#wake()
      if (this.options.once && this.#lookedAt) return
      if (this.#isIdle()) return this.#finish('idle')
      if (!this.#busy && this.#turns.next() === undefined) await this.#keeper!.rest()
      const wait = unread > 0 ? Math.min(AT_ONCE_MS, this.#intervalMs) : this.#intervalMs
      await sleep(wait, undefined, { signal: this.#signal })
    }
  }

  /** Only a look that found nothing counts, so that a slow measurement is never taken for idleness. */
  #isIdle(): boolean {
    const { idleMs } = this.options
    const isReady = !this.#base.waits && this.#turns.next() !== undefined
    if (idleMs === undefined || this.#busy || isReady) return false
    return performance.now() - this.#changedMs >= idleMs
  }

  /** Measures what waits, one after the other. */
  async #passes(): Promise<void> {
    for (;;) {
      const next = this.#base.waits ? undefined : this.#turns.next()
      if (next === undefined) {
        if (this.#lookedAt && this.#turns.areOver) return this.#finish('until-step')
        if (this.options.once && this.#lookedAt) return this.#finish('once')
        await this.#woken()
        continue
      }
      this.#busy = true
      try {
        await this.#measure(next.run, next.candidate)
      } finally {
        this.#busy = false
      }
    }
  }

  async #measure(run: RunWatch, candidate: Candidate): Promise<void> {
    this.#turns.had(run)
    try {
      const keeper = this.#keeper!
      const orFails = <T>(use: () => Promise<T>) =>
        this.#base.orFails(use, { what: `using ${keeper.path}`, signal: this.#signal }, (error, retryMs) =>
          run.tell({ type: 'error', error, retryMs }),
        )
      const measurer = await (keeper.isOpen ? keeper.ready() : orFails(() => keeper.ready()))
      const milliseconds = await run.measure(candidate, measurer, {
        signal: this.#signal,
        backlog: () => this.#backlog,
        checkBase: () => orFails(() => keeper.checkBase()),
        onProgress: this.options.onProgress,
      })
      if (milliseconds === undefined) return
      const secures = this.options.stateDir !== undefined && this.options.secure !== 'off'
      const secured = [...this.#runs.values()].reduce((sum, one) => sum + one.securedBacklog, 0)
      const behind = this.#pace.passed(milliseconds / 1000, { backlog: this.#backlog, secured, secures })
      if (behind) await run.tell(behind)
    } catch (error) {
      if (!(error instanceof BaseChanged)) throw error
      if (this.options.once) this.#finish('failed')
    }
  }

  get #backlog(): number {
    return [...this.#runs.values()].reduce((sum, run) => sum + run.backlog, 0)
  }

  /** Passes an event on. Only who measures waits for the reader: looks go on meanwhile. */
  async #tell(event: WatchEvent): Promise<void> {
    if (event.type === 'end') {
      this.#ownEnd = event
      return
    }
    this.#changedMs = performance.now()
    const passed = this.pass(event)
    const { endOnAlarm = false } = this.options
    const { type } = event
    if (type === 'checkpoint' || type === 'error' || type === 'lost')
      this.#turns.settled(event.run!, event.step)
    if (type === 'checkpoint' || type === 'baseline') await passed
    // One that was raised under an earlier watch stands: nothing that comes would raise it again.
    const stands = type === 'baseline' && event.resumed?.alarm === 'standing'
    if (endOnAlarm && (stands || (type === 'checkpoint' && event.verdict?.verdict === 'alarm')))
      this.#finish('alarm')
  }

  /** Fulfilled by the next look. */
  async #woken(): Promise<void> {
    const wait = new AbortController()
    this.#wake = () => wait.abort()
    throwIfAborted(this.#signal)
    await once(AbortSignal.any([wait.signal, this.#signal]), 'abort')
  }

  #finish(reason: EndReason): void {
    this.#end ??= reason
    this.#stop.abort(new Error(reason))
  }

  /** A loop that cannot go on ends the watch; one that was stopped has ended. */
  async #guard(loop: Promise<void>): Promise<void> {
    try {
      await loop
    } catch (cause) {
      if (this.#signal.aborted) return
      const error = asTraitscopeError(cause, 'the watch')
      await this.#tell({ type: 'error', time: now(), error })
      this.#finish('failed')
    }
  }

  /** Every run's log has its own end; who watches gets one. */
  async #tellEnd(): Promise<void> {
    const reason = this.#end ?? 'aborted'
    const runs = [...this.#runs.values()]
    const isOne = runs.length === 1 && !this.runDirs.some(isPattern)
    for (const run of runs) await run.tell({ type: 'end', reason, ...run.summary })
    if (isOne && this.#ownEnd) return this.pass(this.#ownEnd)
    const summaries = runs.map(({ summary }) => summary)
    await this.pass({
      ...{ type: 'end', time: now(), reason },
      measured: summaries.reduce((sum, { measured }) => sum + measured, 0),
      lost: summaries.reduce((sum, { lost }) => sum + lost, 0),
      unfinished: summaries.flatMap(({ unfinished }) => unfinished),
      ...promptsOf(summaries.flatMap(({ prompts }) => prompts ?? [])),
    })
  }
}

const now = (): string => new Date().toISOString()

function promptsOf(each: readonly PromptsRead[]): { prompts?: PromptsRead } {
  if (each.length === 0) return {}
  const sum = (key: keyof PromptsRead) => each.reduce((total, one) => total + one[key], 0)
  return { prompts: { read: sum('read'), of: sum('of') } }
}
