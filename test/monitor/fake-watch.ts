// A watch of runs with a fake model: what it tells, in words.
import { afterAll, beforeAll, vi } from 'vitest'
import { EventReader, type LoggedEvent } from '../../lib/events/event-log.js'
import type { WatchEvent } from '../../lib/events/watch-events.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { WatchRunOptions } from '../../lib/monitor/watch-options.js'
import { watchRuns } from '../../lib/monitor/watch-run.js'
import { fakeDirections } from '../directions/fake-directions.js'
import { fakePack } from '../directions/fake-model.js'
import { attachedStates, attachingModel } from '../trajectory/fake-run.js'

export const states = vi.mocked(hiddenStates)

/** `type step`, or the reason of an event that has no step. */
export const told = (event: WatchEvent): string =>
  'step' in event && event.step !== undefined
    ? `${event.type} ${event.step}`
    : 'reason' in event
      ? `${event.type}: ${event.reason}`
      : event.type

/** What a clock may say has passed between two questions: more than that is the machine's, which had something else to do. */
const MOST_MS = 5
const real = performance.now.bind(performance)
let [at, before, acting] = [real(), real(), 0]

/**
 * A watch that ends when nothing happens for some milliseconds ends too early where a busy machine stops the test for as long, or
 * where a script's own writing takes its time. On this clock neither counts.
 */
export function useSteadyClock(): void {
  beforeAll(() => {
    performance.now = () => {
      const now = real()
      if (acting === 0) at += Math.min(now - before, MOST_MS)
      before = now
      return at
    }
  })
  afterAll(() => {
    performance.now = real
  })
}

/** Does what a script says, while the steady clock stands. */
export async function act(action: (() => unknown) | undefined): Promise<void> {
  acting++
  try {
    await action?.()
  } finally {
    acting--
  }
}

/** Watches until idle, or as `options` say; an event that reads like a key of the script triggers its action. */
export async function watched(
  runs: readonly string[],
  options: Partial<WatchRunOptions> = {},
  script: Record<string, () => unknown> = {},
  model = attachingModel().model,
): Promise<WatchEvent[]> {
  states.mockReset()
  states.mockImplementation(attachedStates)
  const events: WatchEvent[] = []
  const pending = new Map(Object.entries(script))
  const defaults = { pack: fakePack(), cacheDir: false as const, intervalMs: 5, idleMs: 80 }
  for await (const event of watchRuns(model, fakeDirections(), runs, { ...defaults, ...options })) {
    events.push(event)
    const action = pending.get(told(event))
    pending.delete(told(event))
    await act(action)
  }
  if (pending.size > 0) throw new Error(`never told: ${[...pending.keys()]}; but ${events.map(told)}`)
  return events
}

/** What was told of checkpoints, without what a script's own writing makes of them for a moment. */
export const story = (events: readonly WatchEvent[]): string[] =>
  events.map(told).filter((one) => !/^(waiting \d|secured)/.test(one))

/** All that a log holds. @param folder the run's state */
export async function loggedIn(folder: string): Promise<LoggedEvent[]> {
  const reader = new EventReader(folder)
  const events: LoggedEvent[] = []
  for (let more = await reader.next(); more.length > 0; more = await reader.next()) events.push(...more)
  return events
}
