import type { Step } from '../trajectory/trajectory.js'
import { Backoff } from './failures.js'
import type { Candidate } from './measure-candidate.js'
import type { Secured } from './secured-files.js'
import type { SeenCheckpoint } from './seen-checkpoint.js'

/** The checkpoints of a run that wait to be measured, and the one that is being measured. */
export class WaitingLine {
  /** By the folder where they are secured, else by their step. */
  readonly #waiting = new Map<string, Candidate>()
  /** The one that is being measured. */
  measuring: Candidate | undefined
  /** How many have come. */
  found = 0

  constructor(private readonly retryMs: number) {}

  /** Those that may be measured now. */
  get ready(): Candidate[] {
    return [...this.#waiting.values()].filter((one) => one !== this.measuring && !one.backoff.waits)
  }

  get length(): number {
    return this.#waiting.size - Number(this.measuring !== undefined)
  }

  get steps(): Step[] {
    return [...this.#waiting.values()].map(({ seen }) => seen.step)
  }

  /** How many of those that wait are secured. */
  get secured(): number {
    return [...this.#waiting.values()].filter(({ secured }) => secured !== undefined).length
  }

  /** One that waits, by the name of its secured folder or by its step. */
  get(key: string): Candidate | undefined {
    return this.#waiting.get(key)
  }

  of(step: Step): Candidate[] {
    return [...this.#waiting.values()].filter(({ seen }) => seen.step === step)
  }

  add(seen: SeenCheckpoint, secured: Secured | undefined): void {
    const key = secured?.folder ?? String(seen.step)
    const before = this.#waiting.get(key)
    if (before !== undefined && before === this.measuring) return
    if (before === undefined) this.found++
    const backoff = before?.backoff ?? new Backoff(this.retryMs)
    this.#waiting.set(key, { seen, secured, backoff })
  }

  drop(candidate: Candidate): void {
    for (const [key, one] of this.#waiting) if (one === candidate) this.#waiting.delete(key)
  }
}
