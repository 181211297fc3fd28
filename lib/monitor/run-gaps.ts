import type { GapEvent } from '../events/watch-events.js'
import { gapsBefore, saveInterval } from './gaps.js'

/** Says which checkpoints of a run nobody has seen, each gap once, as soon as the trainer's save interval is known. */
export class RunGaps {
  /** Steps before which gaps were looked for. */
  readonly #placed: Set<number>
  #present: readonly number[] = []
  #atFirst: Set<number> | undefined
  readonly #began = new Date().toISOString()

  /**
   * @param seen steps that were seen before
   * @param lastEvent when the watch before this one told its last event; undefined when there was none
   */
  constructor(
    seen: readonly number[],
    private readonly lastEvent: string | undefined,
  ) {
    this.#placed = new Set(seen)
  }

  /** Steps that a look has found; undefined when they are those of the look before. */
  found(steps: readonly number[] | undefined): void {
    if (steps) this.#present = steps
    this.#atFirst ??= new Set(this.#present)
  }

  /** Gaps before a step that comes again are looked for again. */
  forget(step: number): void {
    this.#placed.delete(step)
    this.#atFirst?.delete(step)
  }

  /**
   * @param memory knows all steps that have been there
   * @param trainer the save interval and the last step, where the trainer's state says them
   */
  next(
    memory: { readonly seen: readonly number[] },
    { saveSteps, maxSteps }: { saveSteps: number | undefined; maxSteps: number | undefined },
  ): GapEvent[] {
    const fresh = this.#present.filter((step) => !this.#placed.has(step))
    if (fresh.length === 0) return []
    const known = [...new Set([...memory.seen, ...this.#present])].sort((a, b) => a - b)
    const every = saveInterval(known, saveSteps, maxSteps)
    if (every === undefined) return []
    for (const step of fresh) this.#placed.add(step)
    const isFirst = fresh.some((step) => this.#atFirst?.has(step))
    const reason = !isFirst
      ? 'they came and went between two looks: a shorter --interval sees more'
      : this.lastEvent === undefined
        ? `they were saved and removed before this watch began, at ${this.#began}`
        : `no watch of this run was there between ${this.lastEvent} and ${this.#began}`
    return gapsBefore(fresh, known, every).map((gap) => ({ type: 'gap', ...gap, reason }))
  }
}
