import type { LoggedEvent } from '../events/event-log.js'
import { applyEvent } from '../report/apply-event.js'
import { type RunView, startRun } from '../report/run-view.js'
import type { Exporter } from './exporter.js'

/** Feeds exporters with what a watch tells, as it tells it. What fails is said once and stops neither the watch nor the others. */
export class LiveExports implements AsyncDisposable {
  readonly #views = new Map<string, RunView>()
  readonly #said = new Set<string>()

  /** @param say gets a sentence on what an exporter could not do, each one once */
  constructor(
    private readonly exporters: readonly Exporter[],
    private readonly say: (text: string) => void,
  ) {}

  /** @returns when all exporters have it */
  async take(event: LoggedEvent): Promise<void> {
    if (this.exporters.length === 0) return
    const view = this.#views.get(event.run) ?? startRun(event.run)
    this.#views.set(event.run, view)
    applyEvent(view, event)
    // Who goes on where another stopped has told step 0 already.
    const begins = event.type === 'baseline' && !event.resumed
    const step = event.type === 'checkpoint' ? event.step : begins ? 0 : undefined
    const point = step === undefined ? undefined : view.points.find((one) => one.step === step)
    await Promise.all(
      this.exporters.map(async (exporter) => {
        try {
          const remark = point && (await exporter.checkpoint?.(view, point))
          if (remark !== undefined) this.#sayOnce(`${exporter.name}: ${remark}`)
          await exporter.change?.([...this.#views.values()])
        } catch (error) {
          this.#sayOnce(`${exporter.name}: ${(error as Error).message}`)
        }
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const exporter of this.exporters) {
      try {
        await exporter[Symbol.asyncDispose]()
      } catch (error) {
        this.#sayOnce(`${exporter.name}: ${(error as Error).message}`)
      }
    }
  }

  #sayOnce(text: string): void {
    if (this.#said.has(text)) return
    this.#said.add(text)
    this.say(text)
  }
}
