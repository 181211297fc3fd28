import type { RunSummary } from './run-summary.js'

type Figures = NonNullable<RunSummary['last']>

/** What metrics are made of; times that are not known are NaN and left out. */
export interface MetricsRun
  extends Pick<RunSummary, 'run' | 'traits' | 'measured' | 'lost' | 'errors' | 'backlog' | 'isWatched'> {
  alarmSince: number | undefined
  last: Pick<Figures, 'time' | 'milliseconds'> | undefined
  newest: Pick<Figures, 'step' | 'scalars'> | undefined
}

interface Metric {
  name: string
  type: 'gauge' | 'counter'
  help: string
  of: (run: MetricsRun) => Iterable<[labels: Record<string, string>, value: number]>
}

const one = function* (value: number | undefined): Iterable<[Record<string, string>, number]> {
  if (value !== undefined && !Number.isNaN(value)) yield [{}, value]
}

const METRICS: readonly Metric[] = [
  {
    name: 'traitscope_last_checkpoint_timestamp_seconds',
    type: 'gauge',
    help: 'When the last checkpoint was measured, in seconds since 1970.',
    of: ({ last }) => one(last?.time),
  },
  {
    name: 'traitscope_last_step',
    type: 'gauge',
    help: 'Optimiser step of the newest measured checkpoint.',
    of: ({ newest }) => one(typeof newest?.step === 'number' ? newest.step : undefined),
  },
  {
    name: 'traitscope_checkpoints_measured_total',
    type: 'counter',
    help: 'Checkpoints measured, those that changed counted again.',
    of: ({ measured }) => one(measured),
  },
  {
    name: 'traitscope_checkpoints_lost_total',
    type: 'counter',
    help: 'Checkpoints that went before they could be measured.',
    of: ({ lost }) => one(lost),
  },
  {
    name: 'traitscope_errors_total',
    type: 'counter',
    help: 'Errors of the watch.',
    of: ({ errors }) => one(errors),
  },
  {
    name: 'traitscope_backlog',
    type: 'gauge',
    help: 'Complete checkpoints that are not measured yet, as far as the log tells.',
    of: ({ backlog }) => one(backlog),
  },
  {
    name: 'traitscope_measure_seconds',
    type: 'gauge',
    help: 'Time that the last checkpoint took.',
    of: ({ last }) => one(last && last.milliseconds / 1000),
  },
  {
    name: 'traitscope_alarm',
    type: 'gauge',
    help: '1 while the alarm stands.',
    of: ({ alarmSince }) => one(alarmSince === undefined ? 0 : 1),
  },
  {
    name: 'traitscope_watched',
    type: 'gauge',
    help: '1 while the log says that a watch is at work.',
    of: ({ isWatched }) => one(Number(isWatched)),
  },
  {
    name: 'traitscope_predicted_em',
    type: 'gauge',
    help: 'Predicted rate of emergent misalignment at the newest checkpoint, in [0, 1].',
    of: ({ newest }) => one(newest?.scalars.predicted_em),
  },
  {
    name: 'traitscope_margin',
    type: 'gauge',
    help: 'How much more probable misaligned answers have become, against aligned ones, at the newest checkpoint, in nats per token.',
    of: ({ newest }) => one(newest?.scalars.margin),
  },
  {
    name: 'traitscope_drift',
    type: 'gauge',
    help: 'Drift of each trait at the newest checkpoint, in units of the step-0 activation norm.',
    *of({ traits, newest }) {
      for (const trait of traits)
        for (const [, value] of one(newest?.scalars[`drift_${trait}`])) yield [{ trait }, value]
    },
  },
]

/** The state of all runs as Prometheus reads it (text format 0.0.4). */
export function metricsText(runs: readonly MetricsRun[]): string {
  const lines = METRICS.flatMap(({ name, type, help, of }) => {
    const samples = runs.flatMap((run) =>
      [...of(run)].map(([labels, value]) => `${name}${labelText({ run: run.run, ...labels })} ${value}`),
    )
    return samples.length === 0 ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples]
  })
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`
}

function labelText(labels: Record<string, string>): string {
  // The name of a folder may hold what commands a terminal, where somebody looks at this with curl.
  const quoted = (value: string) =>
    value
      .replaceAll('\\', '\\\\')
      .replaceAll('"', '\\"')
      .replaceAll('\n', '\\n')
      .replace(/\p{Cc}/gu, (c) => `\\\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${quoted(value)}"`)
    .join(',')}}`
}
