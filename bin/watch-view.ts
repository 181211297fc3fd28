/** What `traitscope watch` shows a person: every run as it stands, redrawn in place. */
import { backlogAfter } from '../lib/events/backlog.js'
import type { LoggedEvent } from '../lib/events/event-log.js'
import { type WatchEvent, watchEventJson } from '../lib/events/watch-events.js'
import { applyEvent } from '../lib/report/apply-event.js'
import { noteOf } from '../lib/report/event-notes.js'
import { type Note, type RunView, startRun } from '../lib/report/run-view.js'
import type { Step } from '../lib/trajectory/trajectory.js'
import { LiveView, type Terminal } from './live-view.js'
import type { Output } from './output.js'
import { type FrameOptions, watchFrame } from './watch-frame.js'

/** Ways to say something on stderr. */
export type Saying = 'note' | 'error' | 'remark'

/** Narrower or lower than this, lines are easier to read. */
const SMALLEST = { columns: 60, rows: 12 }

const TICK_MS = 1000
/** Of many runs a frame takes longer, and events come in bursts: what is left out is drawn with the next tick. */
const MOST_OF_THE_TIME = 1 / 20

/** Draws {@link watchFrame} with events, and every second for the ages. */
export class WatchView implements Disposable {
  readonly #views = new Map<string, RunView>()
  readonly #live: LiveView
  readonly #timer: NodeJS.Timeout
  #measuring: FrameOptions['measuring']
  /** Of all runs, by the last event. */
  #backlog = 0
  readonly #notes: Note[] = []

  #closed = false
  /** Until when nothing is drawn, by `performance.now`. */
  #restMs = 0
  readonly #heard: [kind: Saying, text: string][] = []

  constructor(
    private readonly terminal: Terminal,
    private readonly output: Pick<Output, 'color' | Saying>,
  ) {
    this.#live = new LiveView(terminal)
    this.#timer = setInterval(() => this.#draw(), TICK_MS)
    this.#timer.unref()
  }

  /** Whether a terminal has room for it. */
  static fits({ columns = 0, rows = 0 }: Terminal): boolean {
    return columns >= SMALLEST.columns && rows >= SMALLEST.rows
  }

  take(event: LoggedEvent): void {
    applyEvent(this.#viewOf(event.run), event)
    this.#backlog =
      event.type === 'baseline'
        ? this.#backlog + (event.resumed?.secured ?? 0)
        : backlogAfter(this.#backlog, event)
    this.#draw()
  }

  /** An event of an earlier watch: the run as it was left. What is told of it then is no news. */
  recall(event: LoggedEvent): void {
    const view = this.#viewOf(event.run)
    applyEvent(view, event)
    view.notes.length = 0
    view.lost = 0
    view.errors = 0
  }

  /** An event that is about no run, or all of them. */
  say(event: WatchEvent): void {
    const time = event.time ?? new Date().toISOString()
    const logged = { ...watchEventJson(event), time, run: '', seq: 1 } as LoggedEvent
    this.#notes.push(...noteOf(logged).map((note) => ({ time, ...note })))
    if (event.type === 'end') this.#backlog = event.unfinished.length
    if (event.type === 'end')
      for (const view of this.#views.values()) view.ended ??= { time, reason: event.reason }
    this.#draw()
  }

  /** What is said while the view is drawn, where nobody would see it beside: shown in it, and said again when it has closed. */
  hear(kind: Saying, text: string): void {
    if (this.#closed) {
      this.output[kind](text)
      return
    }
    this.#heard.push([kind, text])
    this.#notes.push({ time: new Date().toISOString(), kind: kind === 'error' ? 'error' : 'note', text })
    this.#draw()
  }

  /** How far the pass over a checkpoint is. */
  readonly progress = (step: Step, fraction: number): void => {
    this.#measuring = fraction < 1 ? { step, fraction } : undefined
    if (fraction === 0 || fraction === 1) this.#draw()
  }

  #viewOf(run: string): RunView {
    const view = this.#views.get(run) ?? startRun(run)
    this.#views.set(run, view)
    return view
  }

  #draw(isLast = false): void {
    const beganMs = performance.now()
    if (beganMs < this.#restMs && !isLast) return
    const { columns = 80, rows = 24 } = this.terminal
    const options = {
      now: Date.now(),
      columns,
      rows: rows - 1,
      paint: this.output.color,
      measuring: this.#measuring,
      backlog: this.#backlog,
      notes: this.#notes,
    }
    this.#live.draw(watchFrame([...this.#views.values()], options))
    const endedMs = performance.now()
    this.#restMs = endedMs + (endedMs - beganMs) / MOST_OF_THE_TIME
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#measuring = undefined
    this.#draw(true)
    this.#live[Symbol.dispose]()
    this.#closed = true
    for (const [kind, text] of this.#heard) this.output[kind](text)
  }
}
