/** Figures of checkpoints for other tools: one shape for all of them, live or afterwards. */
import { throwIfAborted } from '../errors.js'
import type { Point, RunView } from '../report/run-view.js'

/** Of an exporter whose axis is the step. */
export const NO_STEP = 'the final adapter has no step, so it is left out'

/** Takes checkpoints, one by one. */
export interface Exporter extends AsyncDisposable {
  /** What it is called in remarks, e.g. `TensorBoard`. */
  readonly name: string
  /**
   * A checkpoint was measured, or measured again.
   *
   * @returns a sentence on what could not be exported of it; undefined when all was
   */
  checkpoint?(view: RunView, point: Point): Promise<string | undefined>
  /** Something has changed in some run. */
  change?(views: readonly RunView[]): Promise<void>
}

/**
 * The figures of a checkpoint under short names, which are those of `POST /checkpoint` and of metrics: `predicted_em` with
 * `_low` and `_high`, `judged_em`, `margin` with `_low` and `_high` where pairs of answers were read, `drift_length`, `drift_<trait>`, `drift_length_at_<strength>`, `loss`, and `prompts_read` where
 * not all prompts were. What is no number is left out.
 */
export function figuresOf({ traits }: Pick<RunView, 'traits'>, point: Point): Record<string, number> {
  const { verdict, judged, margin, drift, length, strengths = [], loss } = point
  const named: [string, number | null | undefined][] = [
    ['predicted_em', verdict?.em],
    ['predicted_em_low', verdict?.interval?.[0]],
    ['predicted_em_high', verdict?.interval?.[1]],
    ['prompts_read', verdict?.settled?.prompts],
    ['judged_em', judged?.rate],
    ['margin', margin?.change],
    ['margin_low', margin?.interval?.[0]],
    ['margin_high', margin?.interval?.[1]],
    ['drift_length', length],
    ...traits.map((trait, t): [string, number | undefined] => [`drift_${trait}`, drift[t]]),
    ...strengths.map((one): [string, number] => [`drift_length_at_${one.strength}`, one.length]),
    ['loss', loss],
  ]
  return Object.fromEntries(named.filter((pair): pair is [string, number] => Number.isFinite(pair[1])))
}

/**
 * Hands whole runs to an exporter.
 *
 * @param signal looked at before every checkpoint
 * @returns what could not be exported, in sentences
 * @throws TraitscopeError ABORTED
 */
export async function exportRuns(
  exporter: Exporter,
  views: readonly RunView[],
  signal?: AbortSignal,
): Promise<string[]> {
  const left: string[] = []
  for (const view of views) {
    for (const point of view.points) {
      throwIfAborted(signal)
      const remark = await exporter.checkpoint?.(view, point)
      if (remark !== undefined) left.push(`${view.run}: ${remark}`)
    }
  }
  await exporter.change?.(views)
  return left
}
