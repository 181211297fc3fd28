import type { ServerResponse } from 'node:http'
import type { LoggedEvent } from '../events/event-log.js'
import type { RunFeed } from './run-feed.js'

const KEEP_ALIVE_MS = 15_000
/** What a client that does not read may leave lying before it is let go; it comes back with its cursor. */
const MOST_BUFFERED = 8 << 20

/** How far a client has read, per run. */
export type Cursor = Map<string, number>

/** `id:seq,id:seq`, of the last event of each run; undefined for what is none. */
export function parseCursor(text: string): Cursor | undefined {
  const cursor: Cursor = new Map()
  if (text === '') return cursor
  for (const part of text.split(',')) {
    const found = /^([\w.-]+):(\d{1,15})$/.exec(part)
    if (!found) return undefined
    cursor.set(found[1]!, Number(found[2]))
  }
  return cursor
}

/**
 * Sends the events of some runs as server-sent events: first those after the cursor, from the logs, then each as it is
 * logged. Every message has its run and number as its id. The ids of the last message of each run, joined by commas, are the
 * cursor that a client comes back with; it is not sent along, because of a thousand runs it is longer than most events. One that a
 * browser brings back by itself knows its last message alone: of the other runs it is told all that came after its first cursor.
 *
 * @param ids the runs; all, those that come later too, where it is undefined
 * @returns when the client has gone
 */
export async function streamEvents(
  feed: RunFeed,
  response: ServerResponse,
  cursor: Cursor,
  ids?: ReadonlySet<string>,
): Promise<void> {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  })
  const gone = new Promise<void>((resolve) => response.once('close', resolve))
  const write = (text: string) => {
    if (response.destroyed) return
    if (response.writableLength > MOST_BUFFERED) return void response.destroy()
    response.write(text)
  }
  const send = (id: string, event: LoggedEvent) => {
    if (event.seq <= (cursor.get(id) ?? 0)) return
    cursor.set(id, event.seq)
    write(`id: ${id}:${event.seq}\ndata: ${JSON.stringify({ id, event })}\n\n`)
  }
  const isWanted = (id: string) => ids === undefined || ids.has(id)
  let isLive = false
  const stop = feed.listen((id, events, isAnew) => {
    if (!isWanted(id)) return
    if (isAnew) cursor.delete(id)
    if (isLive) for (const event of events) send(id, event)
  })
  // To whoever does not read nothing is said: the server lets go who takes nothing for too long.
  const timer = setInterval(() => response.writableNeedDrain || write(': still here\n\n'), KEEP_ALIVE_MS)
  try {
    write('retry: 2000\n\n')
    await feed.look()
    // What is logged while the past is read is read from the log too, and waits in no memory.
    const behind = () => feed.runs.filter(({ id, seq }) => isWanted(id) && cursor.get(id) !== seq)
    for (let runs = behind(); runs.length > 0; runs = behind()) {
      for (const summary of runs) {
        const { id, seq } = summary
        // Whoever has read more than there is has read another log.
        if ((cursor.get(id) ?? 0) > seq) cursor.delete(id)
        for await (const events of feed.history(id, cursor.get(id) ?? 0, seq)) {
          if (response.destroyed) return
          for (const event of events) send(id, event)
          if (response.writableNeedDrain)
            await Promise.race([gone, new Promise((go) => response.once('drain', go))])
        }
        // Of a log that was begun anew meanwhile this was the past of another.
        if (feed.run(id) === summary) cursor.set(id, seq)
        else cursor.delete(id)
      }
    }
    isLive = true
    await gone
  } finally {
    clearInterval(timer)
    stop()
  }
}
