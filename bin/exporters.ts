/** Flags that send figures of checkpoints elsewhere as they come. */
import type { Command } from 'commander'
import { TraitscopeError } from '../lib/errors.js'
import type { Exporter } from '../lib/exports/exporter.js'
import { LiveExports } from '../lib/exports/live-exports.js'
import { PrometheusExporter } from '../lib/exports/prometheus.js'
import { CsvExporter } from '../lib/exports/tables.js'
import { TensorBoardExporter } from '../lib/exports/tensorboard.js'
import { TrackioExporter } from '../lib/exports/trackio.js'
import { option, underHeading } from './options.js'
import type { Output } from './output.js'

export interface ExporterFlags {
  tensorboard?: string
  csv?: string
  prometheus?: string
  trackio?: string
  trackioProject?: string
}

export function addExporterOptions(command: Command): Command {
  return underHeading(command, 'Logs for other tools:', () =>
    command
      .addOption(option('--tensorboard <dir>', 'event files of every checkpoint, a folder per run'))
      .addOption(option('--csv <file>', 'a line per checkpoint'))
      .addOption(option('--prometheus <file>', "the runs' state, for node_exporter's textfile collector"))
      .addOption(option('--trackio <url>', 'log to this Trackio server (token: TRAITSCOPE_TRACKIO_TOKEN)'))
      .addOption(option('--trackio-project <name>', 'under this project').default('traitscope')),
  )
}

/** For a command that watches nothing itself. @throws USAGE */
export function refuseExporters(flags: ExporterFlags): void {
  const named = (['tensorboard', 'csv', 'prometheus', 'trackio'] as const).find(
    (name) => flags[name] !== undefined,
  )
  if (named === undefined) return
  throw new TraitscopeError(
    'USAGE',
    `expected runs and a model to go with --${named}, found none: it takes what is measured here; \`traitscope export\` writes what others have told`,
  )
}

/** @throws USAGE for an address that is none */
export function liveExports(flags: ExporterFlags, output: Output): LiveExports {
  const { tensorboard, csv, prometheus, trackio, trackioProject: project } = flags
  const exporters: Exporter[] = []
  if (tensorboard !== undefined) exporters.push(new TensorBoardExporter(tensorboard))
  if (csv !== undefined) exporters.push(new CsvExporter(csv))
  if (prometheus !== undefined) exporters.push(new PrometheusExporter(prometheus))
  if (trackio !== undefined)
    exporters.push(new TrackioExporter(trackio, { project, token: process.env.TRAITSCOPE_TRACKIO_TOKEN }))
  return new LiveExports(exporters, (text, kind) =>
    kind === 'note' ? output.note(text) : output.error(`not exported: ${text}`),
  )
}
