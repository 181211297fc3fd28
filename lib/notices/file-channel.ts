import { writeFileAtomic } from '../formats/files/atomic.js'
import { type Channel, Undelivered } from './channel.js'
import type { Notice } from './notice.js'

/**
 * Writes the notice into a file whose presence a trainer takes as a request: to stop, or to save a checkpoint now. It is
 * never removed: whoever acts on it does that, and an earlier request is never taken back.
 */
export class FileChannel implements Channel {
  readonly name: string
  /** A disk that is full for a quarter of an hour is no reason to let a training go on. */
  readonly tries = 10
  /** Runs of which a request could not be written. */
  readonly #owed = new Set<string>()

  /**
   * @param pathOf where it goes, by the run that a notice is about; undefined for nowhere
   * @param what for people, e.g. `stop file`
   * @param kinds that are such a request; a run whose checkpoints cannot be read is no reason to stop it
   */
  constructor(
    private readonly pathOf: (run: string) => Promise<string | undefined>,
    what: string,
    private readonly kinds: readonly Notice['kind'][],
  ) {
    this.name = what
  }

  accepts({ kind, run, repeated, heldBack }: Notice): boolean {
    // A request that was acted on is not made again; one that never was is.
    return this.kinds.includes(kind) && ((!repeated && !heldBack) || this.#owed.has(run))
  }

  requests({ kind }: Notice): boolean {
    return this.kinds.includes(kind)
  }

  async send(notice: Notice): Promise<void> {
    const path = await this.pathOf(notice.run)
    if (path === undefined) return
    this.#owed.add(notice.run)
    try {
      await writeFileAtomic(path, `${JSON.stringify(notice)}\n`, { force: true })
      this.#owed.delete(notice.run)
    } catch (error) {
      throw new Undelivered((error as Error).message)
    }
  }
}
