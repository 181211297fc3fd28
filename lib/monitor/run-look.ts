import type { Dirent } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isTraitscopeError, throwIfAborted } from '../errors.js'
import { isTensorFile } from '../formats/peft/peft.js'
import { type Checkpoint, readCheckpointFolder } from '../formats/run/checkpoint.js'
import { weightsStamp } from '../formats/run/checkpoint-folder.js'
import { findFinal } from '../formats/run/final-weights.js'
import { listRuns, type NestedRun, nestedRuns } from '../formats/run/nested-runs.js'
import { checkpointStep, isStepZero, type StepFolder, stepFolders } from '../formats/run/step-folders.js'
import { readTrainerState, TRAINER_STATE } from '../formats/run/trainer-state.js'
import type { Step } from '../trajectory/trajectory.js'
import { Backoff } from './failures.js'
import { FolderListing } from './folder-listing.js'
import { RunFacts } from './run-facts.js'
import type { KnownCheckpoint, Look, SeenCheckpoint } from './seen-checkpoint.js'
import { whatIsAt } from './what-is-at.js'

interface Entry extends StepFolder {
  state: 'unread' | 'incomplete' | 'complete' | 'unreadable'
  /** What the last reading told, by which a change is seen. */
  detail: string
  weights?: KnownCheckpoint
  /** When one that cannot be read is tried again. */
  backoff: Backoff
}

/** Folders that are read at one look; measured ones that are looked at again, the newest and others: shared by all runs of a watch. */
const READS = 64
const NEWEST = 32
const AGAIN = 100
const CONCURRENCY = 8

/**
 * Looks at a run's folder again and again, without changing anything in it. What a look costs does not grow with the checkpoints
 * that have been seen: the folder is listed when its time says so, new checkpoints are read, of the others the newest are
 * looked at every time and the rest in turn.
 */
export class RunLook {
  readonly #entries = new Map<number, Entry>()
  /** The newest first. */
  #sorted: Entry[] = []
  #others: Dirent[] = []
  #beside: NestedRun[] = []
  #turn = 0
  #zero = false
  #finalStamp: string | undefined
  /** When the last checkpoint had gone, until another is read. */
  #emptySince: string | undefined
  /** What the checkpoints tell of the run. */
  #facts = new RunFacts()
  readonly #listing: FolderListing

  /**
   * @param known what is known of a step from before this look began, such as by an earlier watch
   */
  constructor(
    readonly path: string,
    private readonly options: {
      adapterName?: string | undefined
      newestFirst: boolean
      known: (step: number) => KnownCheckpoint | undefined
      /** Milliseconds before what could not be read is tried again; doubles. */
      retryMs: number
    },
  ) {
    this.#listing = new FolderListing(path)
  }

  /** What of the folder is not measured, and what seems left over from another run, in sentences. */
  get remarks(): string[] {
    const unused = this.#beside.length > 0 && !this.isEmpty
    return [
      ...(unused ? [`not measured, since it is no part of this run: ${listRuns(this.#beside)}`] : []),
      ...this.facts.remarks,
    ]
  }

  /** What its checkpoints tell of the run. */
  get facts(): RunFacts {
    return this.#facts
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0 && this.#finalStamp === undefined
  }

  /** Whether there are checkpoints, complete or not. */
  get hasSteps(): boolean {
    return this.#entries.size > 0
  }

  /** Reads a checkpoint again at the next look, whatever its stamp says. */
  forget(step: Step): void {
    const entry = typeof step === 'number' ? this.#entries.get(step) : undefined
    if (entry) entry.state = 'unread'
    if (step === 'final') this.#finalStamp = undefined
  }

  /**
   * @param runs how many are looked at by turns
   * @throws TraitscopeError FILE_NOT_FOUND, FILE_ACCESS, AMBIGUOUS of the run's folder; ABORTED
   */
  async look(signal?: AbortSignal, runs = 1): Promise<Look> {
    const look: Look = {
      complete: [],
      incomplete: [],
      unreadable: [],
      gone: [],
      zero: this.#zero,
      changed: false,
      unread: 0,
    }
    if (!(await this.#list(look))) return look
    await this.#readSome(look, this.#chosen(runs), signal)
    this.#markAnew(look)
    await this.#lookAtFinal(look)
    look.zero = this.#zero
    look.unread = this.#sorted.filter(({ state }) => state === 'unread').length
    if (this.isEmpty) {
      const beside = this.#beside.length === 0 ? '' : listRuns(this.#beside)
      look.waiting = `there is no checkpoint yet${beside === '' ? '' : `; not measured, since it is no part of this run: ${beside}`}`
    }
    if (look.complete.length + look.gone.length + look.unread > 0) look.changed = true
    return look
  }

  /** False when there is no folder. */
  async #list(look: Look): Promise<boolean> {
    const found = await this.#listing.next()
    if (found === 'same') return true
    if (found === 'absent') {
      look.waiting = this.#listing.wasThere ? 'the run folder is gone' : 'the run folder does not exist yet'
      this.#replace([], look)
      this.#finalStamp = undefined
      return false
    }
    const { entries, isOther } = found
    const own = checkpointStep(basename(this.path))
    const steps = stepFolders(this.path, entries)
    const isOne = own !== undefined && steps.length === 0
    this.#replace(isOne ? [{ path: this.path, step: own }] : steps, look)
    this.#others = isOne ? [] : entries.filter(({ name }) => checkpointStep(name) === undefined)
    this.#zero = this.#others.some(({ name }) => isStepZero(name))
    if (isOther)
      this.#beside = isOne ? [] : await nestedRuns(this.path, this.#entries.size > 0 ? 1 : undefined)
    return true
  }

  #replace(folders: readonly StepFolder[], look: Look): void {
    const present = new Set(folders.map(({ step }) => step))
    for (const step of this.#entries.keys()) {
      if (present.has(step)) continue
      this.#entries.delete(step)
      look.gone.push(step)
    }
    // Of none that is left there may be another run's next.
    if (present.size === 0 && look.gone.length > 0) {
      this.#facts = new RunFacts()
      this.#emptySince = new Date().toISOString()
    }
    let added = false
    for (const { step, path } of folders) {
      const known = this.#entries.get(step)
      if (known?.path === path) continue
      added = true
      this.#entries.set(step, {
        ...{ step, path, state: 'unread', detail: '' },
        backoff: new Backoff(this.options.retryMs),
      })
    }
    if (!added && look.gone.length === 0) return
    look.steps = [...present]
    this.#sorted = [...this.#entries.values()].sort((a, b) => b.step - a.step)
  }

  /** New ones, those that are being written, the newest, and some of the rest. */
  #chosen(runs: number): Entry[] {
    const newest = Math.ceil(NEWEST / runs)
    const turn = Math.ceil(AGAIN / runs)
    const unread: Entry[] = []
    const due: Entry[] = []
    const settled: Entry[] = []
    for (const entry of this.#sorted) {
      if (entry.state === 'unread') unread.push(entry)
      else if (entry.state === 'complete') settled.push(entry)
      else if (!entry.backoff.waits) due.push(entry)
    }
    if (!this.options.newestFirst) unread.reverse()
    const rest = settled.length - newest
    const from = rest <= 0 ? 0 : this.#turn % rest
    this.#turn = from + turn
    const again = Array.from(
      { length: Math.max(0, Math.min(turn, rest)) },
      (_, i) => settled[newest + ((from + i) % rest)]!,
    )
    return [...unread.slice(0, READS), ...due.slice(0, READS), ...settled.slice(0, newest), ...again]
  }

  async #readSome(look: Look, chosen: readonly Entry[], signal: AbortSignal | undefined): Promise<void> {
    let next = 0
    const worker = async () => {
      while (next < chosen.length) {
        throwIfAborted(signal)
        await this.#check(chosen[next++]!, look)
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, worker))
    look.complete.sort((a, b) => Number(a.step) - Number(b.step))
    look.incomplete.sort((a, b) => a.step - b.step)
  }

  /** Once the folder was empty, what comes is another run's, unless some of it is known: then it was only moved away. */
  #markAnew({ complete }: Look): void {
    if (this.#emptySince === undefined) return
    const whole = this.#sorted.filter(({ state }) => state === 'complete').length
    if (whole === 0) return
    if (whole === complete.length) for (const one of complete) one.emptySince = this.#emptySince
    this.#emptySince = undefined
  }

  async #check(entry: Entry, look: Look): Promise<void> {
    const before = entry.weights ?? this.options.known(entry.step)
    if (before && (entry.state === 'complete' || entry.state === 'unread')) {
      const { text } = await weightsStamp(before.path, before.kind)
      const forgotten = entry.state === 'unread' && entry.weights !== undefined
      if (text === before.stamp && !forgotten) {
        entry.state = 'complete'
        entry.weights = before
        return
      }
    }
    await this.#read(entry, look)
  }

  async #read(entry: Entry, look: Look): Promise<void> {
    try {
      const reading = await readCheckpointFolder(entry, { adapterName: this.options.adapterName })
      const { checkpoint } = reading
      if (checkpoint.state === 'incomplete') {
        const reason = checkpoint.reason ?? 'it is still being written'
        this.#settle(entry, 'incomplete', `${checkpoint.stamp} ${reason}`, look)
        look.incomplete.push({ step: entry.step, reason })
        return
      }
      // What waiting may mend is tried again; any other fault stays until the files change.
      if (checkpoint.fault?.code === 'FILE_ACCESS') throw checkpoint.fault
      const { text, writtenMs } = await weightsStamp(checkpoint.path, checkpoint.kind)
      this.facts.learn(reading, writtenMs)
      entry.weights = { path: checkpoint.path, kind: checkpoint.kind, stamp: text }
      this.#settle(entry, 'complete', text, look)
      look.complete.push(this.#seen(checkpoint, text, writtenMs))
    } catch (error) {
      const isGone = isTraitscopeError(error, 'FILE_VANISHED')
      const found = (await whatIsAt(entry.path)) ?? (isGone ? undefined : error)
      if (found === undefined) return // its name goes with the next listing
      if (!isTraitscopeError(found)) throw found
      look.unreadable.push({ step: entry.step, error: found })
      this.#settle(entry, 'unreadable', found.message, look)
    }
  }

  #settle(entry: Entry, state: Entry['state'], detail: string, look: Look): void {
    if (entry.detail !== detail) look.changed = true
    if (state === 'unreadable') entry.backoff.failed()
    else entry.backoff.succeeded()
    entry.state = state
    entry.detail = detail
  }

  #seen(checkpoint: Checkpoint, stamp: string, writtenMs: number | undefined): SeenCheckpoint {
    const { step, folder, path, kind, epoch, loss, learningRate } = checkpoint
    const fault = checkpoint.fault ?? this.facts.otherAdapter(checkpoint)
    return {
      ...{ step, folder, path, kind, stamp },
      ...(writtenMs === undefined ? {} : { writtenMs }),
      ...(fault && { fault }),
      ...(epoch === undefined ? {} : { epoch }),
      ...(loss === undefined ? {} : { loss }),
      ...(learningRate === undefined ? {} : { learningRate }),
    }
  }

  /** Final weights that are new or have changed. */
  async #lookAtFinal(look: Look): Promise<void> {
    const found =
      this.#others.length === 0
        ? undefined
        : await findFinal(this.path, this.#others, this.facts.like, this.options.adapterName)
    if (found === undefined) {
      this.#finalStamp = undefined
      return
    }
    const { text, writtenMs } = await weightsStamp(found.path, found.kind)
    if (text === this.#finalStamp) return
    this.#finalStamp = text
    this.#beside = this.#beside.filter(({ path }) => join(this.path, path) !== found.path)
    look.complete.push({
      ...{ step: 'final', folder: isTensorFile(found.path) ? dirname(found.path) : found.path },
      ...{ path: found.path, kind: found.kind, stamp: text },
      ...(writtenMs === undefined ? {} : { writtenMs }),
    })
  }

  /** Whether final weights are older than the run's checkpoints: by the step that its own state names, else by the times of the files. */
  async isStale(final: SeenCheckpoint): Promise<boolean> {
    const last = Math.max(0, ...this.#entries.keys())
    if (last === 0) return false
    const state = await readTrainerState(join(this.path, TRAINER_STATE)).catch(() => undefined)
    if (state?.globalStep !== undefined) return state.globalStep < last
    return final.writtenMs !== undefined && final.writtenMs < this.facts.newestMs
  }
}
