import type { Checkpoint } from './checkpoint.js'
import { contradiction, otherLog } from './leftovers.js'
import type { LogEntry } from './trainer-state.js'

/**
 * The logs of a run's checkpoints, of which only the longest is kept: each holds every line since the beginning, and a long run
 * has thousands of them.
 */
export class RunLogs {
  #longest: readonly LogEntry[] = []

  /** @param known one that is known already, such as that of the run's root */
  constructor(known?: readonly LogEntry[]) {
    this.keep(known)
  }

  /** The last of the longest by final step: a later log of a resumed run replaces an earlier one. */
  get longest(): readonly LogEntry[] {
    return this.#longest
  }

  /** Takes the log of a checkpoint. @returns a remark where it is another run's than the longest one so far */
  take(checkpoint: Checkpoint, log: readonly LogEntry[] | undefined): string | undefined {
    const step = log && contradiction(log, this.#longest)
    this.keep(log)
    return step === undefined ? undefined : otherLog(checkpoint, step)
  }

  keep(log: readonly LogEntry[] | undefined): void {
    if (log && (log.at(-1)?.step ?? -1) > (this.#longest.at(-1)?.step ?? -1)) this.#longest = log
  }
}
