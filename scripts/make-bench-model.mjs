// Makes GGUFs with random weights for benchmarks: the shape of a Llama 3 model of about 1 or 8 billion parameters, the
// Llama 3 vocabulary out of llama.cpp's source, and a chat template that writes what Llama 3's does. Never committed.
//
//   node scripts/make-bench-model.mjs OUT_DIR [--shape 1b|8b] [--type F16,BF16,Q8_0]
//   node scripts/make-bench-model.mjs OUT_DIR --shape 8b --type BF16 --holes    a sparse file of zeros, for memory alone
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { binding } from '../dist/lib/binding.js'
import { encodeGgufHeader, readGguf } from '../dist/lib/formats/gguf/gguf.js'
import { llamaSource, root } from './llama-source.mjs'

const SHAPES = {
  '1b': { blocks: 16, nEmbd: 2048, heads: 32, kvHeads: 8, nFf: 8192, tied: true },
  '8b': { blocks: 32, nEmbd: 4096, heads: 32, kvHeads: 8, nFf: 14336, tied: false },
}

/** [name, ne0, ne1] of every matrix, and the norms. */
function tensorsOf({ blocks, nEmbd, heads, kvHeads, nFf, tied }, nVocab, matrixType) {
  const kv = (nEmbd / heads) * kvHeads
  const block = (i) => [
    [`blk.${i}.attn_norm.weight`, nEmbd],
    [`blk.${i}.attn_q.weight`, nEmbd, nEmbd],
    [`blk.${i}.attn_k.weight`, nEmbd, kv],
    [`blk.${i}.attn_v.weight`, nEmbd, kv],
    [`blk.${i}.attn_output.weight`, nEmbd, nEmbd],
    [`blk.${i}.ffn_norm.weight`, nEmbd],
    [`blk.${i}.ffn_gate.weight`, nEmbd, nFf],
    [`blk.${i}.ffn_up.weight`, nEmbd, nFf],
    [`blk.${i}.ffn_down.weight`, nFf, nEmbd],
  ]
  return [
    ['token_embd.weight', nEmbd, nVocab],
    ...Array.from({ length: blocks }, (_, i) => block(i)).flat(),
    ['output_norm.weight', nEmbd],
    ...(tied ? [] : [['output.weight', nEmbd, nVocab]]),
  ].map(([name, ...shape]) => ({ name, shape, type: shape.length === 1 ? 'F32' : matrixType }))
}

/** Half-precision numbers of either sign from 2^-7 to 2^-5, about 0.018 in the mean: bits are drawn, not rounded. */
function randomHalves(length) {
  let state = 20
  return Uint16Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return ((state >>> 16) & 0x8000) | (0x2000 + ((state >>> 12) & 0x7ff))
  })
}

async function writeRandomModel(path, shape, holes) {
  const vocabulary = await readGguf(join(llamaSource(), 'models/ggml-vocab-llama-bpe.gguf'))
  const { templates } = JSON.parse(
    readFileSync(join(root, 'test/fixtures/prompts/chat-templates.json'), 'utf8'),
  )
  const nVocab = vocabulary.metadata.get('tokenizer.ggml.tokens').length
  const headDim = shape.nEmbd / shape.heads
  const metadata = [
    ['general.architecture', 'string', 'llama'],
    ['general.name', 'string', 'random weights'],
    ['general.file_type', 'u32', 1],
    ['llama.block_count', 'u32', shape.blocks],
    ['llama.context_length', 'u32', 8192],
    ['llama.embedding_length', 'u32', shape.nEmbd],
    ['llama.feed_forward_length', 'u32', shape.nFf],
    ['llama.attention.head_count', 'u32', shape.heads],
    ['llama.attention.head_count_kv', 'u32', shape.kvHeads],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
    ['llama.rope.dimension_count', 'u32', headDim],
    ['llama.rope.freq_base', 'f32', 500000],
    ['llama.vocab_size', 'u32', nVocab],
    ...[...vocabulary.metadata]
      .filter(([key]) => key.startsWith('tokenizer.ggml.'))
      .map(([key, value]) => [key, vocabulary.types.get(key), value]),
    ['tokenizer.chat_template', 'string', templates['llama-3'].source],
  ]
  const tensors = tensorsOf(shape, nVocab, holes ?? 'F16')
  const { bytes, offsets, dataBytes } = encodeGgufHeader(metadata, tensors)
  const file = await open(path, 'wx')
  try {
    await file.write(bytes)
    if (holes) return await file.truncate(bytes.length + dataBytes)
    // A prime length: the repetition never falls into step with the rows.
    const halves = randomHalves(4_194_301)
    for (const [t, { shape: ne, type }] of tensors.entries()) {
      let at = bytes.length + offsets[t]
      let left = ne.reduce((product, n) => product * n, 1)
      while (left > 0) {
        const part =
          type === 'F32' ? new Float32Array(left).fill(1) : halves.subarray(0, Math.min(left, halves.length))
        await file.write(
          new Uint8Array(part.buffer, part.byteOffset, part.byteLength),
          0,
          part.byteLength,
          at,
        )
        at += part.byteLength
        left -= part.length
      }
    }
  } finally {
    await file.close()
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    shape: { type: 'string', default: '1b' },
    type: { type: 'string', default: 'F16,BF16,Q8_0' },
    holes: { type: 'boolean', default: false },
  },
})
const [out] = positionals
const shape = SHAPES[values.shape]
if (out === undefined || shape === undefined) {
  console.error('usage: node scripts/make-bench-model.mjs OUT_DIR [--shape 1b|8b] [--type F16,BF16,Q8_0]')
  process.exit(2)
}
mkdirSync(out, { recursive: true })
const pathOf = (type) => join(out, `random-${values.shape}-${type}.gguf`)
const types = values.type.split(',')
if (values.holes) {
  for (const type of types) {
    await writeRandomModel(join(out, `holes-${values.shape}-${type}.gguf`), shape, type)
    console.log(join(out, `holes-${values.shape}-${type}.gguf`))
  }
  process.exit()
}
if (!existsSync(pathOf('F16'))) await writeRandomModel(pathOf('F16'), shape)
for (const type of types) {
  if (!existsSync(pathOf(type))) await binding().quantize(pathOf('F16'), pathOf(type), type, 2)
  console.log(pathOf(type))
}
if (!types.includes('F16')) await rm(pathOf('F16'))
