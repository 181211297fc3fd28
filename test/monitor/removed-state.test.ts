// Somebody empties the state of a watch while it runs.
import { appendFile, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EVENTS_FILE } from '../../lib/events/event-log.js'
import { listStates } from '../../lib/events/state-folder.js'
import { type WatchEvent, watchEventJson } from '../../lib/events/watch-events.js'
import { RunJournal } from '../../lib/monitor/run-journal.js'
import { RunMemory } from '../../lib/monitor/run-memory.js'
import { RunSecuring } from '../../lib/monitor/run-securing.js'
import { schemaErrors } from '../helpers/schemas.js'
import { Log, verdict } from '../report/events.js'
import { writeCheckpoint } from '../trajectory/fake-run.js'
import { loggedIn, story, useSteadyClock, watched } from './fake-watch.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
useSteadyClock()

let folder: string
let run: string
let stateDir: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-removed-'))
  run = join(folder, 'run')
  stateDir = join(folder, 'state')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const state = async () => (await listStates(stateDir))[0]!.folder
const log = async () => join(await state(), EVENTS_FILE)

const logged = async () => loggedIn(await state())

const messages = (events: Awaited<ReturnType<typeof watched>>) =>
  events.flatMap((event) => (event.type === 'error' ? [event.error.message] : []))

describe('a log that is removed under a running watch', () => {
  it.each<[string, (path: string) => Promise<void>]>([
    ['is removed', (path) => rm(path)],
    ['gets another name', (path) => rename(path, `${path}.1`)],
    [
      'is rotated, with an empty one in its place',
      async (path) => {
        await rename(path, `${path}.1`)
        await writeFile(path, '')
      },
    ],
    ['is copied and emptied', (path) => truncate(path)],
  ])('should be begun anew with what is known, and be told of, when it %s', async (_, lose) => {
    for (const step of [10, 20, 30]) await writeCheckpoint(run, step, step)
    let last = 0
    const events = await watched(
      [run],
      { stateDir, order: 'oldest' },
      {
        'checkpoint 10': async () => {
          last = (await logged()).at(-1)!.seq
          await lose(await log())
        },
      },
    )
    expect(messages(events)).toEqual([
      expect.stringMatching(/was removed, moved or emptied while the watch ran/),
    ])
    expect(story(events).filter((one) => one.startsWith('checkpoint'))).toHaveLength(3)
    const now = await logged()
    expect(now.slice(0, 2)).toMatchObject([
      { type: 'error', seq: last + 1, error: { code: 'FILE_VANISHED' } },
      { type: 'baseline', seq: last + 2, resumed: { measured: 1, alarm: 'quiet' } },
    ])
    expect(now.map(({ seq }) => seq)).toEqual(now.map((_, i) => last + 1 + i))
    expect(now.flatMap((event) => schemaErrors('event', event, { ours: true }))).toEqual([])
    expect(now.flatMap((event) => (event.type === 'checkpoint' ? [event.step] : []))).toEqual([20, 30])
    // What stood in the old log alone is measured again, and nothing else is.
    const later = await watched([run], { stateDir, once: true })
    expect(story(later)).toEqual(['baseline', 'checkpoint 10', 'end: once'])
  })

  it('should be left alone when it is somebody else’s now, and be told of once', async () => {
    for (const step of [10, 20, 30]) await writeCheckpoint(run, step, step)
    const other = '{"an":"other"}\n'
    let path = ''
    const events = await watched(
      [run],
      { stateDir, secure: 'off', order: 'oldest' },
      {
        'checkpoint 10': async () => {
          path = await log()
          await writeFile(join(folder, 'new'), other)
          await rename(join(folder, 'new'), path)
        },
      },
    )
    expect(messages(events)).toEqual([expect.stringMatching(/^events are logged no more.*another file/)])
    expect(story(events).filter((one) => one.startsWith('checkpoint'))).toHaveLength(3)
    expect(await readFile(path, 'utf8')).toBe(other)
  })

  it('should be written no further when somebody else has written to it', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, step)
    let path = ''
    let before = ''
    const events = await watched(
      [run],
      { stateDir, secure: 'off', order: 'oldest' },
      {
        'checkpoint 10': async () => {
          path = await log()
          await appendFile(path, '{"an":"other"}\n')
          before = await readFile(path, 'utf8')
        },
      },
    )
    expect(messages(events)).toEqual([
      expect.stringMatching(/^events are logged no more.*changed by somebody/),
    ])
    expect(await readFile(path, 'utf8')).toBe(before)
  })

  it('should measure from where it lies what was secured in the folder that is gone', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, step)
    const events = await watched(
      [run],
      { stateDir, order: 'oldest', idleMs: 300 },
      {
        'checkpoint 10': async () => {
          while (!(await logged()).some((event) => event.type === 'secured' && event.step === 20))
            await sleep(5)
          await rm(stateDir, { recursive: true })
        },
      },
    )
    expect(story(events).filter((one) => one !== 'error')).toEqual([
      ...['baseline', 'checkpoint 10', 'checkpoint 20', 'end: idle'],
    ])
  })

  it('should not call lost what an earlier watch has secured, while the trainer still has it', async () => {
    await writeCheckpoint(run, 10, 1)
    await watched([run], { stateDir, once: true })
    const lines = (await readFile(await log(), 'utf8')).split('\n')
    const end = lines.findIndex((line) => line.includes('"type":"secured"')) + 1
    await writeFile(await log(), `${lines.slice(0, end).join('\n')}\n`)
    expect(story(await watched([run], { stateDir, once: true }))).toEqual([
      ...['baseline', 'checkpoint 10', 'end: once'],
    ])
  })
})

describe('RunMemory', () => {
  it('should know that an alarm stands of which the log that was begun anew says nothing else', () => {
    const events = (resumed: object) =>
      new Log()
        .baseline({ resumed: { lastEvent: '', measured: 3, secured: 0, ...resumed } as never })
        .checkpoint(40, { verdict: verdict('ok', 0.001) }).events
    const memoryAfter = (resumed: object) => {
      const memory = new RunMemory('c1')
      for (const event of events(resumed)) memory.apply(event)
      return memory
    }
    const memory = memoryAfter({ alarm: 'standing' })
    expect(memory.alarm).toBe('standing')
    expect(memory.alarmAfter(50, verdict('alarm', 0.5))).toBe('standing')
    expect(memory.alarmAfter(50, verdict('ok', 0.001))).toBe('cleared')
    expect(memoryAfter({ alarm: 'quiet' }).alarm).toBe('quiet')
  })
})

describe('a whole model', () => {
  it('should be said once to be unsecured', async () => {
    const events: WatchEvent[] = []
    const tell = async (event: WatchEvent) => void events.push(event)
    const journal = await RunJournal.open(run, undefined, { conditions: 'c1', tell })
    const securing = new RunSecuring(join(folder, 'secured'), 'link', journal)
    for (const step of [10, 20]) {
      const path = join(run, `checkpoint-${step}`)
      expect(await securing.secure({ step, path, folder: path, kind: 'model', stamp: '' })).toBeUndefined()
    }
    expect(events).toMatchObject([
      { type: 'unsecured', step: 10, reason: expect.stringMatching(/whole models/) },
    ])
    expect(events.flatMap((event) => schemaErrors('event', watchEventJson(event), { ours: true }))).toEqual(
      [],
    )
  })
})
