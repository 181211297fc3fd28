import type { Verdict } from '../../lib/detector/verdict.js'
import type { LoggedEvent } from '../../lib/events/event-log.js'
import type { MarginChange } from '../../lib/labels/margins/margins.js'
import { applyEvent } from '../../lib/report/apply-event.js'
import { type RunView, startRun } from '../../lib/report/run-view.js'

const START = Date.parse('2026-11-29T12:00:00Z')

export const RUN = '/runs/out'
export const TRAITS = ['honesty', 'sycophancy']

export function verdict(kind: Verdict['verdict'], em: number | null, reasons: string[] = []): Verdict {
  return {
    schemaVersion: 1,
    verdict: kind,
    em,
    interval: em === null ? null : [em / 2, em * 2],
    nominalCoverage: 0.9,
    threshold: 0.06,
    novelty: null,
    reasons,
  }
}

/** A margin with its interval, in nats per token. */
export const margin = (low: number, high: number): MarginChange => ({
  ...{ change: (low + high) / 2, standardError: 0.01, interval: [low, high] },
  ...{ pairs: 40, questions: 13 },
})

type Fields<T extends LoggedEvent['type']> = Partial<Extract<LoggedEvent, { type: T }>>

/** Writes the log of a run, a minute per event. */
export class Log {
  readonly events: LoggedEvent[] = []

  constructor(private readonly run = RUN) {}

  /** When the next event comes, in milliseconds since 1970. */
  get now(): number {
    return START + 60_000 * this.events.length
  }

  add<T extends LoggedEvent['type']>(type: T, fields: Fields<T>): this {
    const stamp = { type, seq: this.events.length + 1, run: this.run, schemaVersion: 2 }
    this.events.push({ ...stamp, time: new Date(this.now).toISOString(), ...fields } as LoggedEvent)
    return this
  }

  baseline(fields: Fields<'baseline'> = {}): this {
    return this.add('baseline', {
      traits: TRAITS,
      layers: [3, 7],
      projections: [],
      activationNorms: [10, 20],
      cached: false,
      tokens: { total: 100, computed: 50 },
      noiseFloor: null,
      conditions: 'c1',
      ...fields,
    })
  }

  checkpoint(step: number | 'final', fields: Fields<'checkpoint'> = {}): this {
    const at = step === 'final' ? 100 : step
    const drift = (scale: number) => ({ step, values: [-scale * at, (scale * at) / 2], norm: scale * at })
    return this.add('checkpoint', {
      step,
      path: `${this.run}/checkpoint-${step}`,
      adapterSha256: 'a'.repeat(64),
      files: [{ path: `checkpoint-${step}/adapter_model.safetensors`, sha256: 'ab'.repeat(32) }],
      remarks: [],
      stateChange: [0.1, 0.2],
      remeasured: false,
      loss: 1 / (1 + at),
      projections: [],
      drift: [drift(0.1), drift(0.001)],
      primary: 1,
      tokens: { total: 100, computed: 50 },
      milliseconds: 1500,
      backlog: 0,
      writtenAt: new Date(this.now - 5000).toISOString(),
      ...fields,
    })
  }
}

/** The runs of a list of events, in the order of their first one. */
export function viewsOfEvents(events: Iterable<LoggedEvent>): RunView[] {
  const views = new Map<string, RunView>()
  for (const event of events) {
    const view = views.get(event.run) ?? startRun(event.run)
    views.set(event.run, view)
    applyEvent(view, event)
  }
  return [...views.values()]
}
