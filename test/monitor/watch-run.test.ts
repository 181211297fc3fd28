import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { TraitscopeError } from '../../lib/errors.js'
import type { WatchEvent } from '../../lib/events/watch-events.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { WatchRunOptions } from '../../lib/monitor/watch-options.js'
import { watchRun } from '../../lib/monitor/watch-run.js'
import { fakeDirections } from '../directions/fake-directions.js'
import { fakePack } from '../directions/fake-model.js'
import { attachedStates, attachingModel, writeAdapter, writeCheckpoint } from '../trajectory/fake-run.js'
import { act, told, useSteadyClock } from './fake-watch.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
useSteadyClock()
const states = vi.mocked(hiddenStates)

let folder: string
let run: string
const { model, attached } = attachingModel()

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-watch-'))
  run = join(folder, 'run')
  states.mockReset()
  states.mockImplementation(attachedStates)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const watch = (options: Partial<WatchRunOptions> = {}) =>
  watchRun(model, fakeDirections(), run, {
    ...{ pack: fakePack(), cacheDir: false, intervalMs: 5, order: 'oldest' as const },
    ...options,
  })

/**
 * Runs a watch through a script: an event that reads like a key triggers the action, then the watch goes on.
 * Ends with the watch or after its last action plus `idleMs`.
 */
async function follow(
  script: Record<string, () => Promise<unknown>>,
  options: Partial<WatchRunOptions> = {},
): Promise<{ story: string[]; events: WatchEvent[] }> {
  const events: WatchEvent[] = []
  const pending = new Map(Object.entries(script))
  for await (const event of watch({ idleMs: 60, ...options })) {
    events.push(event)
    const action = pending.get(told(event))
    pending.delete(told(event))
    await act(action)
  }
  expect([...pending.keys()]).toEqual([])
  // A look may come while a script still writes.
  const story = events.map(told).filter((one) => !/^waiting \d/.test(one) || one in script)
  return { story, events }
}

describe('watchRun', () => {
  it.each([
    [{ intervalMS: 5 }, 'intervalMS'],
    [{ secure: 'links' }, 'link or copy or off'],
    [{ order: 'latest' }, 'newest or oldest'],
    [{ untilStep: '10' }, 'untilStep'],
    [{ untilStep: Number.NaN }, 'untilStep'],
    [{ checkpoint: { mode: 'fast' } }, 'attach or merge or auto'],
    [{ bundle: 'bundle' }, 'a bundle as loadBundle reads it'],
    [{ idleUnloadMs: 5 }, 'reopen'],
    [null, 'null'],
  ])('should refuse %j before the first event', async (options, message) => {
    const given = options && { pack: fakePack(), ...options }
    const events = watchRun(model, fakeDirections(), run, given as WatchRunOptions)
    await expect(events.next()).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(message),
    })
  })

  it('should watch the folder and go by the options of the moment when it was called', async () => {
    await writeCheckpoint(run, 10, 1)
    const home = process.cwd()
    process.chdir(folder)
    const options = { pack: fakePack(), cacheDir: false as const, once: true }
    const events = watchRun(model, fakeDirections(), 'run', options)
    process.chdir(home)
    options.once = false
    const story: string[] = []
    for await (const event of events) story.push(told(event))
    expect(story).toEqual(['baseline', 'checkpoint 10', 'end: once'])
  })

  it('should follow a run from before its folder exists to its last checkpoint', async () => {
    const { story, events } = await follow({
      'waiting: the run folder does not exist yet': () => mkdir(run),
      'waiting: there is no checkpoint yet': () => writeCheckpoint(run, 10, 1),
      'checkpoint 10': () => writeCheckpoint(run, 20, 2),
      'checkpoint 20': () => writeAdapter(run, 2),
    })
    expect(story).toEqual([
      'baseline',
      'waiting: the run folder does not exist yet',
      'waiting: there is no checkpoint yet',
      'checkpoint 10',
      'checkpoint 20',
      'end: idle',
    ])
    expect(events.at(-1)).toMatchObject({ measured: 2, finalAliasOf: 20 })
    expect(attached()).toBe(0)
  })

  it('should give drift and projections per layer', async () => {
    await writeCheckpoint(run, 10, 1)
    const { events } = await follow({}, { once: true, layer: 3 })
    const [baseline, checkpoint] = events
    if (baseline?.type !== 'baseline' || checkpoint?.type !== 'checkpoint')
      throw new Error('unexpected events')
    expect(baseline).toMatchObject({ traits: ['courage', 'a/b'], layers: [1, 3], cached: false })
    expect(checkpoint).toMatchObject({ step: 10, primary: 1, remeasured: false, epoch: 0.5, loss: 1.5 })
    expect(checkpoint.verdict).toBe(undefined)
    for (const [l, { values, norm }] of checkpoint.drift.entries()) {
      expect(values[0]).toBeCloseTo(1 / baseline.activationNorms[l]!, 5)
      expect(values[1]).toBeCloseTo(0, 6)
      expect(norm).toBeCloseTo(Math.hypot(...values), 12)
    }
  })

  it('should say how far every pass is, and when it ends, however it does', async () => {
    await writeCheckpoint(run, 10, 1)
    await writeCheckpoint(run, 20, 2)
    let passed = 0
    states.mockImplementation(async (of, prompts, options) => {
      options.onProgress?.(0.5)
      if (++passed === 3) throw new TraitscopeError('COMPUTE', 'not a number')
      return attachedStates(of, prompts, options)
    })
    const passes: [step: unknown, fraction: number][] = []
    const { story } = await follow({}, { once: true, onProgress: (...pass) => void passes.push(pass) })
    expect(story.slice(1, 3)).toEqual(['checkpoint 10', 'error 20'])
    const of = (step: unknown) => passes.flatMap((pass) => (pass[0] === step ? [pass[1]] : []))
    for (const step of [0, 10, 20]) expect([of(step)[0], of(step)[1], of(step).at(-1)]).toEqual([0, 0.5, 1])
  })

  it('should say with every checkpoint what was read, and how it differs', async () => {
    await writeCheckpoint(run, 10, 1)
    await writeCheckpoint(run, 20, 1)
    await writeAdapter(join(run, 'sft_start'), 3)
    await writeFile(join(run, 'checkpoint-20', 'chat_template.jinja'), 'another')
    const { events } = await follow({}, { once: true })
    const [, ten, twenty] = events
    if (ten?.type !== 'checkpoint' || twenty?.type !== 'checkpoint') throw new Error('unexpected events')
    const bytes = await readFile(join(run, 'checkpoint-10', 'adapter_model.safetensors'))
    expect(ten.files[0]).toEqual({ path: 'checkpoint-10/adapter_model.safetensors', sha256: sha256(bytes) })
    const beside = expect.stringMatching(/^not measured.*: sft_start \(adapter\)$/)
    const unnamed = expect.stringMatching(/does not name its base/)
    expect(ten.remarks).toEqual([beside, unnamed])
    expect(twenty.remarks).toEqual([
      beside,
      'step 20 has the same weights as step 10',
      unnamed,
      expect.stringMatching(/own chat template \(chat_template\.jinja\) is not the one/),
    ])
  })

  it('should refuse a folder of several runs before the work', async () => {
    await writeCheckpoint(join(run, 'a'), 10, 1)
    await writeCheckpoint(join(run, 'b'), 10, 1)
    await expect(follow({}, { once: true })).rejects.toMatchObject({
      code: 'AMBIGUOUS',
      message: expect.stringMatching(/but a \(run\), b \(run\): name one/),
    })
    expect(states).not.toHaveBeenCalled()
  })

  it('should wait beside adapters that are no part of the run, and name them', async () => {
    await writeAdapter(join(run, 'sft_start'), 3)
    const { story } = await follow({
      'waiting: there is no checkpoint yet; not measured, since it is no part of this run: sft_start (adapter)':
        () => writeCheckpoint(run, 10, 1),
    })
    expect(story.slice(2)).toEqual(['checkpoint 10', 'end: idle'])
  })

  it('should not guess which of two adapters is trained, and take the one that is named', async () => {
    for (const [name, strength] of [
      ['reference', 1],
      ['trained', 2],
    ] as const) {
      await writeAdapter(join(run, 'checkpoint-10', name), strength)
    }
    await writeFile(join(run, 'checkpoint-10', 'trainer_state.json'), '{"global_step": 10}')
    const { events } = await follow({}, { once: true })
    expect(events[1]).toMatchObject({
      type: 'error',
      step: 10,
      error: { code: 'AMBIGUOUS', message: expect.stringMatching(/reference, trained.*--adapter-name/) },
    })
    const named = await follow({}, { once: true, adapterName: 'trained' })
    expect(named.events[1]).toMatchObject({
      type: 'checkpoint',
      files: [{ path: 'checkpoint-10/trained/adapter_model.safetensors' }, {}],
    })
  })

  it('should wait for a half-written checkpoint and say so once', async () => {
    const folderOf = (step: number) => join(run, `checkpoint-${step}`)
    await writeCheckpoint(run, 10, 1)
    const whole = await readFile(join(folderOf(10), 'adapter_model.safetensors'))
    const state = await readFile(join(folderOf(10), 'trainer_state.json'))
    await writeFile(join(folderOf(10), 'adapter_model.safetensors'), whole.subarray(0, 40))
    await rm(join(folderOf(10), 'trainer_state.json'))
    const reasons: string[] = []
    const events: string[] = []
    for await (const event of watch({ idleMs: 60 })) {
      events.push(told(event))
      if (event.type !== 'waiting') continue
      reasons.push(event.reason)
      if (reasons.length === 1)
        await act(() => appendFile(join(folderOf(10), 'adapter_model.safetensors'), whole.subarray(40)))
      if (reasons.length === 2) await act(() => writeFile(join(folderOf(10), 'trainer_state.json'), state))
    }
    expect(events).toEqual(['baseline', 'waiting 10', 'waiting 10', 'checkpoint 10', 'end: idle'])
    expect(reasons[0]).not.toBe(reasons[1])
  })

  it('should measure rewritten weights again, and touched files not', async () => {
    await writeCheckpoint(run, 10, 1)
    const touch = async () => {
      const later = new Date(Date.now() + 60_000)
      await utimes(join(run, 'checkpoint-10', 'adapter_model.safetensors'), later, later)
    }
    const touched = await follow({ 'checkpoint 10': touch })
    expect(touched.story).toEqual(['baseline', 'checkpoint 10', 'end: idle'])
    const { story, events } = await follow({ 'checkpoint 10': () => writeCheckpoint(run, 10, 3) })
    expect(story).toEqual(['baseline', 'checkpoint 10', 'checkpoint 10', 'end: idle'])
    expect(events[1]).toMatchObject({ remeasured: false })
    expect(events[2]).toMatchObject({ remeasured: true })
  })

  it('should report a checkpoint that vanishes before it is complete', async () => {
    await mkdir(join(run, 'checkpoint-10'), { recursive: true })
    await writeFile(join(run, 'checkpoint-10', 'adapter_config.json'), '{}')
    const { story } = await follow({
      'waiting 10': () => rm(join(run, 'checkpoint-10'), { recursive: true }),
    })
    expect(story.slice(0, 3)).toEqual(['baseline', 'waiting 10', 'waiting: there is no checkpoint yet'])
    expect(story).toContain('lost 10')
  })

  it('should report a checkpoint that vanishes before its turn', async () => {
    await writeCheckpoint(run, 10, 1)
    await writeCheckpoint(run, 20, 2)
    const { story } = await follow({
      'checkpoint 10': () => rm(join(run, 'checkpoint-20'), { recursive: true }),
    })
    expect(story).toEqual(['baseline', 'checkpoint 10', 'lost 20', 'end: idle'])
  })

  it('should go on after a checkpoint that cannot be measured, and look again when it changes', async () => {
    await writeCheckpoint(run, 10, Number.NaN)
    const { story, events } = await follow({
      'error 10': () => writeCheckpoint(run, 20, 1),
      'checkpoint 20': () => writeCheckpoint(run, 10, 1),
    })
    expect(story).toEqual(['baseline', 'error 10', 'checkpoint 20', 'checkpoint 10', 'end: idle'])
    expect(events[1]).toMatchObject({ error: { code: 'ADAPTER_INVALID' } })
    expect(events[3]).toMatchObject({ remeasured: false })
  })

  it('should measure a final adapter that no checkpoint has', async () => {
    await writeCheckpoint(run, 10, 1)
    await writeAdapter(join(run, 'final_adapter'), 2)
    expect((await follow({}, { once: true })).story).toEqual([
      'baseline',
      'checkpoint 10',
      'checkpoint final',
      'end: once',
    ])
  })

  it('should end with the last step of the training run', async () => {
    await writeCheckpoint(run, 10, 1)
    const { story } = await follow(
      { 'checkpoint 10': () => writeCheckpoint(run, 20, 2) },
      { untilStep: 20, idleMs: undefined },
    )
    expect(story).toEqual(['baseline', 'checkpoint 10', 'checkpoint 20', 'end: until-step'])
  })

  it('should end at the step that it was told, measurable or not, and look at none behind it', async () => {
    for (const step of [10, 20, 30]) await writeCheckpoint(run, step, 1)
    const upTo20 = { untilStep: 20, idleMs: undefined }
    expect((await follow({}, upTo20)).story).toEqual([
      ...['baseline', 'checkpoint 10', 'checkpoint 20', 'end: until-step'],
    ])
    await writeCheckpoint(run, 20, Number.NaN)
    expect((await follow({}, upTo20)).story).toEqual([
      ...['baseline', 'checkpoint 10', 'error 20', 'end: until-step'],
    ])
  })

  it('should call a checkpoint skipped only when its own files are gone', async () => {
    await writeCheckpoint(run, 10, 1)
    const fail = (code: 'FILE_NOT_FOUND' | 'FILE_ACCESS') =>
      states.mockImplementation(async (...args) => {
        if (args[2].adapter !== undefined) throw new TraitscopeError(code, 'no room for a merged copy')
        return attachedStates(...args)
      })
    for (const code of ['FILE_NOT_FOUND', 'FILE_ACCESS'] as const) {
      fail(code)
      expect((await follow({}, { once: true })).story).toEqual(['baseline', 'error 10', 'end: once'])
    }
  })

  it('should say once that a growing file is waited for, and be idle when it stops growing', async () => {
    await writeCheckpoint(run, 10, 1)
    const path = join(run, 'checkpoint-10', 'adapter_model.safetensors')
    const whole = await readFile(path)
    await rm(join(run, 'checkpoint-10', 'trainer_state.json'))
    let length = whole.length - 30
    await writeFile(path, whole.subarray(0, length))
    const timer = setInterval(() => {
      void appendFile(path, whole.subarray(length, ++length))
      if (length === whole.length - 1) clearInterval(timer)
    }, 10)
    const { events } = await follow({}, { idleMs: 150 })
    expect(events.map(told)).toEqual(['baseline', 'waiting 10', 'end: idle'])
    expect(length).toBe(whole.length - 1)
  })

  it('should not take a measured checkpoint for a lost one', async () => {
    await writeCheckpoint(run, 10, 1)
    const { story } = await follow({
      'checkpoint 10': () => rename(join(run, 'checkpoint-10'), join(folder, 'gone')),
    })
    expect(story).toEqual(['baseline', 'checkpoint 10', 'waiting: there is no checkpoint yet', 'end: idle'])
  })

  it('should reject a run that is a file', async () => {
    await writeFile(run, 'x')
    await expect(follow({})).rejects.toMatchObject({ message: expect.stringContaining('found a file') })
  })

  it.each(['baseline', 'checkpoint 10', 'waiting 20'])('should end when aborted at "%s"', async (moment) => {
    await writeCheckpoint(run, 10, 1)
    await mkdir(join(run, 'checkpoint-20'))
    await writeFile(join(run, 'checkpoint-20', 'adapter_config.json'), '{}')
    const controller = new AbortController()
    const script = { [moment]: async () => controller.abort() }
    const { story } = await follow(script, { signal: controller.signal, idleMs: undefined })
    expect(story.at(-1)).toBe('end: aborted')
    expect(story.at(-2)).toBe(moment)
    expect(attached()).toBe(0)
  })

  it('should stop while it sleeps when the consumer breaks off or aborts', async () => {
    await writeCheckpoint(run, 10, 1)
    for await (const event of watch({ intervalMs: 3_600_000 })) if (event.type === 'checkpoint') break
    const controller = new AbortController()
    const story: string[] = []
    for await (const event of watch({ intervalMs: 3_600_000, signal: controller.signal })) {
      story.push(told(event))
      if (event.type === 'checkpoint') setTimeout(() => controller.abort(), 20)
    }
    expect(story.at(-1)).toBe('end: aborted')
  })

  it('should never touch the run', async () => {
    await writeCheckpoint(run, 10, 1)
    const listing = async () =>
      Promise.all(
        ['.', ...(await readdir(run, { recursive: true })).sort()].map(async (name) => {
          const { mtimeMs, size } = await stat(join(run, name))
          return [name, mtimeMs, size]
        }),
      )
    const before = await listing()
    await follow({})
    expect(await listing()).toEqual(before)
  })

  it('should reject before the first event when directions and model do not belong together', async () => {
    const other = attachingModel({ fingerprint: '0'.repeat(64) }).model
    const events = watchRun(other, fakeDirections(), run, { pack: fakePack(), cacheDir: false })
    await expect(events.next()).rejects.toMatchObject({ code: 'NOT_COMPARABLE' })
  })

  it('should reject impossible intervals', async () => {
    await expect(watch({ intervalMs: -1 }).next()).rejects.toMatchObject({ code: 'USAGE' })
    await expect(watch({ idleMs: Number.NaN }).next()).rejects.toMatchObject({ code: 'USAGE' })
  })
})
