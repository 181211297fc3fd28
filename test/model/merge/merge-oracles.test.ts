import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readGgufParts } from '../../../lib/formats/gguf/gguf-split.js'
import { tensorBytes } from '../../../lib/formats/gguf/gguf-stream.js'
import { readSafetensors } from '../../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../../lib/hidden-states/hidden-states.js'
import { mergeAdapter } from '../../../lib/model/merge/merge.js'
import { openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'
import { relativeL2 } from '../../helpers/tiny.js'

// Oracle: peft on random models of every family (lab/oracles). What can be attached is merged too, and must give the
// states that peft gives; what can only be merged has goldens of its own (lab/oracles/merged.py).
const ORACLES = join(packageRoot, 'test/fixtures/oracles')
/** ggml's table of rounded GELU values, whose effect the goldens imitate to about this; and the F16 file of llama-wide. */
const TOLERANCE: Record<string, number> = { gemma2: 5e-4, gemma3: 5e-4, 'llama-wide': 2e-3 }
const DEFAULT_TOLERANCE = 1e-5

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-merge-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const names = readdirSync(ORACLES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
const cases = names.flatMap((name) =>
  readdirSync(join(ORACLES, name)).flatMap((entry) => {
    const [, kind, variant] = /^(adapter|merge)-(.+)$/.exec(entry) ?? []
    return variant ? [{ name, variant, adapter: entry, own: kind === 'merge' }] : []
  }),
)

/** Rows of the matrix that a model's output is computed with. */
async function outputRows(path: string, rows: Int32Array): Promise<Float32Array> {
  const parts = await readGgufParts(path)
  const tensor = parts.tensors.get('output.weight') ?? parts.tensors.get('token_embd.weight')!
  expect(tensor.type).toBe('F32')
  const [width] = tensor.shape
  const result = new Float32Array(rows.length * width!)
  for (const [i, row] of rows.entries()) {
    const bytes = tensorBytes(parts.fileOf(tensor), tensor, 4 * row * width!, 4 * (row + 1) * width!)
    for await (const piece of bytes) result.set(new Float32Array(piece.slice().buffer), i * width!)
  }
  return result
}

describe.each(cases)('$name merged with $adapter', ({ name, variant, adapter, own }) => {
  it('should have the states, and the output matrix, that peft computes', async () => {
    const base = join(ORACLES, name, 'model.gguf')
    const out = join(folder, `${name}-${adapter}.gguf`)
    const report = await mergeAdapter(base, join(ORACLES, name, adapter), out)
    expect(report.lost).toEqual([])
    const golden = await readSafetensors(
      own
        ? join(ORACLES, name, adapter, 'golden.safetensors')
        : join(ORACLES, name, `golden-${variant}.safetensors`),
    )
    const { prompts } = JSON.parse(readFileSync(join(ORACLES, name, 'prompts.json'), 'utf8')) as {
      prompts: { ids: number[] }[]
    }
    await using model = await openModel(out)
    const layers = Array.from({ length: model.info.nLayer }, (_, i) => i)
    const { data } = await hiddenStates(
      model,
      prompts.map(({ ids }) => Int32Array.from(ids)),
      { layers },
    )
    const last = golden.float32(golden.tensors.has('last.gelu16') ? 'last.gelu16' : 'last')
    const size = data.length / prompts.length
    const worst = Math.max(
      ...prompts.map((_, p) =>
        relativeL2(data.subarray(p * size, (p + 1) * size), last.subarray(p * size, (p + 1) * size)),
      ),
    )
    console.info(`${name} + ${adapter}: worst prompt, all blocks, relative L2 ${worst.toExponential(1)}`)
    expect(worst).toBeLessThan(TOLERANCE[name] ?? DEFAULT_TOLERANCE)
    if (own) {
      const ids = new Int32Array(new Uint8Array(golden.bytes('head.ids')).buffer)
      expect(relativeL2(await outputRows(out, ids), golden.float32('head'))).toBeLessThan(1e-6)
    }
  })
})
