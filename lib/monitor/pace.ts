import { median } from '../estimators/mean.js'
import type { FallingBehindEvent } from '../events/watch-events.js'

const LAST = 8
/** So few are no trend. */
const LEAST = 3

/** Whether checkpoints come faster than they are measured. */
export class Pace {
  readonly #between: number[] = []
  readonly #passes: number[] = []
  #arrivedMs: number | undefined
  #told = 0

  /** @param count of checkpoints that were found by one look at all runs */
  arrived(count: number): void {
    const now = performance.now()
    if (count > 0 && this.#arrivedMs !== undefined) add(this.#between, (now - this.#arrivedMs) / 1000 / count)
    if (count > 0) this.#arrivedMs = now
  }

  /** @returns what there is to say of it, when that is news */
  passed(
    seconds: number,
    { backlog, secured, secures }: { backlog: number; secured: number; secures: boolean },
  ): FallingBehindEvent | undefined {
    add(this.#passes, seconds)
    if (backlog <= 1) this.#told = 0
    if (this.#between.length < LEAST || this.#passes.length < LEAST || backlog < LEAST) return undefined
    const secondsBetween = median(this.#between)
    const secondsPerCheckpoint = median(this.#passes)
    if (secondsPerCheckpoint <= secondsBetween || backlog < 2 * this.#told) return undefined
    this.#told = backlog
    const late = Math.round(backlog * secondsPerCheckpoint)
    const kept =
      secured === backlog
        ? 'none of them can be lost'
        : secures
          ? `${backlog - secured} of them are not secured and are lost if the trainer removes them`
          : 'those that the trainer removes meanwhile are lost; --secure link keeps them'
    const advice = `a checkpoint comes every ${seconds3(secondsBetween)} s and takes ${seconds3(secondsPerCheckpoint)} s: the last of ${backlog} that wait has its verdict ${late} s late, and ${kept}; more --threads, a --device, one --layer, or saving less often helps`
    return { type: 'falling-behind', backlog, secondsBetween, secondsPerCheckpoint, secured, advice }
  }
}

const seconds3 = (seconds: number): string => Number(seconds.toPrecision(3)).toString()

function add(list: number[], value: number): void {
  list.push(value)
  if (list.length > LAST) list.shift()
}
