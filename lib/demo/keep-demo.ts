import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { watchEventJson } from '../events/watch-events.js'
import { readBackdrop } from '../report/backdrop.js'
import { bundleFacts } from '../report/bundle-facts.js'
import { page } from '../report/page.js'
import { type ReportRun, viewOfTrajectory } from '../report/trajectory-view.js'
import { measureRun } from '../trajectory/measure-run.js'
import type { Demo, DemoSetting } from './demo.js'
import type { DemoOrganism } from './demo-organism.js'
import { demoCaveat, demoStory } from './story.js'

export const REPORT_FILE = 'report.html'

/**
 * Writes what a demo has seen to a folder: per run `<organism>/<set>/seed_<n>/` with the files of `measure` and the
 * watch's `events.jsonl`, and one report. The runs are measured once more for it, as whole runs.
 */
export async function keepDemo(
  demo: Demo,
  organism: DemoOrganism,
  { model, pack, folder }: DemoSetting,
  target: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { organism: name, bundle, runs, outcomes } = demo
  const shown: ReportRun[] = []
  for (const [i, run] of runs.entries()) {
    const out = join(target, name, run.id)
    await mkdir(dirname(out), { recursive: true })
    const options = { pack, layer: bundle.detector.mainLayer, cacheDir: false, out, signal } as const
    const trajectory = await measureRun(model, bundle.directions, join(folder, run.id), options)
    const lines = run.events.map((event) => `${JSON.stringify(watchEventJson(event))}\n`)
    await writeFile(join(out, 'events.jsonl'), lines.join(''))
    const verdicts = new Map(run.points.map(({ step, verdict }) => [step, verdict]))
    shown.push({ name: run.id, trajectory, verdicts, labels: organism.runs[i]!.labels })
  }
  const { html } = page({
    runs: shown.map(viewOfTrajectory),
    title: `traitscope demo: ${name}`,
    summary: [...runs.map((run, i) => demoStory(run, outcomes[i]!, bundle.detector.cut)), demoCaveat(demo)],
    detector: bundleFacts(bundle),
    backdrop: await readBackdrop(bundle),
  })
  await writeFile(join(target, REPORT_FILE), html)
}
