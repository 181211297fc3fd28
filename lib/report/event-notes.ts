import type { LoggedEvent } from '../events/event-log.js'
import { stepsText } from '../trajectory/steps-text.js'
import type { Note } from './run-view.js'

/** What there is to say of an event beside its numbers, in sentences for a person; nothing for most. */
export function noteOf(event: LoggedEvent): Pick<Note, 'kind' | 'step' | 'text'>[] {
  switch (event.type) {
    case 'baseline': {
      const { resumed } = event
      if (resumed === undefined) return [{ kind: 'note', text: 'watching' }]
      return [
        {
          kind: 'note',
          text: `watching again, ${resumed.measured} checkpoints measured before; the last event of the watch before was at ${resumed.lastEvent}`,
        },
      ]
    }
    case 'checkpoint': {
      const { step, alarm, remeasured, verdict, loss, adapter } = event
      const notes: Pick<Note, 'kind' | 'step' | 'text'>[] = []
      if (alarm === 'raised')
        notes.push({ kind: 'alarm', step, text: `alarm: ${because(verdict?.reasons ?? [])}` })
      if (alarm === 'cleared') notes.push({ kind: 'cleared', step, text: 'alarm cleared' })
      if (remeasured) notes.push({ kind: 'note', step, text: 'measured again: its weights have changed' })
      if (loss === null || (loss !== undefined && !Number.isFinite(loss)))
        notes.push({ kind: 'error', step, text: 'the training loss is no number: the run has diverged' })
      if (adapter?.merged)
        notes.push({ kind: 'note', step, text: `merged into a copy of the base: ${adapter.merged}` })
      return notes
    }
    case 'waiting':
      return [{ kind: 'waiting', ...stepOf(event), text: `waiting: ${event.reason}` }]
    case 'skipped':
      return [{ kind: 'skipped', ...stepOf(event), text: `skipped: ${event.reason}` }]
    case 'unsecured':
      return [{ kind: 'note', ...stepOf(event), text: `not secured: ${event.reason}` }]
    case 'lost':
      return [{ kind: 'lost', ...stepOf(event), text: `lost: ${event.reason}` }]
    case 'gap': {
      const { count, every } = event
      const which = ` (${count === 1 ? 'a checkpoint' : `${count} checkpoints`}, saved every ${every} steps)`
      return [
        {
          kind: 'gap',
          text: `no watch has seen what came between step ${event.after} and step ${event.before}${which}: ${event.reason}`,
        },
      ]
    }
    case 'falling-behind':
      return [{ kind: 'late', text: `falling behind, ${event.backlog} checkpoints wait: ${event.advice}` }]
    case 'revised':
      return [
        { kind: 'note', ...stepOf(event), text: `verdict now ${event.verdict.verdict}: ${event.reason}` },
      ]
    case 'error':
      return [{ kind: 'error', ...stepOf(event), text: `${event.error.message} [${event.error.code}]` }]
    case 'end':
      return [
        {
          kind: 'note',
          text: `the watch ended (${event.reason}): ${event.measured} checkpoints measured${event.prompts ? `, by ${event.prompts.read} of ${event.prompts.of} prompts` : ''}${event.lost > 0 ? `, ${event.lost} lost` : ''}${event.unfinished.length > 0 ? `, not measured: step ${stepsText(event.unfinished)}` : ''}`,
        },
      ]
    default:
      return []
  }
}

const stepOf = ({ step }: { step?: Note['step'] }): Pick<Note, 'step'> => (step === undefined ? {} : { step })
const because = (reasons: readonly string[]) => (reasons.length === 0 ? 'raised' : reasons.join('; '))
