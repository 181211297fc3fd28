/** What `label` has left of a watched run, in a folder that need not lie beside it: found by the weights that answered. */

import { join } from 'node:path'
import { statOf } from '../formats/files/file-stats.js'
import { readResponses } from '../labels/answers/label-log.js'
import { findGrades, readGrades } from '../labels/grades.js'
import type { Step } from '../trajectory/trajectory.js'
import type { RunLabels } from './apply-labels.js'
import { worstAnswers } from './worst-answers.js'

const RESPONSES = 'responses.jsonl'

/** Folders that `label -o` has written. A folder is read again when its answers have changed. */
export class LabelFolders {
  readonly #weights = new Map<string, { stamp: string; byStep: ReadonlyMap<number, string> }>()

  readonly #used = new Set<string>()

  constructor(private readonly folders: readonly string[]) {}

  /**
   * The labels of a run: of the first folder where one of its checkpoints has answered.
   *
   * @param weights identity of the run's weights by step
   * @throws TraitscopeError FILE_NOT_FOUND, FILE_ACCESS, FILE_INVALID for a damaged folder
   */
  async of(weights: ReadonlyMap<Step, string>): Promise<RunLabels | undefined> {
    for (const folder of this.folders) {
      const labelled = await this.#weightsIn(folder)
      const isOurs = (step: number) =>
        weights.get(step) !== undefined && weights.get(step) === labelled.get(step)
      if (![...labelled.keys()].some(isOurs)) continue
      this.#used.add(folder)
      const found = await findGrades(folder)
      const grades = found === undefined ? [] : [...(await readGrades(found))]
      return {
        // Of weights that were replaced since, the old label says nothing; step 0 is the base.
        judged: grades.flatMap(([step, { pooled }]) =>
          step === 0 || isOurs(step)
            ? [{ step, rate: pooled.rate, standardError: pooled.standardError }]
            : [],
        ),
        answers: ((await worstAnswers(folder)) ?? []).filter(({ step }) => isOurs(step)),
      }
    }
    return undefined
  }

  /**
   * The folders that no run asked for so far has answers in.
   *
   * @throws TraitscopeError as {@link of}
   */
  async unused(): Promise<string[]> {
    for (const folder of this.folders) await this.#weightsIn(folder)
    return this.folders.filter((folder) => !this.#used.has(folder))
  }

  async #weightsIn(folder: string): Promise<ReadonlyMap<number, string>> {
    const path = join(folder, RESPONSES)
    const { size, mtimeMs, ino } = await statOf(path)
    const stamp = `${ino} ${size}@${mtimeMs}`
    const known = this.#weights.get(folder)
    if (known?.stamp === stamp) return known.byStep
    const responses = await readResponses(path)
    const byStep = new Map([...responses.values()].map(({ step, weights }) => [step, weights]))
    this.#weights.set(folder, { stamp, byStep })
    return byStep
  }
}
