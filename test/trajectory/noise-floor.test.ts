import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import {
  floorOf,
  isNoiseFloor,
  noisePrompts,
  noiseSentence,
  readNoise,
  roundsNothing,
} from '../../lib/trajectory/noise-floor.js'
import { quantized } from '../helpers/quantized.js'
import { relativeL2 } from '../helpers/tiny.js'

const ORACLES = join(packageRoot, 'test/fixtures/oracles')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-noise-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const root = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))

describe('readNoise', () => {
  // Oracle: the same rounded weights as F32. What an adapter changes with them is the change without rounding.
  it.each([
    ['llama', 'Q8_0'],
    ['qwen2', 'BF16'],
    ['gemma3', 'Q8_0'],
    ['phi3', 'Q4_0'],
    ['llama-wide', 'Q4_K_M'],
  ])('should be as large as the error of an adapter’s change: %s as %s', async (name, type) => {
    const { stored, exact } = await quantized(join(ORACLES, name, 'model.gguf'), folder, type)
    const { prompts } = JSON.parse(readFileSync(join(ORACLES, name, 'prompts.json'), 'utf8')) as {
      prompts: { ids: number[] }[]
    }
    const tokens = prompts.map(({ ids }) => Int32Array.from(ids))
    const change = async (path: string) => {
      await using model = await openModel(path, { threads: 1 })
      const layers = Array.from({ length: model.info.nLayer }, (_, i) => i)
      await using adapter = await model.attach(join(ORACLES, name, 'adapter-plain'), { strength: 0.05 })
      const base = (await hiddenStates(model, tokens, { layers })).data
      const adapted = (await hiddenStates(model, tokens, { layers, adapter })).data
      const noise = await readNoise(model, tokens, { layers, pool: 'last' })
      return { change: adapted.map((value, i) => value - base[i]!), noise: noise.states, base }
    }
    const rounded = await change(stored)
    const truth = await change(exact)
    const error = root(rounded.change.map((value, i) => value - truth.change[i]!))
    const measured = root(rounded.noise)
    console.info(
      `${name} as ${type}: error ${(error / root(truth.base)).toExponential(1)}, noise ${(measured / root(truth.base)).toExponential(1)}, ` +
        `as F32 ${(root(truth.noise) / root(truth.base)).toExponential(1)}, of the change ${(error / root(truth.change)).toExponential(1)}`,
    )
    expect(measured / error).toBeGreaterThan(0.5)
    expect(measured / error).toBeLessThan(2)
    expect(root(truth.noise)).toBeLessThan(0.1 * measured)
    expect(relativeL2(rounded.base, truth.base)).toBeLessThan(0.1)
  })
})

describe('floorOf', () => {
  const layers = [3]
  const directions = [{ data: Float32Array.of(1, 0, 0, 0, 1, 0), rows: 2, cols: 3 }]
  const base = [{ activationNorm: 2, rms: 4 }]
  const floor = (noise: number[], n: number) =>
    floorOf(Float32Array.from(noise), layers, directions, base, n).layers[0]!

  it('should average out what differs between prompts, and keep what is common to them', () => {
    // Along the first direction 1 and -1, along the second 3 twice; the third axis is no direction.
    const noise = [1, 3, 0, -1, 3, 5]
    const found = floor(noise, 50)
    // The common square is 9 for the second; for the first (0 - 2/2), which the sum takes as it is.
    expect(found.drift).toBeCloseTo(Math.sqrt(9 - 1 + 2 / 50) / 2, 12)
    expect(found.stateChange).toBeCloseTo(Math.sqrt((1 + 9 + 1 + 9 + 25) / 2) / 4, 12)
    expect(found.layer).toBe(3)
  })

  it('should fall with the root of the prompts when nothing is common', () => {
    const noise = [1, 0, 0, -1, 0, 0]
    expect(floor(noise, 8).drift).toBeCloseTo(Math.sqrt(2 / 8) / 2, 12)
    expect(floor(noise, 800).drift).toBeCloseTo(Math.sqrt(2 / 800) / 2, 12)
  })

  it('should make do with one prompt', () => {
    expect(floor([3, 4, 0], 1).drift).toBeCloseTo(5 / 2, 12)
  })
})

describe('noisePrompts', () => {
  it('should spread over all, and take all when there are few', () => {
    const all = Array.from({ length: 72 }, (_, i) => i)
    expect(noisePrompts(all)).toEqual([0, 9, 18, 27, 36, 45, 54, 63])
    expect(noisePrompts([5, 6, 7])).toEqual([5, 6, 7])
  })
})

describe('roundsNothing', () => {
  const tensors = (...types: string[]) =>
    new Map(types.map((type, i) => [String(i), { type, shape: i === 0 ? [8] : [8, 8] }]))
  const model = (device: string, ...types: string[]) =>
    ({
      device,
      gguf: { tensors: tensors(...types) },
      info: { architecture: 'llama' },
    }) as unknown as Parameters<typeof roundsNothing>[0]

  it('should hold for F32 matrices on the processor only', () => {
    expect(roundsNothing(model('cpu', 'F16', 'F32', 'F32'))).toBe(true)
    expect(roundsNothing(model('cpu', 'F32', 'F32', 'F16'))).toBe(false)
    expect(roundsNothing(model('NVIDIA', 'F32', 'F32'))).toBe(false)
    const gemma = { ...model('cpu', 'F32', 'F32'), info: { architecture: 'gemma3' } }
    expect(roundsNothing(gemma as Parameters<typeof roundsNothing>[0])).toBe(false)
  })
})

describe('noiseSentence', () => {
  const floor = {
    method: 'opposite-perturbations' as const,
    prompts: 8,
    layers: [
      { layer: 1, drift: 0.001, stateChange: 0.02 },
      { layer: 3, drift: 0.01, stateChange: 0.03 },
    ],
  }

  it('should name the steps that do not stand out of it', () => {
    expect(noiseSentence(floor)).toBe(
      'noise floor: rounding alone makes a drift as long as 0.0010 at layer 1, 0.010 at layer 3',
    )
    const drift = [
      { step: 0, norm: 0 },
      { step: 10, norm: 0.0029 },
      { step: 20, norm: 0.003 },
      { step: 'final' as const, norm: 0.002 },
    ]
    expect(noiseSentence(floor, { layer: 1, drift })).toMatch(
      /layer 3; less than 3 times that at step 10, final$/,
    )
    expect(noiseSentence(floor, { layer: 2, drift })).not.toMatch(/less than/)
  })

  it('should be told from anything else', () => {
    expect(isNoiseFloor(floor)).toBe(true)
    for (const other of [null, {}, { ...floor, layers: [{ layer: 1 }] }, { ...floor, prompts: -1 }]) {
      expect(isNoiseFloor(other)).toBe(false)
    }
  })
})
