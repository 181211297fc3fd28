import { existsSync, readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hiddenStates } from '../../../lib/hidden-states/hidden-states.js'
import { openCheckpoint } from '../../../lib/model/checkpoint/open-checkpoint.js'
import { type Model, openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'
import { relativeL2 } from '../../helpers/tiny.js'

// Every kind of adapter, on a base of which only what gives the states is open, as all commands open it that read states.
const ORACLES = join(packageRoot, 'test/fixtures/oracles')
const LAYERS = [0, 1]

describe.each(['llama', 'mistral', 'qwen2', 'qwen3', 'phi3', 'gemma2', 'gemma3'])(
  'a part of %s',
  (family) => {
    const folder = join(ORACLES, family)
    const adapters = readdirSync(folder).filter((name) =>
      existsSync(join(folder, name, 'adapter_config.json')),
    )

    async function statesOf(base: Model, adapter: string): Promise<{ how: string; data: Float32Array }> {
      const { prompts } = JSON.parse(await readFile(join(folder, 'prompts.json'), 'utf8')) as {
        prompts: { ids: number[] }[]
      }
      await using opened = await openCheckpoint(base, join(folder, adapter))
      const ids = prompts.map((prompt) => Int32Array.from(prompt.ids))
      const { data } = await hiddenStates(opened.model, ids, { layers: LAYERS, adapter: opened.adapter })
      return { how: opened.how, data }
    }

    it(`should give the states of the whole model with each of ${adapters.length} adapters`, async () => {
      const options = { threads: 1, gpuLayers: 0 }
      await using whole = await openModel(join(folder, 'model.gguf'), options)
      await using part = await openModel(join(folder, 'model.gguf'), { ...options, layers: LAYERS })
      for (const adapter of adapters) {
        const [expected, found] = [await statesOf(whole, adapter), await statesOf(part, adapter)]
        expect([adapter, relativeL2(found.data, expected.data)]).toEqual([
          adapter,
          expected.how === found.how ? 0 : expect.closeTo(0, 5),
        ])
      }
    })
  },
)
