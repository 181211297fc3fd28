import { describe, expect, it } from 'vitest'
import type { NativeDevice } from '../../lib/binding.js'
import {
  DRIVER_BYTES,
  describePlacement,
  type PlacementOptions,
  placeModel,
} from '../../lib/model/place-model.js'

const GIB = 2 ** 30
const device = (name: string, free: number, isGpu = true): NativeDevice => ({
  ...{ name, description: `a ${name}`, backend: 'TEST', isGpu },
  ...{ memoryFree: free * GIB, memoryTotal: 24 * GIB },
})
const DEVICES = [device('CPU', 60, false), device('GPU0', 4), device('GPU1', 20)]
const RUNS = 15

/** Every block takes half a GiB, and the context one. */
const plan = async (name: string, onDevice: number) => [
  { device: name, weights: (onDevice * GIB) / 2, context: GIB / 2, compute: GIB / 2 },
  { device: 'CPU', weights: 7 * GIB, context: 0, compute: 0 },
]
const bytes = (onDevice: number) => DRIVER_BYTES + (onDevice * GIB) / 2 + GIB

const place = (options: PlacementOptions, devices = DEVICES, problem?: string) =>
  placeModel(options, RUNS, plan, { devices, problemOf: async () => problem })

describe('placeModel', () => {
  it('should put all blocks that run on the GPU with the most free memory', async () => {
    const placement = await place({})
    expect(placement).toMatchObject({ device: 'GPU1', onDevice: RUNS, runs: RUNS, plannedBytes: bytes(RUNS) })
    expect(placement.note).toBeUndefined()
    expect(describePlacement(placement)).toBe(
      '15 of 15 blocks on GPU1 (a GPU1), 9.00 GiB of 20.0 GiB free planned',
    )
  })

  it('should leave half of what is free to others, and say what does not fit', async () => {
    const placement = await place({}, [device('GPU0', 12)])
    expect(placement.onDevice).toBe(9) // 6 GiB: 0.5 + 1 + 9 / 2
    expect(placement.plannedBytes).toBeLessThanOrEqual(6 * GIB)
    expect(describePlacement(placement)).toContain('the last 6 run on the CPU')
  })

  it('should fall back to the CPU with a sentence where not one block fits', async () => {
    const placement = await place({}, [device('GPU0', 2)])
    expect(placement).toMatchObject({ device: 'cpu', onDevice: 0 })
    expect(describePlacement(placement)).toMatch(
      /GPU0 is not used: .*1\.00 GiB of the 2\.00 GiB.*the CPU computes/,
    )
  })

  it('should take as much as it may', async () => {
    expect(await place({ maxVram: 15 * GIB }, [device('GPU0', 16)])).toMatchObject({ onDevice: RUNS })
    expect(await place({ maxVram: 3 * GIB })).toMatchObject({ device: 'GPU1', onDevice: 3 })
    expect(await place({ maxVram: 100 * GIB }, [device('GPU0', 3)])).toMatchObject({ onDevice: 3 })
  })

  it('should do what it is told', async () => {
    expect(await place({ device: 'gpu0', gpuLayers: 2 })).toMatchObject({ device: 'GPU0', onDevice: 2 })
    expect(await place({ device: 'cpu' })).toEqual({
      device: 'cpu',
      description: 'cpu',
      onDevice: 0,
      runs: RUNS,
    })
    expect(await place({ gpuLayers: 0 })).toMatchObject({ device: 'cpu' })
    expect(await place({ gpuLayers: 1000 })).toMatchObject({ onDevice: RUNS })
  })

  it('should refuse what was asked for and cannot be', async () => {
    await expect(place({ device: 'CUDA7' })).rejects.toMatchObject({
      code: 'DEVICE',
      message: expect.stringContaining('cpu, GPU0, GPU1'),
    })
    await expect(place({ device: 'GPU0', gpuLayers: 10 })).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringMatching(/10 blocks on GPU0 take 6\.50 GiB, and 4\.00 GiB/),
    })
    await expect(place({ gpuLayers: -1 })).rejects.toMatchObject({ code: 'USAGE' })
    await expect(place({ maxVram: 0.5 })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('should never use a device that computes wrong states', async () => {
    const problem = 'GPU1 computes other states than the CPU'
    const placement = await place({}, DEVICES, problem)
    expect(placement.device).toBe('cpu')
    expect(describePlacement(placement)).toBe(`${problem}; the CPU computes`)
    const asked = place({ device: 'GPU1' }, DEVICES, problem)
    await expect(asked).rejects.toMatchObject({
      code: 'DEVICE',
      message: `${problem}, or compute with --device cpu`,
    })
    expect(await place({ device: 'cpu' }, DEVICES, problem)).not.toHaveProperty('note')
  })

  it('should say that there is no GPU where one was asked for, and nothing where none was', async () => {
    const cpu = [device('CPU', 60, false)]
    expect(describePlacement(await place({ gpuLayers: 4 }, cpu))).toContain('no GPU')
    expect(describePlacement(await place({}, cpu))).toBeUndefined()
  })

  it('should say that nothing was checked where a device does not tell its memory', async () => {
    const silent = { ...device('GPU0', 0), memoryTotal: 0 }
    const placement = await place({}, [silent])
    expect(placement.onDevice).toBe(RUNS)
    expect(placement.note).toContain('nothing was checked')
  })
})
