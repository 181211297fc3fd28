import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/binding.js'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { encodePlan, ggufUpTo, wholeGguf } from '../../lib/model/base/gguf-part.js'
import { openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { TINY_BASE } from '../helpers/tiny.js'

// A plan is made from a header without vocabulary and without data. On the CPU nobody needs one, so here it is held against
// what llama.cpp's buffers hold after a pass; test/device does the same for a device's memory.
const ORACLES = join(packageRoot, 'test/fixtures/oracles')
const files = [
  TINY_BASE,
  ...readdirSync(ORACLES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(ORACLES, name, 'model.gguf')),
]

describe.each(files)('the plan of memory for %s', (path) => {
  it.each([
    ['the whole', undefined],
    ['a part', 0],
  ])('should be right for %s', async (_, layer) => {
    const gguf = await readGguf(path)
    const architecture = String(gguf.metadata.get('general.architecture'))
    const part = layer === undefined ? wholeGguf(gguf, architecture) : ggufUpTo(gguf, architecture, layer)
    const { blocks, runsTo, runsHead } = part
    for (const batchTokens of [256, 1024]) {
      const options = { repack: false, mmap: false, device: 'cpu', batchTokens }
      await using model = await openModel(
        path,
        layer === undefined ? options : { ...options, layers: [layer] },
      )
      const [planned] = await binding().planMemory({
        ...{ path, blocks, runsTo, runsHead, device: '', onDevice: 0, repack: false, batchTokens },
        ...encodePlan(gguf, architecture, part, model.info.nVocab),
      })
      // Short prompts get a smaller context where a base rotates long ones otherwise: the plan is for the largest.
      if (!model.limits.longRope) await hiddenStates(model, [Int32Array.of(1, 2, 3)], { layers: [0] })
      const [taken] = await model.memory()
      for (const what of ['weights', 'context', 'compute'] as const) {
        expect(taken![what]).toBeGreaterThan(0)
        expect(Math.abs(planned![what] - taken![what]) / taken![what], what).toBeLessThan(0.1)
      }
    }
  })
})
