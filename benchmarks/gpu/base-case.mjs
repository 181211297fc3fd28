// The large base of the suite as numbers: it is made where it is needed, from headers and a seed (weights.h). The file is
// what transformers loads; llama.cpp gets a GGUF that exists nowhere and whose parts lie in that file (native/core/model_file.h).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { neededOperations } from '../../dist/lib/bench/roofline.js'
import { encodeGgufHeader, readGguf } from '../../dist/lib/formats/gguf/gguf.js'
import { ChatTemplate, chatTokens, evaluationPrompts, loadTraitPack } from '../../dist/lib/index.js'
import { encodePart, ggufUpTo } from '../../dist/lib/model/base/gguf-part.js'
import { rotaryRowOrder } from '../../dist/lib/model/lora/lora-permute.js'
import { splitThreshold } from '../../dist/lib/model/placement.js'
import { openVocabulary } from '../../dist/lib/model/vocabulary.js'
import { planPrompts } from '../../dist/lib/prompts/plan.js'
import { llamaSource, root } from '../../scripts/llama-source.mjs'

/** `cells`: tokens in memory at once, and the groups that are tried. */
const SHAPES = {
  '8b': {
    ...{ layer: 14, blocks: 32, nEmbd: 4096, heads: 32, kvHeads: 8, nFf: 14336, nVocab: 128256 },
    ...{ checkpoints: 20, cells: [256, 512, 768, 1024, 1536, 2048, 2304] },
  },
  tiny: {
    ...{ layer: 1, blocks: 4, nEmbd: 128, heads: 4, kvHeads: 2, nFf: 256, nVocab: 1024 },
    ...{ checkpoints: 4, cells: [256, 512] },
  },
}

const RANK = 16
const RANDOM = 0
const ONES = 1
const SMALL_F32 = 2
const BYTES = { BF16: 2, F32: 4 }

/** The evaluation prompts of the core pack in Llama 3's tokens. */
async function tokens({ nVocab }) {
  const path = join(llamaSource(), 'models/ggml-vocab-llama-bpe.gguf')
  const vocabulary = await readGguf(path)
  const metadata = [...vocabulary.metadata].map(([key, value]) => [key, vocabulary.types.get(key), value])
  const { templates } = JSON.parse(
    readFileSync(join(root, 'test/fixtures/prompts/chat-templates.json'), 'utf8'),
  )
  const open = await openVocabulary(metadata)
  const model = { tokenize: (texts) => open.tokenize(texts, false) }
  const pack = await loadTraitPack('core')
  const special = { bosToken: open.info.bos?.text, eosToken: open.info.eos?.text }
  const template = new ChatTemplate(templates['llama-3'].source, {
    ...special,
    acknowledgement: pack.acknowledgement,
  })
  const lists = await chatTokens(
    model,
    template,
    evaluationPrompts(pack).map(({ messages }) => messages),
  )
  await open[Symbol.asyncDispose]()
  return lists.map((ids) => ids.map((id) => id % nVocab))
}

/** [GGUF name, Hugging Face name, ne0, ne1]; a norm has no ne1. */
function tensorsOf({ blocks, nEmbd, heads, kvHeads, nFf, nVocab }) {
  const kv = (nEmbd / heads) * kvHeads
  const block = (i) =>
    [
      ['attn_norm', 'input_layernorm', nEmbd],
      ['attn_q', 'self_attn.q_proj', nEmbd, nEmbd],
      ['attn_k', 'self_attn.k_proj', nEmbd, kv],
      ['attn_v', 'self_attn.v_proj', nEmbd, kv],
      ['attn_output', 'self_attn.o_proj', nEmbd, nEmbd],
      ['ffn_norm', 'post_attention_layernorm', nEmbd],
      ['ffn_gate', 'mlp.gate_proj', nEmbd, nFf],
      ['ffn_up', 'mlp.up_proj', nEmbd, nFf],
      ['ffn_down', 'mlp.down_proj', nFf, nEmbd],
    ].map(([ours, theirs, ...ne]) => [`blk.${i}.${ours}.weight`, `model.layers.${i}.${theirs}.weight`, ...ne])
  return [
    ['token_embd.weight', 'model.embed_tokens.weight', nEmbd, nVocab],
    ...Array.from({ length: blocks }, (_, i) => block(i)).flat(),
    ['output_norm.weight', 'model.norm.weight', nEmbd],
    ['output.weight', 'lm_head.weight', nEmbd, nVocab],
  ]
}

/** The header of a safetensors file, what fills it, and where each tensor lies in it. */
function safetensors(tensors) {
  const header = { __metadata__: { format: 'pt' } }
  const offsets = new Map()
  let at = 0
  for (const { name, dtype, shape } of tensors) {
    const size = shape.reduce((product, n) => product * n, BYTES[dtype])
    header[name] = { dtype, shape, data_offsets: [at, at + size] }
    offsets.set(name, [at, size])
    at += size
  }
  const json = JSON.stringify(header)
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8))
  const bytes = Buffer.alloc(8 + text.length)
  bytes.writeBigUInt64LE(BigInt(text.length))
  text.copy(bytes, 8)
  for (const place of offsets.values()) place[0] += bytes.length
  return { bytes: new Uint8Array(bytes), offsets }
}

const longs = (numbers) => BigInt64Array.from(numbers, BigInt)

/** One part a row, where llama.cpp has a head's rows in another order than Hugging Face. */
function rowParts([begin, size, source], rows, heads) {
  if (source < 0) return [begin, size, source]
  const rowBytes = size / rows
  return [...rotaryRowOrder(rows, heads)].flatMap((from, row) => [
    begin + row * rowBytes,
    rowBytes,
    source + from * rowBytes,
  ])
}

function triples(numbers) {
  return Array.from({ length: numbers.length / 3 }, (_, i) => [...numbers.subarray(3 * i, 3 * i + 3)])
}

/** llama.cpp multiplies norms in F32 alone; transformers rounds them when it loads them. */
const typeOf = (ne) => (ne.length === 1 ? 'F32' : 'BF16')

function base(shape) {
  const { blocks, nEmbd, heads, kvHeads, nFf, nVocab, layer } = shape
  const tensors = tensorsOf(shape)
  const { bytes, offsets } = safetensors(
    tensors.map(([, name, ...ne]) => ({ name, dtype: typeOf(ne), shape: ne.reverse() })),
  )
  const metadata = [
    ['general.architecture', 'string', 'llama'],
    ['tokenizer.ggml.model', 'string', 'none'],
    ['llama.vocab_size', 'u32', nVocab],
    ['llama.block_count', 'u32', blocks],
    ['llama.context_length', 'u32', 8192],
    ['llama.embedding_length', 'u32', nEmbd],
    ['llama.feed_forward_length', 'u32', nFf],
    ['llama.attention.head_count', 'u32', heads],
    ['llama.attention.head_count_kv', 'u32', kvHeads],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
    ['llama.rope.dimension_count', 'u32', nEmbd / heads],
    ['llama.rope.freq_base', 'f32', 500000],
  ]
  const gguf = {
    metadata: new Map(metadata.map(([key, , value]) => [key, value])),
    types: new Map(metadata.map(([key, type]) => [key, type])),
    dataOffset: 0,
    tensors: new Map(
      tensors.map(([name, theirs, ...ne]) => {
        const [offset, byteLength] = offsets.get(theirs)
        return [name, { name, shape: ne, type: typeOf(ne), offset, byteLength }]
      }),
    ),
  }
  const part = ggufUpTo(gguf, 'llama', layer)
  const { header, parts } = encodePart(gguf, 'llama', part)
  const rowsOf = (name) =>
    /attn_q\.weight$/.test(name) ? heads : /attn_k\.weight$/.test(name) ? kvHeads : undefined
  const numbers = triples(parts).flatMap((triple, i) => {
    const { name, shape: ne } = part.tensors[i]
    const n = rowsOf(name)
    return n === undefined ? triple : rowParts(triple, ne[1], n)
  })
  return {
    gguf,
    fill: tensors.flatMap(([, name, , ne1]) => [offsets.get(name)[1], ne1 === undefined ? ONES : RANDOM]),
    header: bytes,
    part: { header, parts: numbers, blocks: part.blocks },
  }
}

/** Rank 16 on queries and values of every block; llama.cpp gets those of the blocks that run. */
function adapter({ blocks, nEmbd, heads, kvHeads, layer }) {
  const modules = Array.from({ length: blocks }, (_, i) =>
    [
      ['q', nEmbd],
      ['v', (nEmbd / heads) * kvHeads],
    ].map(([projection, rows]) => ({ block: i, projection, rows })),
  ).flat()
  const name = ({ block, projection }, which) =>
    `base_model.model.model.layers.${block}.self_attn.${projection}_proj.lora_${which}.weight`
  const { bytes, offsets } = safetensors(
    modules.flatMap((module) => [
      { name: name(module, 'A'), dtype: 'F32', shape: [RANK, nEmbd] },
      { name: name(module, 'B'), dtype: 'F32', shape: [module.rows, RANK] },
    ]),
  )
  const running = modules.filter(({ block }) => block <= layer)
  const tensors = running.flatMap((module) => {
    const tensor = `blk.${module.block}.attn_${module.projection}.weight.lora_`
    return [
      { name: `${tensor}a`, shape: [nEmbd, RANK], type: 'F32', from: offsets.get(name(module, 'A')) },
      {
        ...{ name: `${tensor}b`, shape: [RANK, module.rows], type: 'F32' },
        ...{ from: offsets.get(name(module, 'B')), rows: module.projection === 'q' ? module.rows : 0 },
      },
    ]
  })
  const { bytes: header, offsets: begins } = encodeGgufHeader(
    [
      ['general.type', 'string', 'adapter'],
      ['general.architecture', 'string', 'llama'],
      ['adapter.type', 'string', 'lora'],
      ['adapter.lora.alpha', 'f32', 0],
    ],
    tensors,
  )
  const parts = tensors.flatMap(({ from: [source, size], rows }, i) => {
    const triple = [begins[i], size, source]
    return rows ? rowParts(triple, rows, heads) : triple
  })
  const fill = [...offsets.values()].flatMap(([, size]) => [size, SMALL_F32])
  return { header: bytes, fill, part: { header, parts } }
}

export async function baseCase(name) {
  const shape = SHAPES[name]
  if (shape === undefined)
    throw new Error(`expected a shape of ${Object.keys(SHAPES).join(', ')}, found ${name}`)
  const { layer, blocks, nEmbd, heads, kvHeads, nFf, nVocab } = shape
  const prompts = await tokens(shape)
  const plan = planPrompts(prompts, { maxTokens: Math.max(...shape.cells), inGroups: true, pool: 'last' })
  if (plan.batches.length !== 1) throw new Error('expected one batch')
  const made = base(shape)
  const lora = adapter(shape)
  const operations = (trial) => neededOperations(made.gguf, layer, trial)
  return {
    numbers: {
      ...{ shape: name, layer, nEmbd, nFf, rows: plan.nRows, promptTokens: plan.tokens.total },
      ...{ blocks: made.part.blocks, checkpoints: shape.checkpoints, splitFrom: splitThreshold(layer) },
      cells: Int32Array.from(shape.cells),
      'operations.token': operations({ computedTokens: 1, contextTokens: 0 }),
      'operations.contextTokenLess': -operations({ computedTokens: 0, contextTokens: 1 }),
      ...{ 'base.header': made.header, 'base.fill': longs(made.fill) },
      ...{ 'base.gguf': made.part.header, 'base.parts': longs(made.part.parts) },
      ...{ 'adapter.header': lora.header, 'adapter.fill': longs(lora.fill) },
      ...{ 'adapter.gguf': lora.part.header, 'adapter.parts': longs(lora.part.parts) },
      batch: plan.batches[0],
    },
    config: {
      ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', dtype: 'bfloat16', layer },
      ...{ hidden_size: nEmbd, intermediate_size: nFf, num_hidden_layers: blocks, vocab_size: nVocab },
      ...{ num_attention_heads: heads, num_key_value_heads: kvHeads, rms_norm_eps: 1e-5 },
      ...{ max_position_embeddings: 8192, rope_theta: 500000, tie_word_embeddings: false },
      rope_parameters: { rope_type: 'default', rope_theta: 500000 },
    },
    adapterConfig: {
      ...{ peft_type: 'LORA', task_type: 'CAUSAL_LM', r: RANK, lora_alpha: RANK, lora_dropout: 0 },
      ...{ target_modules: ['q_proj', 'v_proj'], bias: 'none', inference_mode: true },
      base_model_name_or_path: null,
    },
    prompts: prompts.map((ids) => [...ids]),
  }
}
