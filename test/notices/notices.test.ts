import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AlarmState, WatchEvent } from '../../lib/events/watch-events.js'
import { AppendLog } from '../../lib/formats/files/append-log.js'
import { type Channel, Undelivered } from '../../lib/notices/channel.js'
import type { Delivery } from '../../lib/notices/dispatcher.js'
import { FileChannel } from '../../lib/notices/file-channel.js'
import { Heartbeat } from '../../lib/notices/heartbeat.js'
import type { Notice } from '../../lib/notices/notice.js'
import { NOTICES_FILE, Notices } from '../../lib/notices/notices.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'traitscope-notices-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const checkpoint = (run: string, step: number, alarm: AlarmState, time: string) =>
  ({
    type: 'checkpoint',
    run,
    step,
    time,
    path: `${run}/checkpoint-${step}`,
    alarm,
    verdict: { verdict: 'alarm', em: 0.2, interval: [0.1, 0.3], threshold: 0.06, reasons: [] },
  }) as unknown as WatchEvent

/** Watches events with one channel, and returns what came and how it ended. */
async function watch(events: WatchEvent[], fail = false): Promise<{ got: Notice[]; deliveries: Delivery[] }> {
  const got: Notice[] = []
  const deliveries: Delivery[] = []
  const channel: Channel = {
    name: 'test',
    tries: 1,
    send: async (notice) => {
      if (fail) throw new Undelivered('down')
      got.push(notice)
    },
  }
  const stateOf = async (run: string) => join(folder, run.replaceAll('/', '_'))
  await using notices = new Notices([channel], { stateOf, onDelivery: (one) => deliveries.push(one) })
  for (const event of events) await notices.take(event)
  await notices.close()
  return { got, deliveries }
}

describe('Notices', () => {
  it('should tell people though it cannot be remembered, and remember it when it can', async () => {
    const got: Notice[] = []
    const troubles: string[] = []
    const channel: Channel = { name: 'test', tries: 1, send: async (notice) => void got.push(notice) }
    const state = join(folder, 'state')
    writeFileSync(state, 'in the way of a folder')
    const options = { stateOf: async () => state, onTrouble: (text: string) => troubles.push(text) }
    await using notices = new Notices([channel], options)
    await notices.take(checkpoint('/a', 10, 'raised', '2026-01-01T00:00:00Z'))
    await vi.waitFor(() => expect(troubles).toHaveLength(1), { timeout: 60_000 })
    expect(got).toHaveLength(1)
    expect(troubles[0]).toMatch(/^who was told is not remembered.*notices\.jsonl/)
    rmSync(state)
    await notices.take(checkpoint('/a', 20, 'cleared', '2026-01-01T00:00:01Z'))
    await notices.close()
    expect(got).toHaveLength(2)
    expect(readFileSync(join(state, NOTICES_FILE), 'utf8')).toContain('"kind":"cleared"')
  })

  it('should remember on when what it remembers in was given another name', async () => {
    const state = join(folder, 'rotated')
    const told = join(state, NOTICES_FILE)
    const channel: Channel = { name: 'test', tries: 1, send: async () => {} }
    await using notices = new Notices([channel], { stateOf: async () => state })
    await notices.take(checkpoint('/a', 10, 'raised', '2026-01-01T00:00:00Z'))
    await vi.waitFor(() => expect(readFileSync(told, 'utf8')).toContain('"kind":"alarm"'), {
      timeout: 60_000,
    })
    renameSync(told, `${told}.1`)
    await notices.take(checkpoint('/a', 20, 'cleared', '2026-01-01T00:00:01Z'))
    await notices.close()
    expect(readFileSync(told, 'utf8')).toMatch(/^\{"kind":"cleared"/)
  })

  it('should hold no file open between notices, because runs may be a thousand', async () => {
    const state = join(folder, 'held')
    const troubles: string[] = []
    const channel: Channel = { name: 'test', tries: 1, send: async () => {} }
    const options = { stateOf: async () => state, onTrouble: (text: string) => troubles.push(text) }
    await using notices = new Notices([channel], options)
    await notices.take(checkpoint('/a', 10, 'raised', '2026-01-01T00:00:00Z'))
    const told = join(state, NOTICES_FILE)
    await vi.waitFor(() => expect(readFileSync(told, 'utf8')).toMatch(/\n$/), { timeout: 60_000 })
    // Whoever holds it is its only writer.
    await vi.waitFor(async () => {
      await using log = await AppendLog.open(told, { key: () => undefined, parse: (value) => value })
      expect(log.path).toBe(told)
    })
    expect(troubles).toEqual([])
  })

  it('should keep the runs of a watch apart', async () => {
    const { got } = await watch([
      checkpoint('/a', 10, 'raised', '2026-01-01T00:00:00Z'),
      checkpoint('/b', 10, 'raised', '2026-01-01T00:00:01Z'),
      checkpoint('/a', 20, 'standing', '2026-01-01T00:00:02Z'),
      { type: 'waiting', reason: 'nothing of a run' },
    ])
    expect(got.map(({ run, step }) => [run, step])).toEqual([
      ['/a', 10],
      ['/b', 10],
    ])
  })

  it('should not tell again what an earlier watch has told', async () => {
    await watch([checkpoint('/a', 10, 'raised', '2026-01-01T00:00:00Z')])
    const lines = readFileSync(join(folder, '_a', NOTICES_FILE), 'utf8')
      .trimEnd()
      .split('\n')
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { kind: 'alarm', channel: 'test', isDelivered: true },
    ])
    const soon = await watch([checkpoint('/a', 20, 'standing', '2026-01-01T00:30:00Z')])
    expect(soon.got).toEqual([])
    const later = await watch([checkpoint('/a', 30, 'standing', '2026-01-01T01:00:00Z')])
    expect(later.got).toMatchObject([{ step: 30, repeated: true }])
  })

  it('should tell what an earlier watch could not deliver', async () => {
    const { deliveries } = await watch([checkpoint('/a', 10, 'raised', '2026-01-01T00:00:00Z')], true)
    expect(deliveries).toMatchObject([{ isDelivered: false, reason: 'down' }])
    const { got } = await watch([checkpoint('/a', 20, 'standing', '2026-01-01T00:00:10Z')])
    expect(got).toMatchObject([{ kind: 'alarm', step: 20 }])
    expect(got[0]).not.toHaveProperty('repeated')
  })

  it('should tell of an alarm that stands whoever was not told of it, though no checkpoint comes any more', async () => {
    const raised = { step: 10, time: '2026-01-01T00:00:00Z' }
    const begin = (time: string, resumed: object = { alarm: 'standing', raised }) =>
      ({ type: 'baseline', run: '/a', time, resumed }) as unknown as WatchEvent
    // Of the alarm before this one everybody was told.
    await watch([
      checkpoint('/a', 5, 'raised', '2025-12-31T00:00:00Z'),
      checkpoint('/a', 7, 'cleared', '2025-12-31T12:00:00Z'),
    ])
    await watch([checkpoint('/a', 10, 'raised', raised.time)], true)
    const { got } = await watch([begin('2026-01-01T00:00:10Z')])
    expect(got).toMatchObject([
      { kind: 'alarm', step: 10, message: expect.stringMatching(/raised 2026-01-01T/) },
    ])
    expect(got[0]).not.toHaveProperty('repeated')
    const again = await watch([
      begin('2026-01-01T00:00:20Z'),
      checkpoint('/a', 20, 'standing', '2026-01-01T00:00:30Z'),
    ])
    expect(again.got).toEqual([])
    expect((await watch([begin('2026-01-02T00:00:00Z', { alarm: 'quiet' })])).got).toEqual([])

    const stop = join(folder, 'stop')
    const stateOf = async () => join(folder, '_a')
    await using notices = new Notices([new FileChannel(async () => stop, 'stop file', ['alarm'])], {
      stateOf,
    })
    await notices.take(begin('2026-01-01T00:00:40Z'))
    await notices.close()
    expect(JSON.parse(readFileSync(stop, 'utf8'))).toMatchObject({ kind: 'alarm', step: 10 })
  })
})

describe('what ends several runs', () => {
  it('should be told of each, with what was measured of it', async () => {
    const got: Notice[] = []
    const channel: Channel = { name: 'test', tries: 1, send: async (notice) => void got.push(notice) }
    await using notices = new Notices([channel], { least: 'info' })
    for (const [run, step] of [
      ['/a', 10],
      ['/a', 20],
      ['/b', 10],
    ] as const)
      await notices.take(checkpoint(run, step, 'standing', '2026-01-01T00:00:00Z'))
    await notices.take({ type: 'end', reason: 'idle', measured: 3, lost: 0, unfinished: [] })
    await notices.close()
    const ended = got.filter(({ kind }) => kind === 'ended')
    expect(ended.map(({ run, message }) => [run, message])).toEqual([
      ['/a', 'a: the watch has ended (idle), 2 checkpoints measured'],
      ['/b', 'b: the watch has ended (idle), 1 checkpoints measured'],
    ])
  })
})

describe('a stop file', () => {
  it('should be written again at once for an alarm that comes back, and by no later notice of it', async () => {
    const path = join(folder, 'stop')
    const channel = new FileChannel(async () => path, 'stop file', ['alarm'])
    let written = 0
    const onDelivery = () => void written++
    await using notices = new Notices([channel], { tickMs: 5, coolDownMs: 60_000, onDelivery })
    const at = (minute: number) => new Date(Date.now() + 60_000 * minute).toISOString()
    const isThere = () => existsSync(path)
    await notices.take(checkpoint('/a', 10, 'raised', at(-10)))
    await vi.waitFor(() => expect([written, isThere()]).toEqual([1, true]), { timeout: 60_000 })
    rmSync(path)
    await notices.take(checkpoint('/a', 20, 'cleared', at(-9.9)))
    await notices.take(checkpoint('/a', 30, 'raised', at(-9.8)))
    await vi.waitFor(() => expect([written, isThere()]).toEqual([2, true]), { timeout: 60_000 })
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ step: 30, heldBack: true })
    rmSync(path)
    // The cool-down is over by the clock: people are told, the trainer has been asked.
    await new Promise((resolve) => setTimeout(resolve, 50))
    await notices.close()
    expect(isThere()).toBe(false)
  })
})

describe('Heartbeat', () => {
  it('should call, and say when calls begin to fail and when they go through again', async () => {
    let [calls, status] = [0, 200]
    const server = createServer((_, response) => {
      calls++
      response.writeHead(status).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const said: (string | undefined)[] = []
    const until = async (is: () => boolean) => {
      while (!is()) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/s3cret`
      using _ = new Heartbeat(url, (reason) => said.push(reason), 10)
      await until(() => calls >= 3)
      status = 500
      await until(() => said.length === 1)
      status = 200
      await until(() => said.length === 2)
    }
    expect(said).toEqual(['it answered 500', undefined])
    await new Promise((resolve) => server.close(resolve))
  })

  it('should say that nobody answers, which is no failed connection', async () => {
    const server = createServer(() => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const said: (string | undefined)[] = []
    {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/s3cret`
      using _ = new Heartbeat(url, (reason) => said.push(reason), 60_000, 50)
      while (said.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(said).toEqual(['no answer within 0.05 s'])
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
})
