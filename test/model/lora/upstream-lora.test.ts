import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type GgufFile, parseGguf, readGguf } from '../../../lib/formats/gguf/gguf.js'
import { readPeftAdapter } from '../../../lib/formats/peft/peft.js'
import { readSafetensors } from '../../../lib/formats/safetensors/safetensors.js'
import { toGgufLora } from '../../../lib/model/lora/lora.js'
import { mergeAdapter } from '../../../lib/model/merge/merge.js'
import { packageRoot } from '../../../lib/package.js'
import { relativeL2 } from '../../helpers/tiny.js'

// A second opinion: llama.cpp's own tools on the same adapters (lab/upstream_lora.py). Its converter writes B as it is
// and lora_alpha as the alpha, which llama.cpp divides by the rank.
const FIXTURES = join(packageRoot, 'test/fixtures')

/** Tensors of an adapter file, with the factor that llama.cpp applies to the product folded into B. */
function effective(file: GgufFile, bytes: Uint8Array): Map<string, Float32Array> {
  const alpha = file.metadata.get('adapter.lora.alpha') as number
  return new Map(
    [...file.tensors.values()].map(({ name, shape, offset, byteLength }) => {
      const start = file.dataOffset + offset
      const values = new Float32Array(bytes.slice(start, start + byteLength).buffer)
      const factor = name.endsWith('.lora_b') && alpha !== 0 ? alpha / shape[0]! : 1
      return [name, values.map((value) => value * factor)]
    }),
  )
}

async function both(variant: string) {
  const path = join(FIXTURES, 'attach/upstream', `${variant}.gguf`)
  const peft = await readPeftAdapter(join(FIXTURES, `oracles/llama/adapter-${variant}`))
  const { gguf } = toGgufLora(peft, await readGguf(join(FIXTURES, 'oracles/llama/model.gguf')))
  return {
    ours: effective(await parseGguf(gguf, 'ours'), gguf),
    theirs: effective(await readGguf(path), new Uint8Array(await readFile(path))),
  }
}

describe('llama-export-lora', () => {
  it('should merge the same change into the same tensors', async () => {
    const theirs = await readSafetensors(join(FIXTURES, 'attach/upstream/merged-plain.safetensors'))
    const out = join(mkdtempSync(join(tmpdir(), 'traitscope-upstream-')), 'merged.gguf')
    const base = join(FIXTURES, 'oracles/llama/model.gguf')
    const { changed } = await mergeAdapter(base, join(FIXTURES, 'oracles/llama/adapter-plain'), out)
    expect(changed.map(({ tensor }) => tensor).sort()).toEqual([...theirs.tensors.keys()].sort())
    const merged = await readGguf(out)
    const bytes = await readFile(out)
    for (const [name, { shape }] of theirs.tensors) {
      const { offset, byteLength } = merged.tensors.get(name)!
      const start = merged.dataOffset + offset
      const ours = new Float32Array(new Uint8Array(bytes.subarray(start, start + byteLength)).buffer)
      expect(ours).toHaveLength(shape.reduce((a, b) => a * b))
      expect(relativeL2(ours, theirs.float32(name)), name).toBeLessThan(1e-6)
    }
    rmSync(join(out, '..'), { recursive: true })
  })
})

describe("llama.cpp's adapter converter", () => {
  it('should agree on plain LoRA: names, permuted rows and scale', async () => {
    const { ours, theirs } = await both('plain')
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort())
    for (const [name, values] of theirs) expect(relativeL2(ours.get(name)!, values), name).toBeLessThan(1e-7)
  })

  it('should make rsLoRA too weak by the root of its rank', async () => {
    const { ours, theirs } = await both('rslora')
    for (const [name, values] of theirs) {
      const right = name.endsWith('.lora_b') ? values.map((value) => value * Math.sqrt(6)) : values
      expect(relativeL2(ours.get(name)!, right), name).toBeLessThan(1e-6)
    }
  })
})
