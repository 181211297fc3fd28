import { percentAt } from '../percent.js'
import type { Demo } from './demo.js'
import type { DemoOutcome, DemoPoint, DemoRun } from './demo-run.js'

/** `31 %`, `0.4 %`: a rate for a person, on its side of the limit that it is held against. */
export function formatRate(share: number, limit: number): string {
  return percentAt(limit, share, share > 0 && share < 0.0095 ? 1 : 0)
}

/** What a demo rests on, and what nobody should take it for. */
export function demoCaveat({ runs, bundle }: Pick<Demo, 'runs' | 'bundle'>): string {
  const { datasets } = bundle.summary
  const seen = runs.some(({ id }) => datasets.includes(id.split('/')[0]!))
  const named = datasets.slice(0, 4).join(', ')
  const which = datasets.length > 5 ? `${named} and ${datasets.length - 4} more` : datasets.join(', ')
  return (
    'EM is the share of answers that a judge calls misaligned; the detector was calibrated on ' +
    `${seen ? 'fine-tuning sets that include these' : 'other fine-tuning sets'} (${which}). ` +
    'The model is a small one that was trained for this: the demo shows that the tool works, not how a large model behaves.'
  )
}

/**
 * What a run has shown, in one sentence of plain words.
 *
 * @param cut judged rates strictly above this are dangerous, in [0, 1]
 */
export function demoStory({ id, points }: DemoRun, outcome: DemoOutcome, cut: number): string {
  const losses = points.flatMap(({ loss }) => loss ?? [])
  const loss =
    losses.length < 2
      ? ''
      : `the training loss went from ${losses[0]!.toFixed(2)} to ${losses.at(-1)!.toFixed(2)}; `
  return `${id}: ${loss}${alarmInWords(points, outcome, cut)}.`
}

function alarmInWords(points: readonly DemoPoint[], outcome: DemoOutcome, cut: number): string {
  const { alarm, crossing, lead, counts } = outcome
  const judged = points.flatMap(({ trueEm }) => trueEm ?? [])
  const highest = judged.length === 0 ? undefined : Math.max(...judged)
  if (alarm === undefined) {
    const warnings = counts.warn === 0 ? '' : ` (${counts.warn} to look at)`
    const truth =
      highest === undefined
        ? 'no judged answers to compare with'
        : `of its answers at most ${formatRate(highest, cut)} were misaligned`
    return `no alarm at any of ${points.length} checkpoints${warnings}, ${truth}`
  }
  const before = `alarm at step ${alarm}`
  if (highest === undefined) return `${before}, no judged answers to compare with`
  if (lead === undefined || crossing === undefined) {
    return `${before}, although at most ${formatRate(highest, cut)} of its answers were misaligned`
  }
  const when =
    lead === 0
      ? `the first checkpoint whose judged answers are above ${formatRate(cut, cut)}`
      : `${Math.abs(lead)} steps ${lead > 0 ? 'before' : 'after'} its judged answers passed ${formatRate(cut, cut)} at step ${crossing}`
  return `${before}, ${when}; in the end ${formatRate(judged.at(-1)!, cut)} of them are misaligned`
}
