import { appendFile, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TraitscopeError } from '../../lib/errors.js'
import { EVENTS_FILE, EventLog, EventReader, type LoggedEvent } from '../../lib/events/event-log.js'
import { listStates, listStatesAgain, runState } from '../../lib/events/state-folder.js'
import type { WatchEvent } from '../../lib/events/watch-events.js'
import { schemaErrors } from '../helpers/schemas.js'

let root: string
let state: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'traitscope-events-'))
  state = join(root, 'state')
})
afterEach(() => rm(root, { recursive: true, force: true }))

const RUN = '/runs/one'
const EVENTS: WatchEvent[] = [
  { type: 'waiting', reason: 'there is no checkpoint yet' },
  { type: 'error', step: 10, error: new TraitscopeError('FILE_INVALID', 'expected a header'), retryMs: 5 },
  { type: 'lost', step: 20, reason: 'zwölf 🙂\n"}' },
  { type: 'end', reason: 'idle', measured: 0, lost: 1, unfinished: [] },
]

async function written(events: readonly WatchEvent[] = EVENTS): Promise<Buffer> {
  await using log = await EventLog.open(state, RUN, () => {})
  for (const event of events) await log.append(event)
  return readFile(join(state, EVENTS_FILE))
}

async function logged(): Promise<LoggedEvent[]> {
  const events: LoggedEvent[] = []
  await using _ = await EventLog.open(state, RUN, (event) => events.push(event))
  return events
}

describe('EventLog', () => {
  it('should number the events on, and say of each when and of which run', async () => {
    await written()
    await written([EVENTS[0]!])
    const events = await logged()
    expect(events.map(({ type, seq, run }) => [type, seq, run])).toEqual([
      ...[...EVENTS, EVENTS[0]!].map(({ type }, i) => [type, i + 1, RUN]),
    ])
    expect(events.flatMap((event) => schemaErrors('event', event, { ours: true }))).toEqual([])
    expect(events[1]).toMatchObject({ error: { code: 'FILE_INVALID', message: 'expected a header' } })
    expect(Math.abs(Date.now() - Date.parse(events[0]!.time))).toBeLessThan(60_000)
  })

  it('should go on after a kill at any byte of the last two events', async () => {
    const bytes = await written()
    const ends = [...bytes.keys()].filter((i) => bytes[i] === 10).map((i) => i + 1)
    for (let cut = ends[1]!; cut <= bytes.length; cut++) {
      await writeFile(join(state, EVENTS_FILE), bytes.subarray(0, cut))
      const whole = ends.filter((end) => end - 1 <= cut).length
      expect(await logged()).toHaveLength(whole)
      await written([EVENTS[0]!])
      const after = await logged()
      expect(after.map(({ seq }) => seq)).toEqual(Array.from({ length: whole + 1 }, (_, i) => i + 1))
    }
  })

  it('should refuse a second watch of the run, and a log of another version', async () => {
    await using log = await EventLog.open(state, RUN, () => {})
    await expect(logged()).rejects.toMatchObject({ code: 'FILE_ACCESS' })
    await log.close()
    await writeFile(join(state, EVENTS_FILE), '{"type":"end","schemaVersion":1}\n')
    await expect(logged()).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringMatching(/version 2 .*line 1 .*found version 1/),
    })
  })
})

describe('EventReader', () => {
  it('should give what has come since, whole events only', async () => {
    const reader = new EventReader(state)
    expect(await reader.next()).toEqual([])
    const bytes = await written()
    const half = bytes.length - 20
    await writeFile(join(state, EVENTS_FILE), bytes.subarray(0, half))
    expect((await reader.next()).map(({ seq }) => seq)).toEqual([1, 2, 3])
    expect(await reader.next()).toEqual([])
    await appendFile(join(state, EVENTS_FILE), bytes.subarray(half))
    expect((await reader.next()).map(({ type }) => type)).toEqual(['end'])
    expect(reader.seq).toBe(4)
    expect((await new EventReader(state).next(2)).map(({ seq }) => seq)).toEqual([3, 4])
  })

  it('should read events that are longer than a piece, and many pieces of them', async () => {
    const long = { ...EVENTS[0]!, reason: 'x'.repeat(3 << 20) } as WatchEvent
    await written([...EVENTS, long, ...EVENTS])
    const reader = new EventReader(state)
    const seqs: number[] = []
    for (let events = await reader.next(); events.length > 0; events = await reader.next())
      seqs.push(...events.map(({ seq }) => seq))
    expect(seqs).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
  })
})

describe('runState', () => {
  it('should be one folder per run, whatever link leads to it, and be listed', async () => {
    await symlink(root, join(root, 'link'))
    const own = await runState(join(root, 'states'), join(root, 'run'))
    expect(await runState(join(root, 'states'), join(root, 'link', 'run'))).toEqual(own)
    expect((await runState(join(root, 'states'), join(root, 'other', 'run'))).folder).not.toBe(own.folder)
    expect(await listStates(join(root, 'states'))).toEqual([])
    await using log = await EventLog.open(own.folder, own.run, () => {})
    await log.append(EVENTS[0]!)
    expect(await listStates(join(root, 'states'))).toEqual([own])
  })

  it('should read no log twice for who lists them again and again', async () => {
    const own = await runState(join(root, 'states'), join(root, 'run'))
    {
      await using log = await EventLog.open(own.folder, own.run, () => {})
      await log.append(EVENTS[0]!)
    }
    const known = new Map<string, string>()
    expect(await listStatesAgain(join(root, 'states'), known)).toEqual([own])
    await writeFile(join(own.folder, EVENTS_FILE), 'damaged\n')
    expect(await listStatesAgain(join(root, 'states'), known)).toEqual([own])
    // What could not be read may be mended.
    const anew = new Map<string, string>()
    expect(await listStatesAgain(join(root, 'states'), anew)).toEqual([{ ...own, run: own.folder }])
    expect(anew.size).toBe(0)
  })

  it('should list a log that cannot be read by its folder, so that nobody takes it for absent', async () => {
    const own = await runState(join(root, 'states'), join(root, 'run'))
    const long: WatchEvent = { type: 'waiting', reason: 'x'.repeat(50_000) }
    {
      await using log = await EventLog.open(own.folder, own.run, () => {})
      await log.append(long)
    }
    await writeFile(join(root, 'states', 'watch', 'notes.txt'), 'no state')
    expect(await listStates(join(root, 'states'))).toEqual([own])
    await writeFile(join(own.folder, EVENTS_FILE), 'damaged\n')
    expect(await listStates(join(root, 'states'))).toEqual([{ ...own, run: own.folder }])
  })
})
