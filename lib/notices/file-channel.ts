import { writeFileAtomic } from '../formats/files/atomic.js'
import { type Channel, Undelivered } from './channel.js'
import type { Notice } from './notice.js'

/**
 * Writes the notice into a file whose presence a trainer takes as a request: to stop, or to save a checkpoint now. It is
 * never removed: whoever acts on it does that, and an earlier request is never taken back.
 */
export class FileChannel implements Channel {
  readonly name: string
  readonly tries = 5

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

  accepts({ kind, repeated, heldBack }: Notice): boolean {
    // A request that was acted on is not made again.
    return this.kinds.includes(kind) && !repeated && !heldBack
  }

  requests({ kind }: Notice): boolean {
    return this.kinds.includes(kind)
  }

  async send(notice: Notice): Promise<void> {
    const path = await this.pathOf(notice.run)
    if (path === undefined) return
    try {
      await writeFileAtomic(path, `${JSON.stringify(notice)}\n`, { force: true })
    } catch (error) {
      throw new Undelivered((error as Error).message)
    }
  }
}
