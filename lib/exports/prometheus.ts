import { writeFileAtomic } from '../formats/files/atomic.js'
import type { Point, RunView } from '../report/run-view.js'
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
  const latest = point && measuredLast(points)
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
    last: latest && {
      time: seconds(latest.time),
      milliseconds: 1000 * (latest.seconds ?? Number.NaN),
    },
    newest: point && { step: point.step, scalars: figuresOf(view, point) },
  }
}

/** A backlog is measured after what is newer. */
const measuredLast = (points: readonly Point[]): Point =>
  points.reduce((last, one) => (one.step !== 0 && (one.seq ?? 0) >= (last.seq ?? 0) ? one : last))

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
