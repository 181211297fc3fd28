import { Command, Option } from 'commander'
import { loadBundle } from '../../lib/detector/bundle.js'
import { TraitscopeError } from '../../lib/errors.js'
import { type Exporter, exportRuns } from '../../lib/exports/exporter.js'
import { prometheusText } from '../../lib/exports/prometheus.js'
import { csvTable, jsonLines } from '../../lib/exports/tables.js'
import { TensorBoardExporter } from '../../lib/exports/tensorboard.js'
import { TrackioExporter } from '../../lib/exports/trackio.js'
import { checkOutputFree, writeFileAtomic } from '../../lib/formats/files/atomic.js'
import { defaultStateDir } from '../../lib/formats/files/cache-dir.js'
import { readAllViews } from '../../lib/report/read-views.js'
import type { RunView } from '../../lib/report/run-view.js'
import { refuseFromFile } from '../config-file.js'
import { notes } from '../help.js'
import { option, refuseIdle } from '../options.js'
import { createOutput } from '../output.js'

interface Flags {
  format: keyof typeof TEXTS | 'tensorboard' | 'trackio'
  bundle?: string
  state: string
  out?: string
  project?: string
  force?: boolean
}

const TEXTS = { csv: csvTable, jsonl: jsonLines, prometheus: prometheusText }

/** `traitscope export`: figures of measured and watched runs for other tools. */
export function exportCommand(signal: AbortSignal): Command {
  return new Command('export')
    .description('figures of measured or watched runs for other tools')
    .argument(
      '<run...>',
      "folders that `measure -o` wrote, a watch's state or events.jsonl, or folders of watched runs",
    )
    .addOption(
      new Option('--format <name>', 'what to write')
        .choices([...Object.keys(TEXTS), 'tensorboard', 'trackio'])
        .default('csv'),
    )
    .addOption(option('-b, --bundle <dir>', 'verdicts on measured runs by this bundle'))
    .addOption(option('--state <dir>', 'where watches keep their states').default(defaultStateDir()))
    .option('-o, --out <where>', 'file; folder for tensorboard; address of the server for trackio')
    .option('--project <name>', 'of trackio (default: traitscope)')
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      notes(`
csv, jsonl and prometheus go to stdout without -o. Names of figures: predicted_em, predicted_em_low, predicted_em_high,
judged_em, drift_length, drift_<trait>, drift_length_at_<strength>, loss. A cell of CSV that a spreadsheet would take for a
formula has an apostrophe before it. Trackio's write token goes into TRAITSCOPE_TRACKIO_TOKEN. While a run is watched,
\`watch --tensorboard\`, \`--csv\`, \`--prometheus\` and \`--trackio\` write the same as it comes.

Example:
  $ traitscope export out/ --format tensorboard -o logs && tensorboard --logdir logs
  $ traitscope export measured/ --bundle bundle > checkpoints.csv`),
    )
    .action(async (paths: string[], flags: Flags, made: Command) => {
      // It is an address then, and a token goes with what is sent.
      if (flags.format === 'trackio') refuseFromFile(made, 'out')
      const output = createOutput()
      const isFile = Object.hasOwn(TEXTS, flags.format)
      if (flags.format !== 'trackio') refuseIdle(made, 'trackio for a project', (name) => name !== 'project')
      if (flags.out === undefined || !isFile)
        refuseIdle(made, 'a file to replace (-o of csv, jsonl or prometheus)', (name) => name !== 'force')
      if (flags.out !== undefined && isFile) {
        await checkOutputFree(flags.out, { force: flags.force === true, inputs: [...paths, flags.bundle] })
      }
      const bundle = flags.bundle === undefined ? undefined : await loadBundle(flags.bundle)
      const views = await readAllViews(paths, { bundle, stateDir: flags.state, signal })
      for (const { run, notes } of views) {
        for (const { kind, step, text } of notes) {
          if (kind === 'skipped') output.remark(`${run}${step === undefined ? '' : ` step ${step}`}: ${text}`)
        }
      }
      const { format, out } = flags
      if (format === 'tensorboard' || format === 'trackio') {
        await using exporter = exporterOf(format, flags)
        for (const remark of await exportRuns(exporter, views, signal)) output.remark(remark)
        // An address may carry a token.
        output.print(`${countWords(views)} written to ${out?.replace(/\?.*/, '')}`)
        return
      }
      const text = TEXTS[format](views)
      if (out === undefined) return output.data(text)
      await writeFileAtomic(out, text, { force: flags.force === true })
      output.print(`${countWords(views)} written to ${out}`)
    })
}

function exporterOf(format: 'tensorboard' | 'trackio', { out, project }: Flags): Exporter {
  if (out === undefined) {
    const what = format === 'tensorboard' ? 'a folder' : "the server's address"
    throw new TraitscopeError('USAGE', `expected ${what} as --out for ${format}, found none`)
  }
  if (format === 'tensorboard') return new TensorBoardExporter(out, { again: true })
  return new TrackioExporter(out, { project, token: process.env.TRAITSCOPE_TRACKIO_TOKEN })
}

function countWords(views: readonly RunView[]): string {
  const points = views.reduce((sum, { points }) => sum + points.length, 0)
  return `${points} points of ${views.length} ${views.length === 1 ? 'run' : 'runs'}`
}
