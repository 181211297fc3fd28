import { link, mkdir, mkdtemp, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EVENTS_FILE } from '../../lib/events/event-log.js'
import { listStates } from '../../lib/events/state-folder.js'
import { hashCheckpoint } from '../../lib/formats/run/checkpoint-folder.js'
import { schemaErrors } from '../helpers/schemas.js'
import { writeAdapter, writeCheckpoint } from '../trajectory/fake-run.js'
import { loggedIn, story, told, useSteadyClock, watched } from './fake-watch.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
useSteadyClock()

let folder: string
let run: string
let stateDir: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-resume-'))
  run = join(folder, 'run')
  stateDir = join(folder, 'state')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const state = async () => (await listStates(stateDir))[0]!.folder

const logged = async () => loggedIn(await state())

const once = { once: true } as const
const adapterFile = (step: number) => join(run, `checkpoint-${step}`, 'adapter_model.safetensors')

describe('a watch with a state', () => {
  it('should go on where it stopped: nothing twice, what is new once', async () => {
    await writeCheckpoint(run, 10, 1)
    await writeCheckpoint(run, 20, 2)
    const first = await watched([run], { stateDir, ...once })
    expect(story(first)).toEqual(['baseline', 'checkpoint 10', 'checkpoint 20', 'end: once'])
    await writeCheckpoint(run, 30, 3)
    const second = await watched([run], { stateDir, ...once })
    expect(story(second)).toEqual(['baseline', 'checkpoint 30', 'end: once'])
    expect(second[0]).toMatchObject({ resumed: { measured: 2, secured: 0, alarm: 'quiet' } })
    const log = await logged()
    expect(log.map(({ type }) => type)).toEqual([...first, ...second].map(({ type }) => type))
    expect(log.flatMap((event) => schemaErrors('event', event, { ours: true }))).toEqual([])
    expect(log.map(({ seq }) => seq)).toEqual(log.map((_, i) => i + 1))
    expect([...first, ...second].map(({ seq }) => seq)).toEqual(log.map(({ seq }) => seq))
  })

  it('should not lose final weights that repeat a step', async () => {
    for (const folder of [join(run, 'checkpoint-10'), run]) await writeAdapter(folder, 1)
    await writeCheckpoint(run, 10, 1)
    const first = await watched([run], { stateDir, ...once })
    expect(story(first)).toEqual(['baseline', 'checkpoint 10', 'end: once'])
    expect(first.at(-1)).toMatchObject({ finalAliasOf: 10 })
    const second = await watched([run], { stateDir, ...once })
    expect(story(second)).toEqual(['baseline', 'end: once'])
    expect(second[0]).toMatchObject({ resumed: { measured: 1, secured: 0 } })
    expect(second.at(-1)).toMatchObject({ lost: 0, finalAliasOf: 10 })
  })

  it('should tell nothing of files that were only touched, and measure weights that are new', async () => {
    await writeCheckpoint(run, 10, 1)
    await watched([run], { stateDir, ...once })
    const later = new Date(Date.now() + 60_000)
    await utimes(adapterFile(10), later, later)
    expect(story(await watched([run], { stateDir, ...once }))).toEqual(['baseline', 'end: once'])
    await writeCheckpoint(run, 10, 2)
    const again = await watched([run], { stateDir, ...once })
    expect(again.find(({ type }) => type === 'checkpoint')).toMatchObject({ step: 10, remeasured: true })
  })

  it('should measure what a killed watch had secured, though the trainer has deleted it', async () => {
    await writeCheckpoint(run, 10, 1)
    await watched([run], { stateDir, ...once })
    await writeCheckpoint(run, 20, 2)
    const stop = new AbortController()
    await watched(
      [run],
      { stateDir, idleMs: undefined, signal: stop.signal },
      { 'secured 20': () => stop.abort() },
    )
    // As a kill at that moment leaves it: the log ends with the event.
    const log = join(await state(), EVENTS_FILE)
    const text = await readFile(log, 'utf8')
    const end = text.indexOf('\n', text.lastIndexOf('"type":"secured","step":20')) + 1
    expect(end).toBeGreaterThan(1)
    expect(text.slice(end)).not.toContain('"type":"checkpoint"')

    await writeFile(log, text.slice(0, end))
    await rm(join(run, 'checkpoint-20'), { recursive: true })
    const events = await watched([run], { stateDir, ...once })
    expect(story(events)).toEqual(['baseline', 'checkpoint 20', 'end: once'])
    expect(events[0]).toMatchObject({ resumed: { measured: 1, secured: 1 } })
    const files = events.flatMap((event) => (event.type === 'checkpoint' ? event.files : []))
    expect(files[0]!.path).toBe('checkpoint-20/adapter_model.safetensors')

    expect(await readdir(join(await state(), 'secured'))).toEqual([])
  })

  it('should have each checkpoint once, wherever the log was cut', async () => {
    await writeCheckpoint(run, 10, 1)
    await writeCheckpoint(run, 20, 2)
    await watched([run], { stateDir, ...once })
    const log = join(await state(), EVENTS_FILE)
    const bytes = await readFile(log)
    const ends = [...bytes.keys()].filter((i) => bytes[i] === 10)
    const from = ends.at(-3)! + 1
    for (let cut = from; cut <= bytes.length; cut += 97) {
      await writeFile(log, bytes.subarray(0, cut))
      await watched([run], { stateDir, ...once })
      const steps = (await logged()).flatMap((event) => (event.type === 'checkpoint' ? [event.step] : []))
      expect(steps).toEqual([10, 20])
    }
  })

  it('should be done with a last step that an earlier watch has measured', async () => {
    for (const step of [10, 20, 30]) await writeCheckpoint(run, step, step)
    const options = { stateDir, untilStep: 20, order: 'oldest' as const }
    const first = await watched([run], options)
    expect(story(first)).toEqual(['baseline', 'checkpoint 10', 'checkpoint 20', 'end: until-step'])
    await writeCheckpoint(run, 10, 5)
    const second = await watched([run], options)
    expect(story(second)).toEqual(['baseline', 'checkpoint 10', 'end: until-step'])
  })

  it('should name what came and went while no watch was there, by the save interval', async () => {
    const save = async (step: number) => {
      const path = await writeCheckpoint(run, step, step)
      await writeFile(
        join(path, 'trainer_state.json'),
        `{"global_step": ${step}, "save_steps": 10, "log_history": []}`,
      )
    }
    await save(30)
    const gaps = async () =>
      (await watched([run], { stateDir, ...once })).flatMap((event) => (event.type === 'gap' ? [event] : []))
    expect(await gaps()).toMatchObject([
      { after: 0, before: 30, every: 10, count: 2, reason: expect.stringMatching(/before this watch began/) },
    ])
    await save(40)
    expect(await gaps()).toEqual([])
    await save(80)
    expect(await gaps()).toMatchObject([
      { after: 40, before: 80, count: 3, reason: expect.stringMatching(/^no watch of this run was there/) },
    ])
    expect(await gaps()).toEqual([])
  })

  it('should tell of a gap once the save interval is known, though the checkpoint behind it was half-written', async () => {
    const save = async (step: number) => {
      const path = await writeCheckpoint(run, step, step)
      const file = join(path, 'trainer_state.json')
      await rm(file)
      return () => writeFile(file, `{"global_step": ${step}, "save_steps": 10, "log_history": []}`)
    }
    await (await save(10))()
    await watched([run], { stateDir, ...once })
    const finish = await save(40)
    const events = await watched([run], { stateDir }, { 'waiting 40': finish })
    expect(events.filter(({ type }) => type === 'gap')).toMatchObject([
      { after: 10, before: 40, count: 2, reason: expect.stringMatching(/^no watch of this run/) },
    ])
  })

  it('should not trust a save interval that the checkpoints do not bear out', async () => {
    for (const step of [47, 94, 188]) {
      const path = await writeCheckpoint(run, step, step)
      await writeFile(
        join(path, 'trainer_state.json'),
        `{"global_step": ${step}, "save_steps": 500, "log_history": []}`,
      )
    }
    const events = await watched([run], { stateDir, ...once })
    expect(events.filter(({ type }) => type === 'gap')).toMatchObject([
      { after: 94, before: 188, every: 47, count: 1 },
    ])
  })

  it('should refuse a second watch of the run, and let one with another state be', async () => {
    await writeCheckpoint(run, 10, 1)
    await watched(
      [run],
      { stateDir },
      {
        'checkpoint 10': async () => {
          await expect(watched([run], { stateDir, ...once })).rejects.toMatchObject({ code: 'FILE_ACCESS' })
          expect(story(await watched([run], { stateDir: join(folder, 'other'), ...once }))).toContain(
            'checkpoint 10',
          )
        },
      },
    )
  })

  it('should measure anew under other conditions', async () => {
    await writeCheckpoint(run, 10, 1)
    await watched([run], { stateDir, ...once })
    const events = await watched([run], { stateDir, ...once, layer: 3 })
    expect(story(events)).toEqual(['baseline', 'checkpoint 10', 'end: once'])
    expect(events[0]).not.toHaveProperty('resumed')
    expect(events[0]).toMatchObject({ setAside: 1 })
    const again = await watched([run], { stateDir, ...once, layer: 3 })
    expect(again[0]).not.toHaveProperty('setAside')
  })
})

describe('securing', () => {
  it.each(['link', 'copy'] as const)(
    'should keep (%s) what the trainer deletes before its turn',
    async (secure) => {
      for (const step of [10, 20, 30]) await writeCheckpoint(run, step, step)
      const events = await watched(
        [run],
        { stateDir, secure, order: 'oldest' },
        {
          'checkpoint 10': async () => {
            for (const step of [20, 30]) await rm(join(run, `checkpoint-${step}`), { recursive: true })
          },
        },
      )
      expect(story(events).filter((one) => one.startsWith('checkpoint'))).toEqual([
        ...['checkpoint 10', 'checkpoint 20', 'checkpoint 30'],
      ])
      expect(events.filter(({ type }) => type === 'lost')).toEqual([])
      const how = events.flatMap((event) => (event.type === 'secured' ? [event.how] : []))
      expect(how).toEqual([secure, secure, secure])
      expect(await readdir(join(await state(), 'secured'))).toEqual([])
    },
  )

  it('should tell what is lost when nothing is secured', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, step)
    const events = await watched(
      [run],
      { stateDir, secure: 'off', order: 'oldest' },
      {
        'checkpoint 10': () => rm(join(run, 'checkpoint-20'), { recursive: true }),
      },
    )
    expect(story(events).filter((one) => /20/.test(one))).toEqual(['lost 20'])
  })

  it('should tell a file that was written anew in place from the one that was secured', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, step)
    const was = await hashCheckpoint(join(run, 'checkpoint-20'))
    const events = await watched(
      [run],
      { stateDir, order: 'oldest' },
      {
        'checkpoint 10': () => writeCheckpoint(run, 20, 7),
      },
    )
    const twenty = events.filter((event) => 'step' in event && event.step === 20)
    const now = await hashCheckpoint(join(run, 'checkpoint-20'))
    const of = (type: string) =>
      twenty.flatMap((event) =>
        event.type === type && 'adapterSha256' in event ? [event.adapterSha256] : [],
      )
    expect(of('lost')).toEqual([was])
    expect(of('checkpoint')).toEqual([now])
  })

  it('should keep both versions when the trainer puts a new file in the place of the old', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, step)
    const events = await watched(
      [run],
      { stateDir, order: 'oldest' },
      {
        'checkpoint 10': async () => {
          await writeAdapter(join(folder, 'new'), 7)
          await rename(join(folder, 'new', 'adapter_model.safetensors'), adapterFile(20))
        },
      },
    )
    expect(story(events).filter((one) => /20/.test(one))).toEqual(['checkpoint 20', 'checkpoint 20'])
    expect(
      events
        .filter(({ type }) => type === 'checkpoint')
        .map((event) => 'remeasured' in event && event.remeasured),
    ).toEqual([...[false, false, true]])
  })

  it('should measure the newest first, and then the backlog', async () => {
    for (const step of [10, 20, 30]) await writeCheckpoint(run, step, step)
    const events = await watched(
      [run],
      { stateDir },
      {
        'checkpoint 30': async () => {
          await writeCheckpoint(run, 40, 40)
          // The pass waits for this reader; looks do not.
          while (!(await logged()).some((event) => event.type === 'secured' && event.step === 40))
            await sleep(5)
        },
      },
    )
    expect(story(events)).toEqual([
      ...['baseline', 'checkpoint 30', 'checkpoint 40', 'checkpoint 20', 'checkpoint 10', 'end: idle'],
    ])
    expect(events.flatMap((event) => (event.type === 'checkpoint' ? [event.backlog] : []))).toEqual([
      ...[2, 2, 1, 0],
    ])
  })

  it('should remove what a killed watch left and nobody waits for', async () => {
    await writeCheckpoint(run, 10, 1)
    await watched([run], { stateDir, ...once })
    const left = join(await state(), 'secured', '.1-10.tmp')
    await mkdir(left, { recursive: true })
    await link(adapterFile(10), join(left, 'adapter_model.safetensors'))
    await watched([run], { stateDir, ...once })
    expect(await readdir(join(await state(), 'secured'))).toEqual([])
  })

  it('should never touch the folders of the trainer', async () => {
    await writeCheckpoint(run, 10, 1)
    const listing = async () => (await readdir(run, { recursive: true })).sort()
    const before = await listing()
    const events = await watched([run], { stateDir, ...once })
    expect(events.map(told)).toContain('secured 10')
    expect(await listing()).toEqual(before)
  })
})
