import { basename } from 'node:path'
import type { TraitscopeError } from '../errors.js'
import { hashCheckpoint } from '../formats/run/checkpoint-folder.js'
import type { CheckpointKind, RunFolder } from '../formats/run/run-folder.js'
import { checkpointStep } from '../formats/run/step-folders.js'
import type { Step } from '../trajectory/trajectory.js'

/** A complete checkpoint or final adapter that has to be looked at. */
export interface PendingCheckpoint {
  step: Step
  path: string
  kind: CheckpointKind
  /** The checkpoint's own folder. */
  folder: string
  /** Why it cannot be measured, where that is known already. */
  fault?: TraitscopeError
  /** Changes when the files change. */
  stamp: string
  epoch?: number
  loss?: number
}

interface Entry {
  stamp: string
  /** Weights that were measured; undefined when measuring failed. */
  sha256: string | undefined
}

/**
 * What a watch has seen of a run: which weights were measured under which step, what was said about the rest.
 * It grows by a few strings per checkpoint and keeps no numbers.
 */
export class RunLedger {
  readonly #settled = new Map<Step, Entry>()
  readonly #waiting = new Map<Step, string>()
  #waitingForRun: string | undefined

  /**
   * Complete checkpoints whose files are new or have changed, ascending; the final adapter last, unless it is
   * an alias.
   */
  pending(found: RunFolder): PendingCheckpoint[] {
    const complete: PendingCheckpoint[] = found.checkpoints.filter(({ state }) => state === 'complete')
    const { final } = found
    if (final && final.aliasOf === undefined) {
      complete.push({ ...final, step: 'final', folder: final.path })
    }
    return complete.filter(({ step, stamp }) => this.#settled.get(step)?.stamp !== stamp)
  }

  /**
   * True when these weights were measured under this step before: files that were only touched, or copied
   * over themselves. Their content decides, because trainers rewrite checkpoints of equal size when they
   * resume.
   */
  async isKnown({ step, path, stamp }: PendingCheckpoint): Promise<boolean> {
    const entry = this.#settled.get(step)
    if (entry?.sha256 === undefined || entry.sha256 !== (await hashCheckpoint(path))) return false
    entry.stamp = stamp
    this.#waiting.delete(step)
    return true
  }

  wasMeasured(step: Step): boolean {
    return this.#settled.get(step)?.sha256 !== undefined
  }

  /** A sentence when other steps had these weights: a frozen adapter, or a copy in place of a checkpoint. */
  sameWeights(step: Step, sha256: string): string[] {
    const same = [...this.#settled].filter(([other, entry]) => other !== step && entry.sha256 === sha256)
    if (same.length === 0) return []
    return [`step ${step} has the same weights as step ${same.map(([other]) => other).join(', ')}`]
  }

  settle({ step, stamp }: PendingCheckpoint, sha256: string | undefined): void {
    this.#settled.set(step, { stamp, sha256 })
    this.#waiting.delete(step)
  }

  /** Notes that a step is waited for; true when that is news. How much of a file is there is none. */
  wait(step: Step, reason: string): boolean {
    const kind = reason.replaceAll(/\d+/g, '0')
    if (this.#waiting.get(step) === kind) return false
    this.#waiting.set(step, kind)
    return true
  }

  /** Notes that the run itself is waited for, or (undefined) no longer is; true when that is news. */
  waitForRun(reason: string | undefined): boolean {
    const news = this.#waitingForRun !== reason
    this.#waitingForRun = reason
    return news
  }

  /**
   * Steps that were waited for, or seen for a moment only, and are gone from the folder; each is returned
   * once.
   */
  takeVanished(found: RunFolder): Step[] {
    const present = new Set<Step>(found.checkpoints.map(({ step }) => step))
    const gone = new Set<Step>(
      [...this.#waiting.keys()].filter((step) => step !== 'final' && !present.has(step)),
    )
    for (const folder of found.vanished) {
      const step = checkpointStep(basename(folder))
      if (step !== undefined && !this.#settled.has(step)) gone.add(step)
    }
    for (const step of gone) this.#waiting.delete(step)
    return [...gone]
  }
}
