import type { ServerResponse } from 'node:http'
import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import type { LoggedEvent } from '../../lib/events/event-log.js'
import { streamEvents } from '../../lib/serve/event-stream.js'
import type { FeedListener, RunFeed } from '../../lib/serve/run-feed.js'

it('should read from the log what was logged while a slow client read the past, and keep none of it in memory', async () => {
  const response = Object.assign(new PassThrough(), { writeHead: () => {} })
  const summary = { id: 'a', seq: 1 }
  let listener: FeedListener | undefined
  const log = (seq: number) => {
    summary.seq = seq
    listener!('a', [{ seq } as LoggedEvent], false)
  }
  const asked: [after: number, upTo: number][] = []
  const feed = {
    runs: [summary],
    run: () => summary,
    look: async () => {},
    listen: (one: FeedListener) => {
      listener = one
      return () => {}
    },
    async *history(_: string, after: number, upTo: number) {
      asked.push([after, upTo])
      for (let seq = after + 1; seq <= upTo; seq++) yield [{ seq } as LoggedEvent]
      if (upTo === 1) for (const seq of [2, 3]) log(seq)
    },
  }
  const streaming = streamEvents(feed as unknown as RunFeed, response as unknown as ServerResponse, new Map())
  let text = ''
  response.on('data', (chunk) => {
    text += chunk
  })
  const seqs = () => [...text.matchAll(/"seq":(\d)/g)].map(([, seq]) => Number(seq))
  await expect.poll(seqs).toEqual([1, 2, 3])
  log(4)
  await expect.poll(seqs).toEqual([1, 2, 3, 4])
  expect(asked).toEqual([
    [0, 1],
    [1, 3],
  ])
  response.destroy()
  await streaming
})
