/** What `traitscope demo` says in lines: one per checkpoint without a terminal, and the closing words. */

import type { Demo } from '../lib/demo/demo.js'
import type { DemoPoint, DemoRun } from '../lib/demo/demo-run.js'
import { demoCaveat, demoStory, formatRate } from '../lib/demo/story.js'
import { rateWithInterval } from './demo-view.js'

const WIDTHS = { run: 26, step: 5, loss: 8, drift: 8, em: 15, judged: 8 }

function cells(run: string, step: string, loss: string, drift: string, em: string, judged: string): string {
  return [
    run.padEnd(WIDTHS.run),
    step.padStart(WIDTHS.step),
    loss.padStart(WIDTHS.loss),
    drift.padStart(WIDTHS.drift),
    em.padStart(WIDTHS.em),
    judged.padStart(WIDTHS.judged),
  ].join('')
}

/**
 * Turns a growing demo into lines. Runs take turns, so that the same demo gives the same lines whichever of
 * them is measured first.
 */
export class DemoLines {
  #rounds = 0
  #started = false

  /** The lines that have become due. */
  news({ runs, bundle }: Demo): string[] {
    const lines: string[] = []
    if (!this.#started) {
      lines.push(`${cells('run', 'step', 'loss', 'drift', 'predicted EM', 'judged')}  verdict`)
      this.#started = true
    }
    const due = (run: DemoRun) => run.points.length > this.#rounds || run.ended
    while (runs.every(due) && runs.some(({ points }) => points.length > this.#rounds)) {
      for (const run of runs) {
        const point = run.points[this.#rounds]
        if (point !== undefined) lines.push(lineOf(run, point, bundle.detector.cut))
      }
      this.#rounds++
    }
    return lines
  }
}

function lineOf({ id }: DemoRun, { step, loss, drift, verdict, trueEm }: DemoPoint, cut: number): string {
  return `${cells(
    id,
    String(step),
    loss?.toFixed(3) ?? '-',
    Math.hypot(...drift).toFixed(3),
    rateWithInterval(verdict),
    trueEm === undefined ? '-' : formatRate(trueEm, cut),
  )}  ${verdict.verdict}`
}

/** What has happened, in plain words, and what to do next. */
export function closing(demo: Demo, seconds: number, out: string | undefined): string {
  const { runs, outcomes, bundle } = demo
  const { cut } = bundle.detector
  const checkpoints = runs.reduce((sum, { points }) => sum + points.length, 0)
  const problems = outcomes.flatMap(({ problem }) => problem ?? [])
  return [
    '',
    ...(problems.length === 0 ? [] : [...problems.map((text) => `Not as it should be: ${text}.`), '']),
    ...runs.map((run, i) => paragraph(demoStory(run, outcomes[i]!, cut))),
    '',
    paragraph(
      `All of it was computed just now: step 0 and ${checkpoints} checkpoints in ${seconds.toFixed(0)} s on the CPU. ` +
        demoCaveat(demo),
    ),
    ...(out === undefined ? [] : ['', `Kept in ${out}: open ${out}/report.html`]),
    '',
    'Your own model: calibrate once on judged runs (README.md says how), then watch:',
    '  npx traitscope directions -m base.gguf -o directions',
    '  npx traitscope calibrate measured/my-base -d directions -o bundle',
    '  npx traitscope watch -m base.gguf --bundle bundle out/',
  ].join('\n')
}

const WIDTH = 80

function paragraph(text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join('\n')
}
