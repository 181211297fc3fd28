import { BLOCKS, byteLength, TYPE, u32, u64, WIDTH } from './gguf-parts.mjs'

const INTEGERS = [
  0,
  1,
  2,
  3,
  5,
  7,
  8,
  16,
  31,
  64,
  127,
  255,
  256,
  511,
  512,
  513,
  1000,
  1 << 20,
  0x7fffffff,
  0x80000000,
]
const FLOATS = [
  0,
  -0,
  1,
  -1,
  1e-30,
  1e30,
  3e38,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
]
/** Every architecture with a graph that a decoder-only file may claim, and some that are none. */
const ARCHITECTURES =
  'llama llama4 qwen2 qwen3 qwen2moe qwen3moe qwen2vl gemma gemma2 gemma3 gemma3n phi2 phi3 phimoe mistral3 falcon gpt2 gptneox gptj bloom mpt starcoder starcoder2 stablelm baichuan bert nomic-bert t5 t5encoder mamba mamba2 rwkv6 rwkv7 jamba granite granitehybrid deepseek deepseek2 command-r cohere2 olmo olmo2 olmoe openelm arctic chatglm glm4 exaone minicpm minicpm3 internlm2 orion xverse plamo plamo2 codeshell refact dbrx grok nemotron jais bitnet smollm3 lfm2 gpt-oss ernie4_5 hunyuan-dense apertus clip wavtokenizer-dec dream llada none'.split(
    ' ',
  )
const TOKENIZERS = [
  'gpt2',
  'llama',
  'bert',
  't5',
  'rwkv',
  'plamo2',
  'none',
  'no_vocab',
  'gemma4',
  'hybriddna',
  '',
  'x',
]
const PRES =
  'default llama-bpe qwen2 gpt-2 deepseek-llm falcon mpt starcoder command-r dbrx stablelm2 tekken smollm bloom viking chameleon gpt-4o superbpe gemma4 kimi-k2 x'.split(
    ' ',
  )
/** Keys that llama.cpp looks up without being asked; `{a}` is the architecture. */
const KEYS =
  '{a}.vocab_size {a}.context_length {a}.embedding_length {a}.embedding_length_out {a}.block_count {a}.leading_dense_block_count {a}.feed_forward_length {a}.use_parallel_residual {a}.expert_count {a}.expert_used_count {a}.expert_shared_count {a}.expert_group_count {a}.pooling_type {a}.logit_scale {a}.residual_scale {a}.embedding_scale {a}.attn_logit_softcapping {a}.final_logit_softcapping {a}.attention.head_count {a}.attention.head_count_kv {a}.attention.max_alibi_bias {a}.attention.clamp_kqv {a}.attention.key_length {a}.attention.value_length {a}.attention.key_length_mla {a}.attention.value_length_mla {a}.attention.key_length_swa {a}.attention.value_length_swa {a}.attention.layer_norm_epsilon {a}.attention.layer_norm_rms_epsilon {a}.attention.causal {a}.attention.sliding_window {a}.attention.sliding_window_pattern {a}.attention.scale {a}.attention.temperature_scale {a}.attention.temperature_length {a}.attention.q_lora_rank {a}.attention.kv_lora_rank {a}.attention.shared_kv_layers {a}.attention.recurrent_layers {a}.rope.dimension_count {a}.rope.dimension_count_swa {a}.rope.dimension_sections {a}.rope.freq_base {a}.rope.freq_base_swa {a}.rope.scale_linear {a}.rope.scaling.type {a}.rope.scaling.factor {a}.rope.scaling.attn_factor {a}.rope.scaling.original_context_length {a}.rope.scaling.finetuned {a}.rope.scaling.yarn_log_multiplier {a}.ssm.conv_kernel {a}.ssm.inner_size {a}.nextn_predict_layers {a}.n_deepstack_layers {a}.tensor_data_layout {a}.classifier.output_labels {a}.swiglu_clamp_exp general.alignment general.file_type general.quantization_version general.type general.name split.no split.count split.tensors.count tokenizer.ggml.model tokenizer.ggml.pre tokenizer.ggml.tokens tokenizer.ggml.token_type tokenizer.ggml.token_type_count tokenizer.ggml.scores tokenizer.ggml.merges tokenizer.ggml.bos_token_id tokenizer.ggml.eos_token_id tokenizer.ggml.eot_token_id tokenizer.ggml.eom_token_id tokenizer.ggml.unknown_token_id tokenizer.ggml.seperator_token_id tokenizer.ggml.padding_token_id tokenizer.ggml.cls_token_id tokenizer.ggml.mask_token_id tokenizer.ggml.add_bos_token tokenizer.ggml.add_eos_token tokenizer.ggml.add_sep_token tokenizer.ggml.add_space_prefix tokenizer.ggml.remove_extra_whitespaces tokenizer.ggml.precompiled_charsmap tokenizer.ggml.fim_pre_token_id tokenizer.ggml.suffix_token_id tokenizer.ggml.suppress_tokens tokenizer.ggml.normalizer.lowercase tokenizer.chat_template adapter.type adapter.lora.alpha'.split(
    ' ',
  )
const STRINGS = [
  '',
  'x',
  'none',
  'linear',
  'yarn',
  'longrope',
  'adapter',
  'mmproj',
  '\u0000',
  '\xff',
  'a '.repeat(2000),
]
const TENSOR_NAMES = [
  'token_embd.weight',
  'output.weight',
  'output_norm.weight',
  'rope_freqs.weight',
  'rope_factors_long.weight',
  'rope_factors_short.weight',
]
const BLOCK_PARTS = [
  'attn_q',
  'attn_k',
  'attn_v',
  'attn_qkv',
  'attn_output',
  'attn_norm',
  'ffn_norm',
  'ffn_gate',
  'ffn_up',
  'ffn_down',
  'attn_q_norm',
  'attn_sinks',
  'ffn_gate_inp',
  'ffn_gate_exps',
  'post_attention_norm',
  'rope_freqs',
]

const MUTATIONS = {
  'other value': (random, { pairs }) => {
    const pair = random.pick(pairs)
    if (Array.isArray(pair.value)) return changeArray(random, pair)
    pair.value =
      pair.type === TYPE.string ? stringFor(random, pair.key) : scalar(random, pair.type, pair.value)
    return pair.key
  },
  'other type': (random, { pairs }) => {
    const pair = random.pick(pairs)
    Object.assign(pair, anyValue(random, pair.key))
    return `${pair.key} to ${pair.type}`
  },
  'add key': (random, { pairs }) => {
    const architecture = pairs.find(({ key }) => key === 'general.architecture')?.value ?? 'llama'
    const key = random.pick(KEYS).replace('{a}', String(architecture))
    const pair = { key, ...anyValue(random, key) }
    const present = pairs.findIndex((each) => each.key === key)
    if (present < 0) pairs.push(pair)
    else pairs[present] = pair
    return `${key} of type ${pair.type}`
  },
  'remove key': (random, { pairs }) => pairs.splice(random.below(pairs.length), 1)[0].key,
  'other architecture': (random, { pairs }) => {
    const now = random.pick(ARCHITECTURES)
    const was = String(pairs.find(({ key }) => key === 'general.architecture')?.value)
    for (const pair of pairs) if (pair.key.startsWith(`${was}.`)) pair.key = now + pair.key.slice(was.length)
    const pair = pairs.find(({ key }) => key === 'general.architecture')
    if (pair) Object.assign(pair, { type: TYPE.string, value: Buffer.from(now) })
    return now
  },
  'other tokenizer': (random, { pairs }) => {
    const key = random.pick(['tokenizer.ggml.model', 'tokenizer.ggml.pre'])
    const pair = pairs.find((each) => each.key === key)
    const value = stringFor(random, key)
    if (pair) Object.assign(pair, { type: TYPE.string, value })
    return `${key} ${value}`
  },
  'array length or items': (random, { pairs }) => {
    const arrays = pairs.filter(({ value }) => Array.isArray(value))
    return arrays.length === 0 ? 'no array' : changeArray(random, random.pick(arrays))
  },
  'per-layer array': (random, { pairs }) => {
    const pair = random.pick(pairs.filter(({ type }) => type === TYPE.u32 || type === TYPE.f32))
    if (!pair) return 'none'
    const length = random.pick([0, 1, 2, 3, 4, 5, 8, 512, 513])
    const value = Array.from({ length }, () =>
      random.chance(0.8) ? pair.value : scalar(random, pair.type, pair.value),
    )
    Object.assign(pair, { type: TYPE.array, items: pair.type, value })
    return pair.key
  },
  'tensor shape': (random, { tensors }) => {
    const tensor = random.pick(tensors)
    const axis = random.below(tensor.shape.length)
    const change = random.below(4)
    if (change === 0) tensor.shape.reverse()
    else if (change === 1) tensor.shape.push(random.pick([1, 1, 2]))
    else if (change === 2)
      tensor.shape[axis] = Math.max(0, tensor.shape[axis] + random.pick([-1, 1, -32, 32]))
    else tensor.shape[axis] = random.pick([0, 1, 2, 32, 64, 256])
    if (tensor.shape.length > 4 || byteLength(tensor) > 4e6) tensor.shape = [1]
    refill(tensor)
    return `${tensor.name} [${tensor.shape}]`
  },
  'consistent dimension': (random, { pairs, tensors }) => {
    const was = random.pick(tensors).shape[0]
    const now = random.pick([1, 2, 3, was - 1, was + 1, was * 2, was >> 1, 32, 48]) || 1
    for (const tensor of tensors) {
      tensor.shape = tensor.shape.map((n) => (n === was ? now : n))
      if (byteLength(tensor) > 4e6) tensor.shape = [1]
      refill(tensor)
    }
    for (const pair of pairs)
      if (pair.type === TYPE.u32 && pair.value.readUInt32LE() === was) pair.value = u32(now)
    return `${was} to ${now}`
  },
  'tensor type': (random, { tensors }) => {
    const tensor = random.pick(tensors)
    tensor.type = Number(random.pick(Object.keys(BLOCKS)))
    refill(tensor)
    return `${tensor.name} ${tensor.type}`
  },
  'remove tensor': (random, { tensors }) => tensors.splice(random.below(tensors.length), 1)[0]?.name,
  'rename tensor': (random, { tensors }) => {
    const tensor = random.pick(tensors)
    const was = tensor.name
    tensor.name = tensorName(random)
    return `${was} to ${tensor.name}`
  },
  'add tensor': (random, { tensors }) => {
    const tensor = { ...random.pick(tensors), name: tensorName(random) }
    tensors.push(tensor)
    return tensor.name
  },
  'bad weights': (random, { tensors }) => {
    const tensor = random.pick(tensors)
    const data = Buffer.from(tensor.data)
    const value = random.pick(FLOATS)
    if (random.chance(0.5)) for (let at = 0; at + 4 <= data.length; at += 4) data.writeFloatLE(value, at)
    else if (data.length >= 4) data.writeFloatLE(value, random.below(data.length >> 2) << 2)
    tensor.data = data
    return `${tensor.name} ${value}`
  },
}

function scalar(random, type, was) {
  const bytes = Buffer.alloc(WIDTH[type])
  if (type === TYPE.f32) bytes.writeFloatLE(random.pick(FLOATS))
  else if (WIDTH[type] === 8) return type === 12 ? bytes : u64(random.pick([...INTEGERS, -1, 2 ** 53]))
  else {
    const near = was?.length === 4 ? was.readUInt32LE() + random.pick([-1, 1, was.readUInt32LE()]) : 0
    u32(random.chance(0.4) ? near : random.pick([...INTEGERS, -1, 0xfffffffe])).copy(bytes)
  }
  return bytes
}

function stringFor(random, key) {
  if (random.chance(0.2)) return Buffer.from(random.pick(STRINGS), 'latin1')
  if (key === 'tokenizer.ggml.model') return Buffer.from(random.pick(TOKENIZERS))
  if (key === 'tokenizer.ggml.pre') return Buffer.from(random.pick(PRES))
  if (key === 'general.architecture') return Buffer.from(random.pick(ARCHITECTURES))
  return Buffer.from(random.pick(STRINGS), 'latin1')
}

function anyValue(random, key) {
  // What llama.cpp expects of a number is a u32, f32 or bool: ask for those more often.
  const type = random.pick([4, 4, 4, 6, 6, 7, 7, 8, 9, 9, 0, 1, 2, 3, 5, 10, 11, 12])
  if (type === TYPE.string) return { type, value: stringFor(random, key) }
  if (type !== TYPE.array) return { type, value: scalar(random, type) }
  const items = random.pick([4, 5, 6, 7, 8, 0, 1, 10])
  const length = random.pick([0, 1, 2, 4, 5, 64, 512, 513])
  const one = () => (items === TYPE.string ? stringFor(random, key) : scalar(random, items))
  return { type, items, value: Array.from({ length }, one) }
}

function changeArray(random, pair) {
  const { value, items, key } = pair
  const change = random.below(6)
  const item = () =>
    items === TYPE.string
      ? Buffer.from(random.pick([...STRINGS, 'a b', '\u0120\u0120', '<0x0A>', '\n']), 'utf8')
      : scalar(random, items, value[0])
  if (change === 0) pair.value = value.slice(0, random.below(value.length + 1))
  else if (change === 1) pair.value = [...value, ...Array.from({ length: 1 + random.below(300) }, item)]
  else if (change === 2) pair.value = value.map((each) => (random.chance(0.1) ? item() : each))
  else if (change === 3) pair.value = value.map(item)
  else if (change === 4 && value.length > 0) pair.value = value.map(() => value[random.below(value.length)])
  else pair.value = []
  return `${key}, change ${change}`
}

function tensorName(random) {
  if (random.chance(0.3)) return random.pick(TENSOR_NAMES)
  return `blk.${random.pick([0, 1, 2, 99])}.${random.pick(BLOCK_PARTS)}.${random.pick(['weight', 'weight', 'bias', 'scale'])}`
}

/** Bytes for the tensor's new size, repeated from the old ones. */
function refill(tensor) {
  const was = tensor.data
  const data = Buffer.alloc(byteLength(tensor))
  for (let at = 0; at < data.length && was.length > 0; at += was.length) was.copy(data, at)
  tensor.data = data
}

/** Changes the parts of a GGUF (in place), so that the file stays one that the format allows. */
export function mutateGguf(random, parts, notes) {
  for (
    let i = random.pick([1, 1, 1, 2, 3]);
    i > 0 && parts.pairs.length > 0 && parts.tensors.length > 0;
    i--
  ) {
    const name = random.pick(Object.keys(MUTATIONS))
    notes.push(`${name}: ${MUTATIONS[name](random, parts)}`)
  }
}
