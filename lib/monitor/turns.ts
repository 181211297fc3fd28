import type { Step } from '../trajectory/trajectory.js'
import type { Candidate } from './measure-candidate.js'
import type { RunWatch } from './run-watch.js'

/** Whose turn it is: runs one after the other, of each the newest checkpoint or the oldest, and none behind the last step of interest. */
export class Turns {
  /** The one whose turn it is comes first. */
  #runs: RunWatch[] = []
  /** By run, the first step that was the last one of interest or a later one. */
  readonly #past = new Map<string, number>()

  constructor(private readonly options: { newestFirst: boolean; untilStep: number | undefined }) {}

  add(run: RunWatch): void {
    this.#runs.push(run)
  }

  /** A run that had its turn is the last one. */
  had(run: RunWatch): void {
    this.#runs = [...this.#runs.filter((one) => one !== run), run]
  }

  /** A run takes up what an earlier watch has left. */
  begin(run: RunWatch): void {
    const { untilStep } = this.options
    const known = untilStep === undefined ? undefined : run.firstFrom(untilStep)
    if (known !== undefined) this.#past.set(run.path, known)
  }

  /** A step is measured, or will not be. */
  settled(run: string, step: Step | undefined): void {
    const { untilStep } = this.options
    if (untilStep === undefined || typeof step !== 'number' || step < untilStep) return
    this.#past.set(run, Math.min(step, this.#past.get(run) ?? step))
  }

  /** Whether all runs have come to the last step of interest. */
  get areOver(): boolean {
    return this.#past.size > 0 && this.#past.size >= this.#runs.length
  }

  /** Of the run whose turn it is, the newest or the oldest; the final weights last. */
  next(): { run: RunWatch; candidate: Candidate } | undefined {
    const sign = this.options.newestFirst ? -1 : 1
    const order = (step: Step) => (step === 'final' ? Number.POSITIVE_INFINITY : sign * step)
    for (const run of this.#runs) {
      const last = this.#lastOf(run)
      const [candidate] = run.candidates
        .filter(({ seen: { step } }) => (step === 'final' ? !this.#past.has(run.path) : step <= last))
        .sort((a, b) => order(a.seen.step) - order(b.seen.step))
      if (candidate) return { run, candidate }
    }
    return undefined
  }

  /** The step behind which nothing is looked at. */
  #lastOf(run: RunWatch): number {
    const { untilStep } = this.options
    if (untilStep === undefined) return Number.POSITIVE_INFINITY
    const past = run.candidates.flatMap(({ seen }) =>
      seen.step !== 'final' && seen.step >= untilStep ? [seen.step] : [],
    )
    return Math.min(...past, this.#past.get(run.path) ?? Number.POSITIVE_INFINITY)
  }
}
