import { execFileSync } from 'node:child_process'
import {
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  realpath,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { TraitscopeError } from '../../lib/errors.js'
import { EventReader } from '../../lib/events/event-log.js'
import { listStates } from '../../lib/events/state-folder.js'
import { attachedStates, attachingModel, writeAdapter, writeCheckpoint } from '../trajectory/fake-run.js'
import { states, story, told, useSteadyClock, watched } from './fake-watch.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
useSteadyClock()

let folder: string
let run: string
let stateDir: string
beforeEach(async () => {
  // Runs are known by their real paths.
  folder = await realpath(await mkdtemp(join(tmpdir(), 'traitscope-robust-')))
  run = join(folder, 'run')
  stateDir = join(folder, 'state')
  await mkdir(run)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true, force: true })
})

const once = { once: true } as const
const at = (step: number) => join(run, `checkpoint-${step}`)
const later = (seconds: number) => new Date(Date.now() + 1000 * seconds)

describe('what stands where a checkpoint should', () => {
  const cases: [what: string, make: (path: string) => unknown, message: RegExp][] = [
    ['a link that leads nowhere', (path) => symlink(join(folder, 'no'), path), /leads nowhere \(ENOENT\)/],
    ['a link in a circle', (path) => symlink(path, path), /leads in a circle/],
    ['a named pipe', (path) => execFileSync('mkfifo', [path]), /found a named pipe/],
    ['a link to a device', (path) => symlink('/dev/zero', path), /found a link to a device/],
  ]
  it.each(cases)('should tell of %s once, and go on', async (_, make, message) => {
    await writeCheckpoint(run, 10, 1)
    await make(at(20))
    const events = await watched([run], { stateDir })
    expect(story(events)).toEqual(['baseline', 'error 20', 'checkpoint 10', 'end: idle'])
    expect(events.find(({ type }) => type === 'error')).toMatchObject({
      error: { message: expect.stringMatching(message) },
    })
  })

  it('should measure it once it has been mended', async () => {
    await symlink(join(folder, 'elsewhere'), at(10))
    const events = await watched(
      [run],
      { stateDir, idleMs: 400 },
      {
        'error 10': async () => rename(await writeCheckpoint(folder, 10, 1), join(folder, 'elsewhere')),
      },
    )
    expect(story(events)).toEqual(['baseline', 'error 10', 'checkpoint 10', 'end: idle'])
  })

  const files: [what: string, make: (path: string) => unknown][] = [
    ['a named pipe', (path) => execFileSync('mkfifo', [path])],
    ['a device', (path) => symlink('/dev/zero', path)],
    ['a folder', (path) => mkdir(path)],
    ['a link in a circle', (path) => symlink(path, path)],
  ]
  const names = ['adapter_model.safetensors', 'adapter_config.json', 'trainer_state.json']
  it.each(files.flatMap(([what, make]) => names.map((name) => [what, name, make] as const)))(
    'should not hang on %s as %s',
    async (_, name, make) => {
      await writeCheckpoint(run, 10, 1)
      await writeCheckpoint(run, 20, 1)
      await rm(join(at(20), name))
      await make(join(at(20), name))
      const events = await watched([run], { stateDir, ...once })
      expect(story(events).filter((one) => one.startsWith('checkpoint'))).toEqual(['checkpoint 10'])
      const about = events.filter((event) => 'step' in event && event.step === 20)
      expect(about.map(({ type }) => type)).toEqual([expect.stringMatching(/^(error|waiting)$/)])
      expect(events.at(-1)).toMatchObject({ type: 'end', measured: 1 })
    },
  )
})

describe('what trainers leave', () => {
  it('should say that what was saved before the first step is no checkpoint', async () => {
    await writeCheckpoint(run, 0, 0)
    await writeCheckpoint(run, 10, 1)
    const events = await watched([run], { stateDir })
    expect(story(events)).toEqual(['baseline', 'skipped 0', 'checkpoint 10', 'end: idle'])
  })

  it('should wait for a checkpoint that the trainer says is incomplete', async () => {
    await writeCheckpoint(run, 10, 1)
    const mark = join(at(10), 'checkpoint-is-incomplete.txt')
    await writeFile(mark, '')
    const events = await watched([run], { stateDir }, { 'waiting 10': () => rm(mark) })
    expect(events.map(told).slice(0, 2)).toEqual(['baseline', 'waiting 10'])
    expect(story(events)).toEqual(['baseline', 'checkpoint 10', 'end: idle'])
    await writeFile(mark, '')
    await writeCheckpoint(run, 20, 1)
    await writeFile(join(at(20), 'checkpoint-is-incomplete.txt'), '')
    expect((await watched([run], { stateDir })).at(-1)).toMatchObject({ unfinished: [20] })
  })

  it('should not take final weights of an earlier run for those of this one', async () => {
    await writeAdapter(run, 9)
    const events = await watched([run], { stateDir }, { 'skipped final': () => writeCheckpoint(run, 10, 1) })
    expect(story(events)).toEqual(['baseline', 'skipped final', 'checkpoint 10', 'end: idle'])
    // The end of this run, in its place.
    await writeAdapter(run, 2)
    await utimes(join(run, 'adapter_model.safetensors'), later(9), later(9))
    expect(story(await watched([run], { stateDir }))).toEqual(['baseline', 'checkpoint final', 'end: idle'])
  })

  it('should say what it waits for when final weights, all that was there, are gone', async () => {
    await writeAdapter(run, 9)
    const gone = () =>
      Promise.all(['adapter_model.safetensors', 'adapter_config.json'].map((name) => rm(join(run, name))))
    const events = await watched([run], { stateDir }, { 'skipped final': gone })
    expect(story(events)).toEqual([
      ...['baseline', 'skipped final', 'waiting: there is no checkpoint yet', 'end: idle'],
    ])
  })

  it('should skip final weights that are older than the last checkpoint, and take them with --once alone', async () => {
    await writeAdapter(run, 9)
    expect(story(await watched([run], once))).toEqual(['baseline', 'checkpoint final', 'end: once'])
    const long = new Date(Date.now() - 3600_000)
    for (const name of ['adapter_model.safetensors', 'adapter_config.json'])
      await utimes(join(run, name), long, long)
    await writeCheckpoint(run, 10, 1)
    const events = await watched([run], once)
    expect(story(events)).toEqual(['baseline', 'checkpoint 10', 'skipped final', 'end: once'])
  })

  it('should follow a run that is started again in the same folder', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, step)
    await watched([run], { stateDir, ...once })
    await rm(run, { recursive: true })
    await mkdir(run)
    const events = await watched(
      [run],
      { stateDir, order: 'oldest', idleMs: 200 },
      {
        'waiting: there is no checkpoint yet': () => writeCheckpoint(run, 10, 5),
        'checkpoint 10': () => writeCheckpoint(run, 20, 6),
      },
    )
    expect(story(events).filter((one) => /\d/.test(one))).toEqual(['checkpoint 10', 'checkpoint 20'])
    expect(events.flatMap((event) => (event.type === 'checkpoint' ? [event.remeasured] : []))).toEqual([
      true,
      true,
    ])
  })

  it('should follow steps that go backwards after a resume', async () => {
    await writeCheckpoint(run, 100, 1)
    const events = await watched([run], { stateDir }, { 'checkpoint 100': () => writeCheckpoint(run, 60, 2) })
    expect(story(events)).toEqual(['baseline', 'checkpoint 100', 'checkpoint 60', 'end: idle'])
  })

  it('should wait for a run that was moved away, and go on when it is back', async () => {
    await writeCheckpoint(run, 10, 1)
    const away = join(folder, 'away')
    const events = await watched(
      [run],
      { stateDir },
      {
        'checkpoint 10': () => rename(run, away),
        'waiting: the run folder is gone': async () => {
          await writeCheckpoint(away, 20, 2)
          await rename(away, run)
        },
      },
    )
    expect(story(events)).toEqual([
      ...['baseline', 'checkpoint 10', 'waiting: the run folder is gone', 'checkpoint 20', 'end: idle'],
    ])
    expect(events.filter((event) => 'emptySince' in event)).toEqual([])
  })

  it('should know nothing of the run before in one that takes the place of its folder', async () => {
    const save = async (step: number, value: number, loss: number) => {
      await writeCheckpoint(run, step, value)
      const log = [{ step: 1, loss }]
      await writeFile(
        join(at(step), 'trainer_state.json'),
        JSON.stringify({ global_step: step, log_history: log }),
      )
    }
    for (const step of [10, 20, 30]) await save(step, step, 1)
    const script = {
      'checkpoint 10': () => rename(run, join(folder, 'other')),
      'waiting: the run folder is gone': () => save(10, 5, 2),
    }
    const events = await watched([run], { stateDir }, script)
    const last = events.findLast(({ type }) => type === 'checkpoint')
    expect(last).toMatchObject({ step: 10, remeasured: true, emptySince: expect.stringMatching(/^20/) })
    expect(last).not.toMatchObject({
      remarks: expect.arrayContaining([expect.stringContaining('left over')]),
    })
  })

  it('should take a checkpoint that was renamed for another step with the same weights', async () => {
    await writeCheckpoint(run, 10, 1)
    const events = await watched(
      [run],
      { stateDir },
      {
        'checkpoint 10': async () => {
          await rename(at(10), join(run, 'checkpoint-20'))
          await writeFile(join(at(20), 'trainer_state.json'), '{"global_step": 20}')
        },
      },
    )
    const twenty = events.find((event) => event.type === 'checkpoint' && event.step === 20)
    expect(twenty).toMatchObject({
      remarks: expect.arrayContaining(['step 20 has the same weights as step 10']),
    })
  })
})

describe('what the environment does', () => {
  it('should begin when there is memory, and say once that there is none', async () => {
    await writeCheckpoint(run, 10, 1)
    let begins = 0
    const onProgress = (step: unknown, fraction: number) => {
      if (step !== 0 || fraction !== 0 || ++begins > 2) return
      states.mockRejectedValueOnce(new TraitscopeError('OUT_OF_MEMORY', 'the trainer has it'))
    }
    const events = await watched([run], { stateDir, onProgress, idleMs: 500 })
    expect(begins).toBe(3)
    expect(story(events)).toEqual(['error', 'baseline', 'checkpoint 10', 'end: idle'])
    expect(events[0]).toMatchObject({ error: { code: 'OUT_OF_MEMORY' }, retryMs: 25 })
    expect(events[0]!.run).toBe(undefined)
  })

  it('should not wait to begin for anything else, and with once not at all', async () => {
    const fails = (code: 'OUT_OF_MEMORY' | 'DEVICE') => (step: unknown, fraction: number) => {
      if (step === 0 && fraction === 0) states.mockRejectedValueOnce(new TraitscopeError(code, 'not now'))
    }
    await expect(watched([run], { stateDir, onProgress: fails('DEVICE') })).rejects.toThrow('not now')
    await expect(
      watched([run], { stateDir, onProgress: fails('OUT_OF_MEMORY'), once: true }),
    ).rejects.toThrow('not now')
  })

  it.each(['OUT_OF_MEMORY', 'FILE_ACCESS', 'DEVICE'] as const)('should try again after %s', async (code) => {
    await writeCheckpoint(run, 10, 1)
    let failures = 0
    const events = await watched(
      [run],
      { stateDir, idleMs: 500 },
      {
        baseline: () =>
          states.mockImplementation(async (...args) => {
            if (++failures <= 2) throw new TraitscopeError(code, 'not now')
            return attachedStates(...args)
          }),
      },
    )
    expect(story(events)).toEqual(['baseline', 'error 10', 'checkpoint 10', 'end: idle'])
    expect(events.find(({ type }) => type === 'error')).toMatchObject({ retryMs: 25 })
  })

  it('should call an error that nobody expected one of the checkpoint, and go on', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, 1)
    let passes = 0
    const events = await watched(
      [run],
      { stateDir, order: 'oldest' },
      {
        baseline: () =>
          states.mockImplementation(async (...args) => {
            if (++passes === 1) throw new Error('surprise')
            return attachedStates(...args)
          }),
      },
    )
    expect(story(events)).toEqual(['baseline', 'error 10', 'checkpoint 20', 'end: idle'])
    expect(events.find(({ type }) => type === 'error')).toMatchObject({ error: { code: 'INTERNAL' } })
  })

  it('should end in order, with an error and an end, when the model is gone', async () => {
    await writeCheckpoint(run, 10, 1)
    const events = await watched(
      [run],
      { stateDir },
      {
        baseline: () => states.mockRejectedValue(new TraitscopeError('MODEL_CLOSED', 'closed')),
      },
    )
    expect(story(events)).toEqual(['baseline', 'error', 'end: failed'])
    expect(events.at(-1)).toMatchObject({ measured: 0, unfinished: [10] })
  })

  it('should go on when events cannot be logged, say so once, and log them when they can', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, step)
    const full = Object.assign(new Error('no space'), { code: 'ENOSPC' })
    const handle = await open(join(at(10), 'adapter_config.json'))
    const prototype = Object.getPrototypeOf(handle) as FileHandle
    await handle.close()
    const events = await watched(
      [run],
      { stateDir, secure: 'off', order: 'oldest', idleMs: 300 },
      {
        baseline: () => vi.spyOn(prototype, 'write').mockRejectedValue(full),
        'checkpoint 20': () => vi.restoreAllMocks(),
      },
    )
    expect(story(events)).toEqual(['baseline', 'error', 'checkpoint 10', 'checkpoint 20', 'end: idle'])
    const reader = new EventReader((await listStates(stateDir))[0]!.folder)
    const logged = (await reader.next()).map((event) => ('step' in event ? event.step : event.type))
    expect(logged).toEqual(['baseline', 10, 20, 'end'])
  })
})

describe('a base that is closed while nothing waits', () => {
  const opened = () => {
    const close = vi.fn(async () => {})
    return { model: attachingModel({ close }).model, close }
  }

  it('should be opened again when something does, and closed in the end', async () => {
    await writeCheckpoint(run, 10, 1)
    const [first, second] = [opened(), opened()]
    const reopen = vi.fn(async () => second.model)
    const options = { stateDir, idleUnloadMs: 30, idleMs: 400, reopen }
    const script = {
      'checkpoint 10': () =>
        void first.close.mockImplementation(async () => void (await writeCheckpoint(run, 20, 2))),
    }
    const events = await watched([run], options, script, first.model)
    expect(story(events)).toEqual(['baseline', 'checkpoint 10', 'checkpoint 20', 'end: idle'])
    expect(reopen).toHaveBeenCalledTimes(1)
    expect(first.close).toHaveBeenCalledTimes(1)
    expect(second.close).toHaveBeenCalled()
  })

  it('should be tried again when there is no memory for it, and told once', async () => {
    await writeCheckpoint(run, 10, 1)
    const [first, second] = [opened(), opened()]
    const reopen = vi.fn(async () => second.model)
    for (let i = 0; i < 2; i++)
      reopen.mockRejectedValueOnce(new TraitscopeError('OUT_OF_MEMORY', 'the trainer has it'))
    first.close.mockImplementation(async () => void (await writeCheckpoint(run, 20, 2)))
    const options = { stateDir, idleUnloadMs: 30, idleMs: 600, reopen }
    const events = await watched([run], options, {}, first.model)
    expect(story(events)).toEqual(['baseline', 'checkpoint 10', 'error', 'checkpoint 20', 'end: idle'])
    expect(reopen).toHaveBeenCalledTimes(3)
  })

  it.each([
    [
      'MODEL_LOAD',
      async () => Promise.reject(new RangeError('mine')),
      /reopen\(\) could not open the base again/,
    ],
    ['USAGE', async () => undefined, /a model as openModel opens it, found undefined/],
  ])(
    'should be told as %s when the caller does not open it, and tried again',
    async (code, reopen, message) => {
      await writeCheckpoint(run, 10, 1)
      const first = opened()
      first.close.mockImplementation(async () => void (await writeCheckpoint(run, 20, 2)))
      const options = { stateDir, idleUnloadMs: 30, idleMs: 300, reopen: reopen as never }
      const events = await watched([run], options, {}, first.model)
      expect(story(events)).toEqual(['baseline', 'checkpoint 10', 'error', 'end: idle'])
      const error = events.find(({ type }) => type === 'error')
      expect(error).toMatchObject({ error: { code, message: expect.stringMatching(message) } })
    },
  )

  it('should not become another one', async () => {
    await writeCheckpoint(run, 10, 1)
    const first = opened()
    first.close.mockImplementation(async () => void (await writeCheckpoint(run, 20, 2)))
    const other = attachingModel({ fingerprint: '1'.repeat(64), close: async () => {} }).model
    const options = { stateDir, idleUnloadMs: 30, idleMs: 300, reopen: async () => other }
    const events = await watched([run], options, {}, first.model)
    expect(story(events)).toEqual(['baseline', 'checkpoint 10', 'error', 'end: idle'])
    expect(events.at(-1)).toMatchObject({ unfinished: [20] })
  })
})

describe('several runs', () => {
  it('should take turns, name the run of every event, and end once', async () => {
    const runs = [join(folder, 'a'), join(folder, 'b')]
    for (const one of runs) for (const step of [10, 20]) await writeCheckpoint(one, step, step)
    const events = await watched(runs, { stateDir, ...once })
    const checkpoints = events.flatMap((event) =>
      event.type === 'checkpoint' ? [[event.run, event.step]] : [],
    )
    expect(checkpoints).toEqual([
      ...[
        [runs[0], 10],
        [runs[1], 10],
        [runs[0], 20],
        [runs[1], 20],
      ],
    ])
    expect(events.filter(({ type }) => type === 'end')).toMatchObject([{ measured: 4, reason: 'once' }])
    expect((await listStates(stateDir)).map(({ run }) => run)).toEqual(runs)
  })

  it('should watch a run once that is named twice, and end with it', async () => {
    await writeCheckpoint(run, 10, 1)
    const options = { stateDir, untilStep: 10, idleMs: undefined }
    expect(story(await watched([run, `${run}/`], options))).toEqual([
      ...['baseline', 'checkpoint 10', 'end: until-step'],
    ])
  })

  it('should watch a run once that has several names, links among them', async () => {
    const runs = join(folder, 'runs')
    await writeCheckpoint(join(runs, 'a'), 10, 1)
    await symlink('a', join(runs, 'latest'))
    const given = [join(runs, '*'), join(runs, 'latest'), join(runs, 'a')]
    for (const options of [{ stateDir }, {}])
      expect(story(await watched(given, options))).toEqual(['baseline', 'checkpoint 10', 'end: idle'])
  })

  it('should watch the run too that a link comes to lead to', async () => {
    const [a, b, link] = ['a', 'b', 'latest'].map((name) => join(folder, name))
    await writeCheckpoint(a!, 10, 1)
    await symlink(a!, link!)
    const events = await watched(
      [link!],
      { stateDir, idleMs: 300 },
      {
        'checkpoint 10': async () => {
          await rm(link!)
          await symlink(b!, link!)
          await writeCheckpoint(b!, 20, 2)
        },
        'checkpoint 20': () => writeCheckpoint(a!, 30, 3),
      },
    )
    const checkpoints = events.flatMap((event) =>
      event.type === 'checkpoint' ? [[event.run, event.step]] : [],
    )
    expect(checkpoints).toEqual([
      [a, 10],
      [b, 20],
      [a, 30],
    ])
    expect(events.filter(({ type }) => type === 'end')).toHaveLength(1)
  })

  it('should take a folder that comes as a link for the run that it waited for', async () => {
    const real = join(folder, 'real')
    await rm(run, { recursive: true })
    const events = await watched(
      [run],
      { stateDir, idleMs: 200 },
      {
        'waiting: the run folder does not exist yet': async () => {
          await writeCheckpoint(real, 10, 1)
          await symlink(real, run)
        },
      },
    )
    expect(events.flatMap((event) => (event.type === 'baseline' ? [event.run] : []))).toEqual([run])
    expect(story(events)).toContain('checkpoint 10')
  })

  it('should find runs of a pattern as they appear, and leave out what is none', async () => {
    await writeCheckpoint(join(folder, 'runs', 'a'), 10, 1)
    await mkdir(join(folder, 'runs', 'notes'))
    const events = await watched(
      [join(folder, 'runs', '*')],
      { stateDir, idleMs: 300 },
      {
        'checkpoint 10': () => writeCheckpoint(join(folder, 'runs', 'b'), 20, 2),
      },
    )
    const baselines = events.flatMap((event) => (event.type === 'baseline' ? [event.run] : []))
    expect(baselines).toEqual([join(folder, 'runs', 'a'), join(folder, 'runs', 'b')])
    expect(story(events)).toContain('checkpoint 20')
  })

  it('should go on with the others when one cannot be looked at', async () => {
    await writeCheckpoint(join(folder, 'a'), 10, 1)
    const events = await watched(
      [run, join(folder, 'a')],
      { stateDir },
      {
        baseline: async () => {
          await rm(run, { recursive: true })
          await symlink(run, run)
        },
      },
    )
    expect(events.find(({ type }) => type === 'error')).toMatchObject({ run, error: { code: 'FILE_ACCESS' } })
    expect(story(events)).toContain('checkpoint 10')
  })
})
