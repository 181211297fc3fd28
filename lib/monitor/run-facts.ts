import type { TraitscopeError } from '../errors.js'
import type { Checkpoint, CheckpointReading } from '../formats/run/checkpoint.js'
import { otherAdapter } from '../formats/run/run-folder.js'
import { RunLogs } from '../formats/run/run-logs.js'

const MOST_REMARKS = 20

/** What the checkpoints of a run, as they are read, tell of the run. */
export class RunFacts {
  #first: Checkpoint | undefined
  #hasModels = false
  readonly #logs = new RunLogs()
  #odd: string[] = []
  /** When the newest checkpoint was written, in milliseconds since 1970. */
  newestMs = 0
  saveSteps: number | undefined
  maxSteps: number | undefined

  learn({ checkpoint, log, saveSteps, maxSteps }: CheckpointReading, writtenMs = 0): void {
    if (!checkpoint.fault) this.#first ??= checkpoint
    if (checkpoint.kind === 'model') this.#hasModels = true
    this.newestMs = Math.max(this.newestMs, writtenMs)
    this.saveSteps = saveSteps ?? this.saveSteps
    this.maxSteps = maxSteps ?? this.maxSteps
    const remark = this.#logs.take(checkpoint, log)
    if (remark !== undefined && !this.#odd.includes(remark)) {
      this.#odd = [...this.#odd.slice(1 - MOST_REMARKS), remark]
    }
  }

  /** What seems left over from another run, in sentences. */
  get remarks(): readonly string[] {
    return this.#odd
  }

  /** A checkpoint of the kind that this run writes; none before one is known. */
  get like(): Checkpoint[] {
    if (this.#first === undefined) return []
    return [{ ...this.#first, kind: this.#hasModels ? ('model' as const) : this.#first.kind }]
  }

  /** Why a checkpoint is none of the run of the one that was read first. */
  otherAdapter(checkpoint: Checkpoint): TraitscopeError | undefined {
    return this.#first && otherAdapter(checkpoint, this.#first.adapterName)
  }
}
