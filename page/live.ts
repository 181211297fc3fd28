/** Follows a watch: what has come since, and only that. */
import type { LoggedEvent } from '../lib/events/event-log.js'
import type { RunLabels } from '../lib/report/apply-labels.js'
import type { LiveSource } from '../lib/report/page.js'

/** How a page stands with its source. */
export type Connection = 'live' | 'lost'

const FIRST_WAIT = 1000
const LONGEST_WAIT = 30_000

/** An event and the short name of its run. */
export interface Message {
  id: string
  event: LoggedEvent
}

/** Never ends: a source that is gone is asked again, ever less often. */
export function follow(
  { events, cursor }: LiveSource,
  take: (message: Message) => void,
  say: (connection: Connection) => void,
): void {
  /** The last number of each run. */
  const read = new Map(
    cursor.split(',').flatMap((part) => (part === '' ? [] : [part.split(':') as [string, string]])),
  )
  let wait = FIRST_WAIT
  const open = () => {
    const after = [...read].map((part) => part.join(':')).join(',')
    const source = new EventSource(`${events}?after=${after}`)
    source.onopen = () => {
      wait = FIRST_WAIT
      say('live')
    }
    source.onmessage = ({ data }) => {
      const message = parsed(data)
      if (!message) return
      read.set(message.id, String(message.event.seq))
      take(message)
    }
    source.onerror = () => {
      say('lost')
      source.close()
      setTimeout(open, wait)
      wait = Math.min(2 * wait, LONGEST_WAIT)
    }
  }
  open()
}

/** What is no event of ours is left alone: a proxy may say something too. */
function parsed(text: string): Message | undefined {
  try {
    const { id, event } = JSON.parse(text) as Partial<Message>
    const whole =
      typeof event?.type === 'string' && typeof event.run === 'string' && typeof event.seq === 'number'
    return whole ? { id: String(id), event } : undefined
  } catch {
    return undefined
  }
}

/** Labels of a run; undefined where the server cannot be asked, or cannot read them. */
export async function labelsOf(address: string, id: string): Promise<RunLabels | undefined> {
  try {
    const response = await fetch(`${address}?run=${encodeURIComponent(id)}`)
    return response.ok ? ((await response.json()) as RunLabels) : undefined
  } catch {
    return undefined
  }
}
