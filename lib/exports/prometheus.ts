import { writeFileAtomic } from '../formats/files/atomic.js'
import type { RunView } from '../report/run-view.js'
import { lastPoint } from '../report/sentences.js'
import { type MetricsRun, metricsText } from '../serve/metrics.js'
import { type Exporter, figuresOf } from './exporter.js'

/** The state of runs as text for Prometheus: the same metrics as `GET /metrics`. */
export function prometheusText(views: readonly RunView[]): string {
  return metricsText(views.map(metricsRun))
}

function metricsRun(view: RunView): MetricsRun {
  const { run, traits, lost, errors, backlog, alarm, points, ended, seq } = view
  const point = lastPoint(view)
  const raised = points.find(({ step }) => step === view.alarmAt)?.time
  return {
    run,
    traits,
    measured: points.filter(({ step }) => step !== 0).length,
    lost,
    errors,
    backlog,
    isWatched: seq > 0 && ended === undefined,
    alarmSince: alarm === 'raised' || alarm === 'standing' ? seconds(raised) : undefined,
    last: point && {
      step: point.step,
      time: seconds(point.time),
      milliseconds: 1000 * (point.seconds ?? Number.NaN),
      scalars: figuresOf(view, point),
    },
  }
}

const seconds = (time: string | undefined): number => Date.parse(time ?? '') / 1000

/** A file for node_exporter's textfile collector, whole at any moment. */
export class PrometheusExporter implements Exporter {
  readonly name = 'Prometheus'

  constructor(private readonly path: string) {}

  /** @throws FILE_ACCESS */
  async change(views: readonly RunView[]): Promise<void> {
    await writeFileAtomic(this.path, prometheusText(views), { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
