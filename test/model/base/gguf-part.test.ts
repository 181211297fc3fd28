import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeGguf, type GgufInput, parseGguf } from '../../../lib/formats/gguf/gguf.js'
import { SUPPORTED_ARCHITECTURES } from '../../../lib/model/base/architectures.js'
import {
  DEPTHS_WITH_A_MEANING,
  encodePart,
  encodePlan,
  ggufUpTo,
  wholeGguf,
} from '../../../lib/model/base/gguf-part.js'
import { packageRoot } from '../../../lib/package.js'

async function base(architecture: string, blocks: number, extra: GgufInput['metadata'] = []) {
  const tensor = (name: string, rows = 4) => ({
    ...{ name, shape: [8, rows], type: 'F32' as const },
    data: new Float32Array(8 * rows).fill(name.length),
  })
  const bytes = encodeGguf({
    metadata: [
      ['general.architecture', 'string', architecture],
      [`${architecture}.block_count`, 'u32', blocks],
      ['tokenizer.ggml.model', 'string', 'gpt2'],
      ['tokenizer.ggml.tokens', 'string[]', ['a', 'b', 'c', 'd', 'e']],
      ...extra,
    ],
    tensors: [
      tensor('output.weight'),
      tensor('token_embd.weight', 5),
      ...Array.from({ length: blocks }, (_, i) => tensor(`blk.${i}.attn_q.weight`)),
      tensor('output_norm.weight'),
      tensor('rope_freqs.weight'),
    ],
  })
  return { bytes, gguf: await parseGguf(bytes, 'base') }
}

const names = ({ tensors }: { tensors: readonly { name: string }[] }) => tensors.map(({ name }) => name)

describe('ggufUpTo', () => {
  it('should hold the blocks up to the layer and one that does not run, and no head', async () => {
    const { gguf } = await base('llama', 6)
    const part = ggufUpTo(gguf, 'llama', 2)
    expect(part).toMatchObject({ blocks: 4, runsTo: 3, runsHead: false })
    expect(names(part)).toEqual([
      ...['token_embd.weight', 'blk.0.attn_q.weight', 'blk.1.attn_q.weight', 'blk.2.attn_q.weight'],
      ...['blk.3.attn_q.weight', 'output_norm.weight', 'rope_freqs.weight'],
    ])
    expect(ggufUpTo(gguf, 'llama', 4)).toMatchObject({ blocks: 6, runsTo: 5 })
    expect(ggufUpTo(gguf, 'llama', 5)).toMatchObject({ blocks: 6, runsTo: 6 })
  })

  it('should keep the depth where llama.cpp reads more from it', async () => {
    const attention: [string, number, number, number][] = [
      ['gemma2', 46, 10, 46],
      ['gemma3', 62, 10, 62],
      ['gemma2', 42, 10, 12],
      ['gemma2', 60, 44, 47], // would be 46
      ['llama', 62, 10, 12],
    ]
    for (const [architecture, blocks, layer, kept] of attention) {
      const { gguf } = await base(architecture, blocks)
      expect(ggufUpTo(gguf, architecture, layer)).toMatchObject({ blocks: kept, runsTo: layer + 1 })
    }
    const { gguf } = await base('llama', 6, [['llama.nextn_predict_layers', 'u32', 1]])
    expect(ggufUpTo(gguf, 'llama', 1).blocks).toBe(6)
  })
})

const models = join(process.env.TRAITSCOPE_LLAMA_CPP ?? join(packageRoot, 'deps/llama.cpp'), 'src/models')
const noSource = !existsSync(models)
if (noSource) console.info(`skipped llama.cpp's source: ${models} is not there; npm run build fetches it`)

describe.skipIf(noSource)("llama.cpp's source", () => {
  it('should draw nothing else from the depth of a model than what keeps its depth', () => {
    for (const architecture of SUPPORTED_ARCHITECTURES) {
      const source = readFileSync(join(models, `${architecture}.cpp`), 'utf8')
      const drawn = [...source.matchAll(/type == (LLM_TYPE_\w+)/g)].map(([, type]) => type)
      const depths = drawn.map((type) => Number(new RegExp(`case (\\d+): type = ${type}`).exec(source)![1]))
      expect({ architecture, depths }).toEqual({
        architecture,
        depths: DEPTHS_WITH_A_MEANING[architecture] ?? [],
      })
    }
  })

  it('should need no head in any family', () => {
    for (const architecture of SUPPORTED_ARCHITECTURES) {
      const source = readFileSync(join(models, `${architecture}.cpp`), 'utf8')
      const heads = [...source.matchAll(/tn\(LLM_TENSOR_OUTPUT,.*$/gm)].map(([line]) => line)
      expect(heads.filter((line) => !line.includes('TENSOR_NOT_REQUIRED'))).toEqual([])
    }
  })
})

describe('encodePart', () => {
  it('should be a GGUF of that depth, with settings per block cut and the rest as it was', async () => {
    const { bytes, gguf } = await base('llama', 6, [
      ['llama.attention.head_count_kv', 'i32[]', [1, 2, 3, 4, 5, 6]],
      ['llama.rope.dimension_sections', 'i32[]', [7, 8, 9]],
    ])
    const { header, parts } = encodePart(gguf, 'llama', ggufUpTo(gguf, 'llama', 2))
    const data = new Uint8Array(parts.at(-3)! + parts.at(-2)!)
    for (let i = 0; i < parts.length; i += 3) {
      const [begin, size, source] = parts.subarray(i, i + 3) as unknown as [number, number, number]
      if (source >= 0) data.set(bytes.subarray(source, source + size), begin)
    }
    const read = await parseGguf(Buffer.concat([header, data]), 'part')
    expect(read.metadata.get('llama.block_count')).toBe(4)
    expect(read.metadata.get('llama.attention.head_count_kv')).toEqual(Int32Array.of(1, 2, 3, 4))
    expect(read.metadata.get('llama.rope.dimension_sections')).toEqual(Int32Array.of(7, 8, 9))
    expect([...(read.metadata.get('tokenizer.ggml.tokens') as Iterable<string>)]).toEqual([...'abcde'])
    const unread = [...read.tensors.values()]
      .filter((_, i) => parts[3 * i + 2] === -1)
      .map(({ name }) => name)
    expect(unread).toEqual(['blk.3.attn_q.weight'])
    for (const [i, { name, byteLength }] of [...read.tensors.values()].entries()) {
      const source = parts[3 * i + 2]!
      const original = gguf.tensors.get(name)!
      expect(byteLength).toBe(original.byteLength)
      if (source >= 0) expect(source).toBe(gguf.dataOffset + original.offset)
    }
  })
})

describe('encodePlan', () => {
  it('should have every tensor and no vocabulary', async () => {
    const { gguf } = await base('llama', 3)
    const part = wholeGguf(gguf, 'llama')
    const { header, parts } = encodePlan(gguf, 'llama', part, 5)
    const read = await parseGguf(Buffer.concat([header, new Uint8Array(parts[1]!)]), 'plan')
    expect([...read.tensors.keys()]).toEqual(names(part))
    expect(read.metadata.get('llama.vocab_size')).toBe(5)
    expect(read.metadata.has('tokenizer.ggml.tokens')).toBe(false)
    expect(parts).toEqual(Float64Array.of(0, parts[1]!, -1))
  })
})
