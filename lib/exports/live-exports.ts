import type { LoggedEvent } from '../events/event-log.js'
import type { EndEvent } from '../events/watch-events.js'
import { Backoff } from '../monitor/failures.js'
import { applyEvent } from '../report/apply-event.js'
import { type Point, type RunView, startRun } from '../report/run-view.js'
import { stepsText } from '../trajectory/steps-text.js'
import type { Exporter } from './exporter.js'

/** A sentence on what an exporter could not do, or `note`: that it works again. */
export type SayExport = (text: string, kind: 'error' | 'note') => void

/**
 * Feeds exporters with what a watch tells, as it tells it. What fails is said once, stops neither the watch nor the others, and is
 * sent later, in its order.
 */
export class LiveExports implements AsyncDisposable {
  readonly #views = new Map<string, RunView>()
  readonly #feeds: readonly Feed[]

  /** @param retryMs before an exporter that fails is tried again; doubles */
  constructor(exporters: readonly Exporter[], say: SayExport, { retryMs = 10_000 } = {}) {
    this.#feeds = exporters.map((exporter) => new Feed(exporter, say, new Backoff(retryMs)))
  }

  /** @returns when all exporters that work have it */
  async take(event: LoggedEvent): Promise<void> {
    if (this.#feeds.length === 0) return
    const view = this.#views.get(event.run) ?? startRun(event.run)
    this.#views.set(event.run, view)
    applyEvent(view, event)
    // Who goes on where another stopped has told step 0 already.
    const begins = event.type === 'baseline' && !event.resumed
    const step = event.type === 'checkpoint' ? event.step : begins ? 0 : undefined
    const point = step === undefined ? undefined : view.points.find((one) => one.step === step)
    const views = [...this.#views.values()]
    await Promise.all(this.#feeds.map((feed) => feed.take(point && { view, point }, views)))
  }

  /** The watch of all runs is over: so is that of each. */
  async end({ time = new Date().toISOString(), reason }: EndEvent): Promise<void> {
    const views = [...this.#views.values()]
    for (const view of views) view.ended ??= { time, reason }
    await Promise.all(this.#feeds.map((feed) => feed.take(undefined, views)))
  }

  /** Sends what was missed, where that is possible now. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const feed of this.#feeds) await feed.end([...this.#views.values()])
  }
}

/** An exporter, and what it has still to get. */
class Feed {
  readonly #waiting: { view: RunView; point: Point }[] = []
  readonly #remarks = new Set<string>()
  /** What has failed since it worked. */
  readonly #problems = new Set<string>()

  constructor(
    private readonly exporter: Exporter,
    private readonly say: SayExport,
    private readonly backoff: Backoff,
  ) {}

  async take(one: { view: RunView; point: Point } | undefined, views: readonly RunView[]): Promise<void> {
    if (one) this.#waiting.push(one)
    if (!this.backoff.waits) await this.#send(views)
  }

  async end(views: readonly RunView[]): Promise<void> {
    if (this.#problems.size > 0) await this.#send(views)
    const steps = this.#waiting.map(({ point }) => point.step)
    if (steps.length > 0) {
      this.#say(`it did not get step ${stepsText(steps)}; \`traitscope export\` sends them`, this.#problems)
    }
    await this.#orSay(async () => this.exporter[Symbol.asyncDispose]())
  }

  async #send(views: readonly RunView[]): Promise<void> {
    const late = this.#waiting.length
    const works = await this.#orSay(async () => {
      for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
        const remark = await this.exporter.checkpoint?.(next.view, next.point)
        this.#waiting.shift()
        if (remark !== undefined) this.#say(remark, this.#remarks)
      }
      await this.exporter.change?.(views)
    })
    if (!works) return void this.backoff.failed()
    this.backoff.succeeded()
    if (this.#problems.size === 0) return
    this.#problems.clear()
    const what = late === 1 ? 'the checkpoint' : `the ${late} checkpoints`
    this.say(
      `${this.exporter.name}: it works again${late > 0 ? `, and has got ${what} that it missed` : ''}`,
      'note',
    )
  }

  async #orSay(work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      this.#say((error as Error).message, this.#problems)
      return false
    }
  }

  #say(text: string, said: Set<string>): void {
    if (said.has(text)) return
    said.add(text)
    this.say(`${this.exporter.name}: ${text}`, 'error')
  }
}
