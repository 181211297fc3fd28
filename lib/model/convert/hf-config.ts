import { TraitscopeError } from '../../errors.js'
import { isJsonObject } from '../../formats/json/json.js'
import { shown } from '../../formats/json/json-scan.js'
import { MAX_BLOCKS } from '../base/check-base.js'

type Json = Readonly<Record<string, unknown>>

/** Hugging Face model classes that can be converted, and what llama.cpp's converter calls them. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  LlamaForCausalLM: 'llama',
  MistralForCausalLM: 'llama',
  Qwen2ForCausalLM: 'qwen2',
  Qwen3ForCausalLM: 'qwen3',
  Gemma2ForCausalLM: 'gemma2',
  Gemma3ForCausalLM: 'gemma3',
  Gemma3ForConditionalGeneration: 'gemma3',
  Phi3ForCausalLM: 'phi3',
}

/** Values that a class has when its config.json does not say: multi-modal Gemma 3 leaves most of them out. */
const DEFAULTS: Readonly<Record<string, Json>> = {
  Gemma3ForConditionalGeneration: {
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    query_pre_attn_scalar: 256,
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    rope_local_base_freq: 1e4,
    sliding_window: 4096,
  },
  Gemma3ForCausalLM: { rope_theta: 1e6, rope_local_base_freq: 1e4 },
  Qwen3ForCausalLM: { head_dim: 128 },
}

/** Models of these blocks are the family's 27B, whose attention scale llama.cpp derives from n_embd / heads. */
const BLOCKS_27B: Readonly<Record<string, number>> = { gemma2: 46, gemma3: 62 }

/** A model's config.json with the language model's settings at the top, read by name with errors that name the file. */
export class HfConfig {
  readonly architecture: string
  readonly json: Json

  /** @throws UNSUPPORTED for other classes, quantised weights and settings that llama.cpp would silently drop */
  constructor(
    json: unknown,
    readonly where: string,
  ) {
    if (!isJsonObject(json)) {
      throw new TraitscopeError('FILE_INVALID', `expected ${where} to hold a JSON object`)
    }
    const [name] = Array.isArray(json.architectures) ? (json.architectures as unknown[]) : []
    if (typeof name !== 'string' || !Object.hasOwn(ARCHITECTURES, name)) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${where} names the architecture ${JSON.stringify(name ?? null)}, expected one of ${Object.keys(ARCHITECTURES).join(', ')}`,
      )
    }
    this.architecture = ARCHITECTURES[name]!
    const text = isJsonObject(json.text_config) ? json.text_config : {}
    const stated = Object.entries({ ...json, ...text }).filter(([, value]) => value !== null)
    this.json = { ...DEFAULTS[name], ...Object.fromEntries(stated) }
    this.#refuse()
  }

  integer(key: string, fallback?: number): number {
    const value = this.json[key] ?? fallback
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < 2 ** 32)
      return value
    return this.fail(`${key} to be an integer that is not negative`, value)
  }

  number(key: string, fallback?: number): number {
    const value = this.json[key] ?? fallback
    if (typeof value === 'number' && Number.isFinite(value)) return value
    return this.fail(`${key} to be a number`, value)
  }

  get blocks(): number {
    const blocks = this.integer('num_hidden_layers')
    return blocks >= 1 && blocks <= MAX_BLOCKS
      ? blocks
      : this.fail(`num_hidden_layers to be from 1 to ${MAX_BLOCKS}`, blocks)
  }

  get heads(): number {
    return this.integer('num_attention_heads')
  }

  get kvHeads(): number {
    return this.integer('num_key_value_heads', this.heads)
  }

  /** Rows of a head; stated, or the hidden size over the heads. */
  get headDim(): number {
    const size = this.integer('head_dim', Math.floor(this.integer('hidden_size') / this.heads))
    return size > 0 ? size : this.fail('head_dim to be a positive integer', size)
  }

  /** True when the head is the embedding: stated, or the class's default. */
  get tied(): boolean {
    const stated = this.json.tie_word_embeddings
    return typeof stated === 'boolean' ? stated : this.architecture.startsWith('gemma')
  }

  /** Rotation of all blocks, or of the global ones where a model has two kinds, and the base of the local ones. */
  get rotation(): { parameters: Json; localBase?: number } {
    const { json } = this
    const stated = [json.rope_parameters, json.rope_scaling].find(isJsonObject) ?? {}
    const nested = isJsonObject(stated.full_attention) ? stated.full_attention : undefined
    const local = isJsonObject(stated.sliding_attention) ? stated.sliding_attention.rope_theta : undefined
    const parameters: Json = {
      rope_theta: json.rope_theta ?? 10_000,
      ...(typeof stated.type === 'string' ? { rope_type: stated.type } : {}),
      ...Object.fromEntries(
        ['partial_rotary_factor', 'original_max_position_embeddings']
          .filter((key) => json[key] !== undefined)
          .map((key) => [key, json[key]]),
      ),
      ...(nested ?? stated),
    }
    const localBase = local ?? json.rope_local_base_freq
    return { parameters, ...(typeof localBase === 'number' ? { localBase } : {}) }
  }

  fail(expected: string, found: unknown): never {
    throw new TraitscopeError('FILE_INVALID', `expected in ${this.where} ${expected}, found ${shown(found)}`)
  }

  /** What llama.cpp's graphs have no place for would change every state without a word. */
  #refuse(): void {
    const { json, architecture, where } = this
    const refuse = (what: string): never => {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${where} has ${what}, which llama.cpp's ${architecture} has not`,
      )
    }
    if (json.quantization_config !== undefined) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${where} describes quantised weights (quantization_config); save the model in 16 or 32 bits first`,
      )
    }
    const gemma = architecture.startsWith('gemma')
    if (!gemma && (json.hidden_act ?? 'silu') !== 'silu')
      refuse(`hidden_act ${JSON.stringify(json.hidden_act)}`)
    if (!gemma) return
    const scale = this.integer('query_pre_attn_scalar', this.headDim)
    const large = this.blocks === BLOCKS_27B[architecture]
    if (scale !== (large ? this.integer('hidden_size') / this.heads : this.headDim))
      refuse(`query_pre_attn_scalar ${scale}`)
    if (architecture === 'gemma3' && json.attn_logit_softcapping !== undefined)
      refuse('attn_logit_softcapping')
    const period = architecture === 'gemma2' ? 2 : 6
    const kinds = Array.isArray(json.layer_types) ? (json.layer_types as unknown[]) : []
    const expected = (i: number) => ((i + 1) % period === 0 ? 'full_attention' : 'sliding_attention')
    const other = kinds.findIndex((kind, i) => kind !== expected(i))
    if (other >= 0) refuse(`layer type ${JSON.stringify(kinds[other])} in block ${other}`)
  }
}
