import { Command } from 'commander'
import { loadBundle } from '../../lib/detector/bundle.js'
import { checkOutputFree, writeFileAtomic } from '../../lib/formats/files/atomic.js'
import { defaultStateDir } from '../../lib/formats/files/cache-dir.js'
import { readBackdrop } from '../../lib/report/backdrop.js'
import { bundleFacts } from '../../lib/report/bundle-facts.js'
import { page } from '../../lib/report/page.js'
import { readAllViews } from '../../lib/report/read-views.js'
import { LabelFolders } from '../../lib/report/run-labels.js'
import { notes } from '../help.js'
import { option, repeated } from '../options.js'
import { createOutput } from '../output.js'

interface Flags {
  bundle?: string
  state: string
  labels?: string[]
  out: string
  title: string
  force?: boolean
}

/** `traitscope report`: measured and watched runs as one HTML page. */
export function reportCommand(signal: AbortSignal): Command {
  return new Command('report')
    .description('write one offline HTML page on measured or watched runs')
    .argument(
      '<run...>',
      "folders that `measure -o` wrote, a watch's state or events.jsonl, or folders of watched runs",
    )
    .addOption(
      option(
        '-b, --bundle <dir>',
        'verdicts on measured runs, and what the calibration runs looked like, by this bundle',
      ),
    )
    .addOption(option('--state <dir>', 'where watches keep their states').default(defaultStateDir()))
    .addOption(
      option('--labels <dir>', 'for watched runs: what `label -o` has left there; repeatable').argParser(
        repeated,
      ),
    )
    .option('-o, --out <file>', 'page to write', 'report.html')
    .option('--title <text>', 'heading of the page', 'traitscope report')
    .option('--force', 'replace an existing page')
    .addHelpText(
      'after',
      notes(`
Labels that lie beside a trajectory (grades.json or betley_eval/grades.json) are drawn with it, and the answers that
the judge thought worst can be opened. Without --bundle a measured run has the verdicts that \`measure\` left beside it.

Example:
  $ traitscope report measured/ --bundle bundle -o report.html`),
    )
    .action(async (paths: string[], flags: Flags) => {
      const force = flags.force === true
      await checkOutputFree(flags.out, { force, inputs: [...paths, flags.bundle] })
      const bundle = flags.bundle === undefined ? undefined : await loadBundle(flags.bundle)
      const labels = flags.labels && new LabelFolders(flags.labels)
      const output = createOutput()
      const runs = await output.during(
        'reading runs',
        (update) => {
          let done = 0
          const onRead = () => update(++done / paths.length, paths.length)
          return readAllViews(paths, { bundle, stateDir: flags.state, labels, signal }, onRead)
        },
        { announce: false, unit: 'runs' },
      )
      for (const folder of (await labels?.unused()) ?? []) {
        output.remark(`the labels of ${folder} are left out: none of its answers is of a watched run here`)
      }
      const { html } = page({
        title: flags.title,
        runs,
        ...(bundle && { detector: bundleFacts(bundle), backdrop: await readBackdrop(bundle) }),
      })
      await writeFileAtomic(flags.out, html, { force })
      output.print(`written to ${flags.out}`)
    })
}
