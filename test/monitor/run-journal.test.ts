import { type FileHandle, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { WatchEvent } from '../../lib/events/watch-events.js'
import { RunJournal } from '../../lib/monitor/run-journal.js'
import { Log } from '../report/events.js'
import { loggedIn } from './fake-watch.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-journal-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true, force: true })
})

/** From now on no file can be written. */
async function fillDisk(): Promise<void> {
  const path = join(folder, 'a')
  await writeFile(path, '')
  const handle = await open(path)
  const prototype = Object.getPrototypeOf(handle) as FileHandle
  await handle.close()
  vi.spyOn(prototype, 'write').mockRejectedValue(Object.assign(new Error('no space'), { code: 'ENOSPC' }))
}

const secured = (step: number, adapterSha256: string) =>
  ({ type: 'secured', step, path: '', folder: `${step}`, adapterSha256, files: [] }) as never

const logged = () => loggedIn(join(folder, 'state'))

describe('a journal whose disk is full', () => {
  it('should keep so many events and no more, say so, and forget nothing that is secured', async () => {
    const told: WatchEvent[] = []
    const tell = async (event: WatchEvent) => void told.push(event)
    const journal = await RunJournal.open('/run', join(folder, 'state'), { conditions: 'c1', tell })
    const [baseline, ten, thirty] = new Log().baseline().checkpoint(10).checkpoint(30).events
    await journal.tell(baseline as never)
    await fillDisk()
    await journal.tell(secured(10, ten!.type === 'checkpoint' ? ten!.adapterSha256 : ''))
    await journal.tell(secured(20, 'b'.repeat(64)))
    await journal.tell(ten as never)
    for (let i = 0; i < 1300; i++) await journal.tell({ type: 'waiting', reason: `${i}` })
    vi.restoreAllMocks()
    await journal.tell(thirty as never)
    await journal.close()

    const errors = told.flatMap((event) => (event.type === 'error' ? [event.error.message] : []))
    expect(errors).toEqual([
      expect.stringMatching(/^events cannot be logged.*no space|ENOSPC/),
      expect.stringMatching(/^\d+ events could not be logged and are kept no longer/),
    ])
    const events = await logged()
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1))
    expect(events.length).toBeLessThan(1010)
    const waiting = events.filter(({ type }) => type === 'waiting')
    const said = events.flatMap((event) => (event.type === 'error' ? [event.error.message] : []))
    expect(said).toHaveLength(1)
    // The checkpoint and what was waited for: none is missing that is not counted.
    expect(Number.parseInt(said[0]!, 10)).toBe(1 + 1300 - waiting.length)
    const again = await RunJournal.open('/run', join(folder, 'state'), { conditions: 'c1', tell })
    expect(again.memory.secured.map(({ step }) => step)).toEqual([10, 20])
    expect([again.memory.sha256Of(10), typeof again.memory.sha256Of(30)]).toEqual([undefined, 'string'])
    await again.close()
  })

  it('should say nothing twice that was secured before the disk was full', async () => {
    const tell = async () => {}
    const journal = await RunJournal.open('/run', join(folder, 'state'), { conditions: 'c1', tell })
    await journal.tell(new Log().baseline().events[0]! as never)
    await journal.tell(secured(10, 'a'.repeat(64)))
    await fillDisk()
    await journal.tell(secured(20, 'b'.repeat(64)))
    for (let i = 0; i < 1300; i++) await journal.tell({ type: 'waiting', reason: `${i}` })
    await journal.tell(secured(30, 'c'.repeat(64)))
    for (let i = 0; i < 1300; i++) await journal.tell({ type: 'waiting', reason: `${i}` })
    vi.restoreAllMocks()
    await journal.close()

    const steps = (await logged()).flatMap((event) => (event.type === 'secured' ? [event.step] : []))
    expect(steps).toEqual([10, 20, 30])
  })
})
