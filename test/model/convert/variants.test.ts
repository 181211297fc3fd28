import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convertModel } from '../../../lib/conversion/convert-model.js'
import { readSafetensors } from '../../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../../lib/hidden-states/hidden-states.js'
import { openModel } from '../../../lib/model/model.js'
import { changedFolder, CONVERT_FIXTURES as FIXTURES } from '../../helpers/convert-folder.js'
import { relativeL2 } from '../../helpers/tiny.js'

// Made by lab/convert_variants.py: transformers in float32 on the same weights.
interface Variant {
  name: string
  folder: string
  config: Record<string, unknown>
  prompts: number[][]
}
const variants: Variant[] = JSON.parse(await readFile(join(FIXTURES, 'variants/variants.json'), 'utf8'))

/** llama.cpp's GELU comes from a table of F16 values. */
const tolerance = (folder: string) => (folder.startsWith('gemma') ? 2e-3 : 2e-5)

let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'traitscope-variants-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

describe('settings of a config.json', () => {
  it.each(variants)("should give transformers' states with $name", async (variant) => {
    const golden = await readSafetensors(join(FIXTURES, 'variants/states.safetensors'))
    const out = join(scratch, `${variant.name}.gguf`)
    const { folder, config } = variant
    // In the file null takes a key away.
    const changes = Object.fromEntries(
      Object.entries(config).map(([key, value]) => [key, value ?? undefined]),
    )
    const source = await changedFolder(scratch, folder, { config: changes })
    await convertModel(source, out, { type: 'F32' })
    await using model = await openModel(out)
    const prompts = variant.prompts.map((ids) => Int32Array.from(ids))
    const layers = Array.from({ length: model.info.nLayer }, (_, layer) => layer)
    const { data } = await hiddenStates(model, prompts, { layers })
    const size = layers.length * model.info.nEmbd
    for (const p of prompts.keys()) {
      const expected = golden.float32(`${variant.name}.${p}`)
      const found = data.subarray(p * size, (p + 1) * size)
      expect(relativeL2(found, expected), `prompt ${p}`).toBeLessThan(tolerance(variant.folder))
    }
  })
})
