import type { EventJson } from './watch-events.js'

/**
 * How many checkpoints wait once this has happened: between two events that count them, those that are secured come and those that
 * will not be measured go. What is not secured is counted with the next checkpoint, and taken off when it is lost all the same: under
 * `--secure off` it may be too low until then, by as many as came or were lost since the last one.
 */
export function backlogAfter(backlog: number, event: EventJson): number {
  switch (event.type) {
    case 'checkpoint':
    case 'falling-behind':
      return event.backlog
    case 'baseline':
      return event.resumed?.secured ?? 0
    case 'secured':
      return backlog + 1
    case 'lost':
      return Math.max(0, backlog - 1)
    case 'error':
      return event.step === undefined || event.retryMs !== undefined ? backlog : Math.max(0, backlog - 1)
    case 'end':
      return event.unfinished.length
    default:
      return backlog
  }
}
