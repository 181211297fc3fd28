import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { type Model, openModel } from '../../lib/model/model.js'
import type { OpenModelOptions } from '../../lib/model/model-options.js'
import { DRIVER_BYTES } from '../../lib/model/place-model.js'
import { packageRoot } from '../../lib/package.js'
import { skippedWithoutDevice } from '../helpers/device.js'
import { TINY_BASE, TINY_RUN } from '../helpers/tiny.js'

// The second device has memory of its own and the CPU's kernels: whatever is computed there is the CPU's bit for bit, as long
// as no weights are repacked.
const ORACLES = join(packageRoot, 'test/fixtures/oracles')
const skipped = skippedWithoutDevice('placement on a device')
const families = skipped
  ? []
  : readdirSync(ORACLES, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)

const open = (path: string, options: OpenModelOptions = {}) => openModel(path, { repack: false, ...options })

describe.skipIf(skipped).each(families)('%s on a device', (name) => {
  const folder = join(ORACLES, name)
  const prompts = (
    JSON.parse(readFileSync(join(folder, 'prompts.json'), 'utf8')).prompts as { ids: number[] }[]
  ).map(({ ids }) => Int32Array.from(ids))
  const path = join(folder, 'model.gguf')
  let cpu: Model
  beforeAll(async () => {
    cpu = await open(path, { device: 'cpu' })
  })
  afterAll(() => cpu?.close())

  const statesOf = async (model: Model, layers: number[], pool: 'last' | 'mean' = 'last') => {
    const { data } = await hiddenStates(model, prompts, { layers, pool })
    return data
  }

  it('should give the states of the CPU, a part and the whole, wherever its blocks are', async () => {
    const { nLayer } = cpu.info
    const all = Array.from({ length: nLayer }, (_, i) => i)
    for (let onDevice = 1; onDevice <= nLayer + 1; onDevice++) {
      await using whole = await open(path, { gpuLayers: onDevice })
      expect(whole.placement).toMatchObject({ device: 'RPC0', onDevice, runs: nLayer + 1 })
      expect(await statesOf(whole, all)).toEqual(await statesOf(cpu, all))
      expect(await statesOf(whole, [0], 'mean')).toEqual(await statesOf(cpu, [0], 'mean'))
    }
    for (const layer of all) {
      for (let onDevice = 1; onDevice <= layer + 1; onDevice++) {
        await using part = await open(path, { layers: [layer], gpuLayers: onDevice })
        expect(await statesOf(part, [layer])).toEqual(await statesOf(cpu, [layer]))
      }
    }
  })

  it('should take of the device what was planned, and nothing for what does not run', async () => {
    const { nLayer } = cpu.info
    const used = async (model: Model) => {
      const memory = (await model.memory()).find(({ device }) => device === model.placement.device)!
      return { ...memory, all: memory.weights + memory.context + memory.compute }
    }
    for (const options of [{}, { layers: [0] }, { layers: [nLayer - 2] }, { layers: [1], gpuLayers: 1 }]) {
      await using model = await open(path, options)
      const { all } = await used(model)
      const planned = model.placement.plannedBytes! - DRIVER_BYTES
      expect(Math.abs(planned - all) / all).toBeLessThan(0.1)
    }
    await using one = await open(path, { layers: [0] })
    await using two = await open(path, { layers: [1] })
    await using capped = await open(path, { layers: [1], gpuLayers: 1 })
    const [first, both, some] = [await used(one), await used(two), await used(capped)]
    expect(both.context).toBe(2 * first.context)
    expect(both.weights).toBeLessThan(2.5 * first.weights)
    expect(some.context).toBe(first.context)
    expect(some.weights).toBe(first.weights)
  })
})

describe.skipIf(skipped)('a device', () => {
  it('should read adapters as the CPU does', async () => {
    for (const layers of [undefined, [2]]) {
      for (const gpuLayers of [1, 2, 100]) {
        await using cpu = await open(TINY_BASE, { layers, device: 'cpu' })
        await using device = await open(TINY_BASE, { layers, gpuLayers })
        const prompts = await cpu.tokenize(['How long does bread keep?', 'How long does it rain?', 'Why?'])
        const states = async (model: Model) => {
          await using adapter = await model.attach(join(TINY_RUN, 'checkpoint-60'))
          const { data } = await hiddenStates(model, prompts, { layers: [0, 2], adapter })
          return data
        }
        expect(await states(device)).toEqual(await states(cpu))
      }
    }
  })

  it('should be left alone where little memory may be taken, and say so', async () => {
    await using model = await open(TINY_BASE, { maxVram: DRIVER_BYTES })
    expect(model.placement).toMatchObject({
      device: 'cpu',
      note: expect.stringContaining('RPC0 is not used'),
    })
    const all = open(TINY_BASE, { maxVram: DRIVER_BYTES, gpuLayers: 2 })
    await expect(all).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' })
  })
})
