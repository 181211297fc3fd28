import { TraitscopeError } from '../../errors.js'
import { isJsonObject } from '../../formats/json/json.js'
import { MAX_BLOCKS } from '../base/check-base.js'
import { HF_CLASSES, type HfClass, INERT_CLASS_KEYS, INERT_CONFIG_KEYS } from './hf-classes.js'
import { type Rotation, readRotation } from './hf-rotation.js'
import { readWindow, type SlidingWindow } from './hf-window.js'
import { type IgnoredKeys, refuseUnread, Settings } from './settings.js'

/** Activations that llama.cpp's graphs compute, by the names that transformers has for them. */
const ACTIVATIONS = { gated: ['silu', 'swish'], gemma: ['gelu_pytorch_tanh', 'gelu_new'] }

/** Models of these blocks are the family's 27B, whose attention scale llama.cpp derives from n_embd / heads. */
const BLOCKS_27B: Readonly<Record<string, number>> = { gemma2: 46, gemma3: 62 }

/** A model's config.json, with what it says about the language model read and checked. */
export class HfConfig {
  readonly architecture: string
  /** Settings of the language model, by their names in config.json. */
  readonly settings: Settings
  readonly rotation: Rotation
  readonly window: SlidingWindow | undefined
  readonly #class: HfClass
  readonly #className: string
  readonly #top: Settings

  /**
   * @throws UNSUPPORTED for other classes, quantised weights and settings that llama.cpp would silently drop;
   * FILE_INVALID
   */
  constructor(
    json: unknown,
    readonly where: string,
  ) {
    if (!isJsonObject(json)) {
      throw new TraitscopeError('FILE_INVALID', `expected ${where} to hold a JSON object`)
    }
    const [name] = Array.isArray(json.architectures) ? (json.architectures as unknown[]) : []
    if (typeof name !== 'string' || !Object.hasOwn(HF_CLASSES, name)) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${where} names the architecture ${JSON.stringify(name ?? null)}, expected one of ${Object.keys(HF_CLASSES).join(', ')}`,
      )
    }
    this.#className = name
    this.#class = HF_CLASSES[name]!
    this.architecture = this.#class.architecture
    this.#top = new Settings(json, where, this.#class.defaults)
    this.settings = this.#languageModel()
    this.#checkKind()
    this.rotation = readRotation(this.settings, this.architecture)
    this.window = readWindow(this.settings, this.#class, this.blocks)
  }

  get blocks(): number {
    const blocks = this.settings.integer('num_hidden_layers')
    return blocks >= 1 && blocks <= MAX_BLOCKS
      ? blocks
      : this.settings.fail('num_hidden_layers', `from 1 to ${MAX_BLOCKS}`, blocks)
  }

  get heads(): number {
    return this.settings.count('num_attention_heads')
  }

  get kvHeads(): number {
    return this.settings.count('num_key_value_heads', this.heads)
  }

  get context(): number {
    return this.settings.count('max_position_embeddings')
  }

  /** Rows of a head; stated, or the hidden size over the heads. */
  get headDim(): number {
    return this.settings.count('head_dim', Math.floor(this.settings.integer('hidden_size') / this.heads))
  }

  /** True when a head size is stated, rather than what follows from the hidden size. */
  get statesHeadDim(): boolean {
    return (this.settings.get('head_dim') ?? undefined) !== undefined
  }

  /** True when the head is the embedding: stated, or the class's default. */
  get tied(): boolean {
    const tied = this.#top.flag('tie_word_embeddings')
    if (this.settings.flag('tie_word_embeddings', tied) !== tied) {
      this.settings.refuse('tie_word_embeddings', `and ${tied} outside`)
    }
    return tied
  }

  /** Linear modules that have a bias, by the last part of their path. */
  get biases(): readonly string[] {
    const { settings } = this
    if (this.#className === 'Qwen2ForCausalLM') return ['q_proj', 'k_proj', 'v_proj']
    if (!['LlamaForCausalLM', 'Qwen3ForCausalLM'].includes(this.#className) && !this.#gemma) return []
    const attention = settings.flag('attention_bias') ? ['q_proj', 'k_proj', 'v_proj', 'o_proj'] : []
    const mlp = this.#className === 'LlamaForCausalLM' && settings.flag('mlp_bias')
    return mlp ? [...attention, 'gate_proj', 'up_proj', 'down_proj'] : attention
  }

  /** The id that config.json gives to a special token, where it names one. */
  tokenId(role: string): unknown {
    const key = `${role}_token_id`
    const [inner, outer] = [this.settings.get(key), this.#top.get(key)]
    return inner ?? outer
  }

  /**
   * To be called when everything has been read.
   *
   * @throws UNSUPPORTED for keys that nothing has read and that are not known to be without effect
   */
  refuseUnread(ignored: IgnoredKeys): void {
    for (const role of ['bos', 'eos', 'unk', 'pad']) this.tokenId(role)
    const inert = { ...INERT_CONFIG_KEYS, ...INERT_CLASS_KEYS[this.#className] }
    refuseUnread(this.#top, inert, ignored)
  }

  get #gemma(): boolean {
    return this.architecture.startsWith('gemma')
  }

  #languageModel(): Settings {
    const { nested, modelType, defaults } = this.#class
    requireType(this.#top, modelType)
    if (!nested) return this.#top
    const settings = this.#top.child(nested.key, defaults)
    if (!settings) return this.#top.fail(nested.key, 'an object')
    requireType(settings, nested.modelType)
    return settings
  }

  /** What llama.cpp's graphs have no place for would change every state without a word. */
  #checkKind(): void {
    const { settings, architecture, where } = this
    if ((this.#top.get('quantization_config') ?? undefined) !== undefined) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `${where} describes quantised weights (quantization_config); save the model in 16 or 32 bits first`,
      )
    }
    const [key, known] = this.#gemma
      ? (['hidden_activation', ACTIVATIONS.gemma] as const)
      : (['hidden_act', ACTIVATIONS.gated] as const)
    const activation = settings.get(key) ?? known[0]
    if (!known.includes(activation as string)) {
      settings.refuse(key, `but llama.cpp's ${architecture} computes ${known[0]}`)
    }
    if (this.#gemma) this.#checkGemma()
  }

  #checkGemma(): void {
    const { settings, architecture } = this
    const has = (key: string) => (settings.get(key) ?? undefined) !== undefined
    const scale = settings.number('query_pre_attn_scalar')
    const large = this.blocks === BLOCKS_27B[architecture]
    const hidden = settings.integer('hidden_size')
    const own = large ? Math.floor(hidden / this.heads) : this.headDim
    if (scale !== own) {
      settings.refuse(
        'query_pre_attn_scalar',
        `but llama.cpp's ${architecture} of ${this.blocks} blocks scales by ${own}`,
      )
    }
    if (settings.flag('use_bidirectional_attention')) {
      settings.refuse('use_bidirectional_attention', 'but only causal attention is read')
    }
    if (architecture === 'gemma3' && has('attn_logit_softcapping')) {
      settings.refuse('attn_logit_softcapping', "but llama.cpp's gemma3 bends no attention scores")
    }
    for (const key of ['attn_logit_softcapping', 'final_logit_softcapping']) {
      if (architecture === 'gemma2' && !has(key)) {
        settings.refuse(key, "but llama.cpp's gemma2 always bends them")
      }
    }
  }
}

/** transformers chooses the class by `model_type`; where it is another one, `architectures` says nothing. */
function requireType(settings: Settings, expected: string): void {
  const type = settings.get('model_type') ?? expected
  if (type === expected) return
  settings.refuse('model_type', `expected ${expected} for the class that it names`)
}
