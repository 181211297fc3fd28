import { realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { writeFileAtomic } from '../formats/files/atomic.js'
import { claim } from '../formats/files/file-lock.js'
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

/** Of a thousand runs the file has a megabyte, and each event would write it anew. */
const MOST_OF_THE_TIME = 1 / 20
const MOST_WAIT_MS = 5000

/** A file for node_exporter's textfile collector, whole at any moment. What comes in bursts is written together. */
export class PrometheusExporter implements Exporter {
  readonly name = 'Prometheus'

  #release: (() => Promise<void>) | undefined
  #views: readonly RunView[] = []
  /** Until when nothing is written, by `performance.now`. */
  #restMs = 0
  #late: NodeJS.Timeout | undefined
  #tail: Promise<void> = Promise.resolve()

  constructor(private readonly path: string) {}

  /** @throws FILE_ACCESS, also where another watch writes the same file: each would take the other's runs out of it */
  async change(views: readonly RunView[]): Promise<void> {
    this.#release ??= await claim(`prometheus ${await placeOf(this.path)}`)
    if (this.#release === undefined) {
      throw new TraitscopeError(
        'FILE_ACCESS',
        `expected to be the only writer of ${this.path}, found another one at work: name another file`,
      )
    }
    this.#views = views
    if (this.#late) return
    const wait = this.#restMs - performance.now()
    if (wait <= 0) return this.#write()
    // One that fails is tried, and told, with the next change or at the end.
    this.#late = setTimeout(() => void this.#write().catch(() => {}), wait).unref()
  }

  /** What has changed by now, after what is being written. */
  #write(): Promise<void> {
    clearTimeout(this.#late)
    this.#tail = this.#tail
      .catch(() => {})
      .then(async () => {
        this.#late = undefined
        this.#restMs = 0
        const beganMs = performance.now()
        await writeFileAtomic(this.path, prometheusText(this.#views), { force: true })
        const endedMs = performance.now()
        this.#restMs = endedMs + Math.min(MOST_WAIT_MS, (endedMs - beganMs) / MOST_OF_THE_TIME)
      })
    return this.#tail
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#late) await this.#write()
      else await this.#tail
    } finally {
      await this.#release?.()
      this.#release = undefined
    }
  }
}

/** Of a file that may not be there yet, the links to its folder followed. */
async function placeOf(path: string): Promise<string> {
  const folder = dirname(resolve(path))
  return join(await realpath(folder).catch(() => folder), basename(path))
}
