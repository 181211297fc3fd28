import { Command } from 'commander'
import { loadBundle } from '../../lib/detector/bundle.js'
import { checkOutputFree, writeFileAtomic } from '../../lib/formats/files/atomic.js'
import { bundleFacts } from '../../lib/report/bundle-facts.js'
import { htmlReport } from '../../lib/report/html.js'
import { readReportRun } from '../../lib/report/report-run.js'
import { option } from '../options.js'
import { createOutput } from '../output.js'

interface Flags {
  bundle?: string
  out: string
  title: string
  force?: boolean
}

/** `traitscope report`: measured runs as one HTML page. */
export function reportCommand(): Command {
  return new Command('report')
    .description('write one offline HTML page on measured runs')
    .argument('<trajectory...>', 'trajectory.json files, or folders that `measure -o` wrote')
    .addOption(option('-b, --bundle <dir>', 'give verdicts by this bundle, made by `traitscope calibrate`'))
    .option('-o, --out <file>', 'page to write', 'report.html')
    .option('--title <text>', 'heading of the page', 'traitscope report')
    .option('--force', 'replace an existing page')
    .addHelpText(
      'after',
      `
Labels that lie beside a trajectory (grades.json or betley_eval/grades.json) are drawn with it.

Example:
  $ traitscope report measured/ --bundle bundle -o report.html`,
    )
    .action(async (paths: string[], flags: Flags) => {
      const force = flags.force === true
      await checkOutputFree(flags.out, { force })
      const bundle = flags.bundle === undefined ? undefined : await loadBundle(flags.bundle)
      const output = createOutput()
      const runs = await output.during(
        'reading runs',
        () => Promise.all(paths.map((path) => readReportRun(path, bundle))),
        { announce: false },
      )
      const html = htmlReport(runs, {
        title: flags.title,
        ...(bundle && { detector: bundleFacts(bundle), cut: bundle.detector.cut }),
      })
      await writeFileAtomic(flags.out, html, { force })
      output.print(`written to ${flags.out}`)
    })
}
