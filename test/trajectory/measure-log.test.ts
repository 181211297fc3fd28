import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { type MeasuredStep, type MeasureRunOptions, measureRun } from '../../lib/trajectory/measure-run.js'
import { fakeDirections } from '../directions/fake-directions.js'
import { fakePack } from '../directions/fake-model.js'
import { attachedStates, attachingModel, writeCheckpoint } from './fake-run.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
const states = vi.mocked(hiddenStates)

let folder: string
let run: string
let out: string
const { model } = attachingModel()

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-measure-log-'))
  run = join(folder, 'run')
  out = join(folder, 'measured')
  for (const step of [10, 20, 30]) await writeCheckpoint(run, step, step)
  states.mockReset()
  states.mockImplementation(attachedStates)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** @returns the steps that were taken over */
async function measure(
  options: Partial<MeasureRunOptions> = {},
  subject = model,
): Promise<MeasuredStep['step'][]> {
  const resumed: MeasuredStep['step'][] = []
  await measureRun(subject, fakeDirections(), run, {
    ...{ pack: fakePack(), cacheDir: false, out },
    onCheckpoint: (step) => {
      if (step.resumed) resumed.push(step.step)
    },
    ...options,
  })
  return resumed
}

/** Fails at the pass with this number, step 0 being the first. */
function failAt(pass: number): void {
  let passes = 0
  states.mockImplementation(async (...args) => {
    if (++passes === pass) throw new Error('killed')
    return attachedStates(...args)
  })
}

const files = async (at: string) => {
  const names = (await readdir(at)).sort()
  return Promise.all(names.map(async (name) => [name, (await readFile(join(at, name))).toString('hex')]))
}

describe('a measurement that was cut short', () => {
  it('should be gone on with, and come to the same bytes', async () => {
    await measure({ out: join(folder, 'whole') })
    failAt(4)
    await expect(measure()).rejects.toThrow('killed')
    expect(await readdir(folder)).toContain('measured.partial')
    expect(await readdir(folder)).not.toContain('measured')
    states.mockClear()
    states.mockImplementation(attachedStates)
    expect(await measure()).toEqual([10, 20])
    expect(states).toHaveBeenCalledTimes(2)
    expect(await files(out)).toEqual(await files(join(folder, 'whole')))
    expect((await readdir(folder)).sort()).toEqual(['measured', 'run', 'whole'])
  })

  it('should measure again what has changed: weights, conditions, kept states', async () => {
    const cutShort = async () => {
      failAt(4)
      await expect(measure()).rejects.toThrow('killed')
      states.mockImplementation(attachedStates)
    }
    await cutShort()
    await writeCheckpoint(run, 10, 7)
    expect(await measure()).toEqual([20])

    await rm(out, { recursive: true })
    await cutShort()
    expect(await measure({}, attachingModel({ options: { ...model.options, threads: 7 } }).model)).toEqual([])

    await rm(out, { recursive: true })
    await cutShort()
    for (const name of await readdir(`${out}.partial`)) {
      if (name.endsWith('.safetensors')) await writeFile(join(`${out}.partial`, name), 'damaged')
    }
    expect(await measure()).toEqual([])
  })

  it('should be gone on with in the same contexts alone', async () => {
    const system = (text: string) => ({
      contexts: [{ name: text, origin: 'given' as const, system: text }],
      files: [],
      remarks: [],
    })
    const contexts = system('Be terse.')
    const cutShort = async () => {
      failAt(7) // two passes for step 0 and for each checkpoint
      await expect(measure({ contexts })).rejects.toThrow('killed')
      states.mockImplementation(attachedStates)
    }
    await measure({ contexts, out: join(folder, 'whole') })
    await cutShort()
    expect(await measure({ contexts })).toEqual([10, 20])
    expect(await files(out)).toEqual(await files(join(folder, 'whole')))

    await rm(out, { recursive: true })
    await cutShort()
    expect(await measure({ contexts: system('Be loud.') })).toEqual([])
    await rm(out, { recursive: true })
    await cutShort()
    expect(await measure()).toEqual([])
  })

  it('should leave nothing when there is nothing to go on with', async () => {
    failAt(2)
    await expect(measure()).rejects.toThrow('killed')
    expect(await readdir(folder)).toEqual(['run'])
  })

  it('should refuse a second one that writes to the same place', async () => {
    const both = await Promise.allSettled([measure(), measure()])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(both.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: expect.stringMatching(/FILE_ACCESS|FILE_EXISTS/) },
    })
  })
})
