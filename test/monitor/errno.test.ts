// What the system answers a watch: the calls of node:fs/promises are the real ones, but for those that a test lets fail.
import { mkdtemp, readdir, realpath, rm, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EventReader } from '../../lib/events/event-log.js'
import { listStates } from '../../lib/events/state-folder.js'
import { writeCheckpoint } from '../trajectory/fake-run.js'
import { story, useSteadyClock, watched } from './fake-watch.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
useSteadyClock()

const disk = vi.hoisted(() => ({
  /** What a call fails with; undefined for one that works. */
  fails: (_operation: string, _path: string): unknown => undefined,
  failed: 0,
}))

vi.mock('node:fs/promises', async (original) => {
  const real = await original<Record<string, (...args: unknown[]) => Promise<unknown>>>()
  const made = Object.entries(real).map(([name, call]) => {
    if (typeof call !== 'function') return [name, call]
    const tried = async (...args: unknown[]) => {
      const error = disk.fails(name, String(args[0]))
      if (error === undefined) return call(...args)
      disk.failed++
      throw error
    }
    return [name, tried]
  })
  return Object.fromEntries(made)
})

const errno = (code: string) => Object.assign(new Error(`${code}: as the system says it`), { code })
const works = () => {
  disk.fails = () => undefined
}

let folder: string
let run: string
let stateDir: string
beforeEach(async () => {
  // Runs are known by their real paths.
  folder = await realpath(await mkdtemp(join(tmpdir(), 'traitscope-errno-')))
  run = join(folder, 'run')
  stateDir = join(folder, 'state')
  disk.failed = 0
})
afterEach(async () => {
  works()
  await rm(folder, { recursive: true, force: true })
})

const noMemory = () => new RangeError('Array buffer allocation failed')

describe('an error of the environment', () => {
  const WEIGHTS = /checkpoint-10.*adapter_model\.safetensors$/
  it.each([
    ['a run that may not be listed', 'readdir', /run$/, errno('EACCES'), 'error', 'FILE_ACCESS'],
    ['a run on a failing disk', 'stat', /run$/, errno('EIO'), 'error', 'FILE_ACCESS'],
    ['a checkpoint that may not be listed', 'readdir', /-10$/, errno('EACCES'), 'error 10', 'FILE_ACCESS'],
    ['a checkpoint on a failing disk', 'readdir', /-10$/, errno('EIO'), 'error 10', 'FILE_ACCESS'],
    ['weights that may not be read', 'open', WEIGHTS, errno('EACCES'), 'error 10', 'FILE_ACCESS'],
    ['weights on a failing disk', 'open', WEIGHTS, errno('EIO'), 'error 10', 'FILE_ACCESS'],
    ['too many open files', 'open', WEIGHTS, errno('EMFILE'), 'error 10', 'FILE_ACCESS'],
    ['no memory for weights', 'open', /secured.*safetensors$/, noMemory(), 'error 10', 'OUT_OF_MEMORY'],
  ])('should be told once and tried again: %s', async (_, operation, path, error, of, code) => {
    await writeCheckpoint(run, 10, 1)
    const begin = () => {
      disk.fails = (name, at) => (name === operation && path.test(at) ? error : undefined)
    }
    const secure = code === 'OUT_OF_MEMORY' ? 'link' : 'off'
    // What is to be measured has been secured by then.
    const script = secure === 'link' ? { 'secured 10': begin } : { baseline: begin }
    const done = (async () => {
      while (disk.failed < 2) await new Promise((resolve) => setTimeout(resolve, 5))
      works()
    })()
    const events = await watched([run], { stateDir, secure, idleMs: 600 }, script)
    await done
    expect(story(events)).toEqual(['baseline', of, 'checkpoint 10', 'end: idle'])
    const told = events.find(({ type }) => type === 'error')
    expect(told).toMatchObject({ error: { code }, retryMs: 25 })
    if ('code' in error)
      expect(told).toMatchObject({ error: { message: expect.stringContaining(String(error.code)) } })
  })

  it.each([
    ['copyFile', 'ENOSPC'],
    ['mkdir', 'ENOSPC'],
    ['rename', 'EDQUOT'],
    ['mkdir', 'EROFS'],
  ])(
    'should not keep a checkpoint from its verdict when it cannot be secured (%s: %s)',
    async (operation, code) => {
      for (const step of [10, 20]) await writeCheckpoint(run, step, step)
      const script = {
        baseline: () => {
          disk.fails = (name, at) =>
            name === operation && (name === 'copyFile' ? at.startsWith(run) : at.includes('secured'))
              ? errno(code)
              : undefined
        },
        'checkpoint 20': works,
      }
      const events = await watched([run], { stateDir, order: 'oldest' }, script)
      expect(story(events)).toEqual(['baseline', 'error', 'checkpoint 10', 'checkpoint 20', 'end: idle'])
      expect(events.find(({ type }) => type === 'error')).toMatchObject({
        error: {
          code: 'FILE_ACCESS',
          message: expect.stringMatching(`cannot be secured.*secured \\(${code}\\)`),
        },
      })
      const [state] = await listStates(stateDir)
      expect(await readdir(join(state!.folder, 'secured')).catch(() => [])).toEqual([])
    },
  )

  it('should measure once what could not be secured at first, and is secured before its turn', async () => {
    for (const step of [10, 20]) await writeCheckpoint(run, step, step)
    const log = async () => new EventReader((await listStates(stateDir))[0]!.folder).next()
    const script = {
      baseline: () => {
        disk.fails = (name, at) => (name === 'mkdir' && at.includes('secured') ? errno('ENOSPC') : undefined)
      },
      'checkpoint 10': async () => {
        works()
        const later = new Date(Date.now() + 60_000)
        await utimes(join(run, 'checkpoint-20', 'adapter_model.safetensors'), later, later)
        while (!(await log()).some((event) => event.type === 'secured' && event.step === 20))
          await new Promise((resolve) => setTimeout(resolve, 5))
      },
    }
    const events = await watched([run], { stateDir, order: 'oldest', idleMs: 300 }, script)
    expect(story(events).filter((one) => one.startsWith('checkpoint'))).toEqual([
      'checkpoint 10',
      'checkpoint 20',
    ])
    const again = await watched([run], { stateDir, once: true })
    expect(story(again)).toEqual(['baseline', 'end: once'])
  })

  it.each([
    ['stat', 'ELOOP'],
    ['readdir', 'EACCES'],
  ])('should not keep a watch from beginning (%s: %s)', async (operation, code) => {
    await writeCheckpoint(run, 10, 1)
    disk.fails = (name, at) => (name === operation && at === run ? errno(code) : undefined)
    const script = { error: works }
    const events = await watched([run], { stateDir, idleMs: 400 }, script)
    expect(story(events)).toEqual(['baseline', 'error', 'checkpoint 10', 'end: idle'])
  })

  it('should give up the log of a run for as long as its disk fails, and lose no event', async () => {
    await writeCheckpoint(run, 10, 1)
    const script = {
      baseline: async () => {
        const [state] = await listStates(stateDir)
        await rm(join(state!.folder, 'events.jsonl'))
        disk.fails = (name, at) => (name === 'open' && at.endsWith('.jsonl') ? errno('EIO') : undefined)
      },
      'checkpoint 10': works,
    }
    const events = await watched([run], { stateDir }, script)
    const errors = events.flatMap((event) => (event.type === 'error' ? [event.error.message] : []))
    expect(errors).toEqual([
      expect.stringMatching(/^events cannot be logged.*EIO/),
      expect.stringMatching(/was removed, moved or emptied while the watch ran: it is begun anew/),
    ])
    const reader = new EventReader((await listStates(stateDir))[0]!.folder)
    const types = (await reader.next()).map(({ type }) => type)
    expect(types).toEqual(expect.arrayContaining(['error', 'baseline', 'secured', 'checkpoint', 'end']))
  })
})
