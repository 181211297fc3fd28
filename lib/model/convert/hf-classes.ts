import type { InertKeys, Json } from './settings.js'

/** A Hugging Face model class that can be converted. */
export interface HfClass {
  /** What llama.cpp's converter calls it. */
  readonly architecture: string
  /** `model_type` of its configuration, by which transformers chooses the class. */
  readonly modelType: string
  /** Key that the language model's settings stand below, where a class holds more than one model. */
  readonly nested?: { readonly key: string; readonly modelType: string }
  /** Values that the class gives to keys that a config.json leaves out, where another value would change a state. */
  readonly defaults: Json
}

const QWEN: Json = {
  num_key_value_heads: 32,
  use_sliding_window: false,
  sliding_window: 4096,
  max_window_layers: 28,
}
const GEMMA: Json = {
  num_key_value_heads: 4,
  head_dim: 256,
  query_pre_attn_scalar: 256,
  hidden_activation: 'gelu_pytorch_tanh',
  sliding_window: 4096,
  tie_word_embeddings: true,
}
const GEMMA3: Json = {
  ...GEMMA,
  num_attention_heads: 8,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-6,
}

/** By `architectures` of config.json; defaults as in transformers' configuration classes. */
export const HF_CLASSES: Readonly<Record<string, HfClass>> = {
  LlamaForCausalLM: { architecture: 'llama', modelType: 'llama', defaults: {} },
  MistralForCausalLM: {
    architecture: 'llama',
    modelType: 'mistral',
    defaults: { num_key_value_heads: 8, sliding_window: 4096 },
  },
  Qwen2ForCausalLM: { architecture: 'qwen2', modelType: 'qwen2', defaults: QWEN },
  Qwen3ForCausalLM: { architecture: 'qwen3', modelType: 'qwen3', defaults: { ...QWEN, head_dim: 128 } },
  Gemma2ForCausalLM: {
    architecture: 'gemma2',
    modelType: 'gemma2',
    defaults: { ...GEMMA, attn_logit_softcapping: 50, final_logit_softcapping: 30 },
  },
  Gemma3ForCausalLM: { architecture: 'gemma3', modelType: 'gemma3_text', defaults: GEMMA3 },
  Gemma3ForConditionalGeneration: {
    architecture: 'gemma3',
    modelType: 'gemma3',
    nested: { key: 'text_config', modelType: 'gemma3_text' },
    defaults: GEMMA3,
  },
  Phi3ForCausalLM: {
    architecture: 'phi3',
    modelType: 'phi3',
    defaults: { original_max_position_embeddings: 4096 },
  },
}

const FORMAT = 'says how the file was written'
const TRAINING = 'acts in training only'
const OUTPUTS = 'chooses what transformers returns, not what it computes'
const GENERATION = 'a setting of generation, which samples from the states and does not change them'
const LABELS = 'for classifiers'
const OTHER_PART = 'belongs to the part for images, which is left out'
const SPEED = 'another way to compute the same'
const TOKENS = 'names a token that no prompt is given'

const keys = (why: string, ...names: string[]): [string, string][] => names.map((name) => [name, why])

/**
 * Keys of config.json that change no state of these classes. Sources: transformers' `PreTrainedConfig` (5.23, and the
 * keys that 4.x wrote), its configuration and model classes, and what trainers and published folders add.
 */
export const INERT_CONFIG_KEYS: InertKeys = Object.fromEntries([
  ...keys(
    FORMAT,
    'architectures',
    'dtype',
    'torch_dtype',
    'transformers_version',
    '_name_or_path',
    'name_or_path',
    '_model_name_or_path',
  ),
  ...keys(FORMAT, '_commit_hash', 'auto_map', 'unsloth_version', 'unsloth_fixed', 'is_llama_config'),
  ...keys('for a program in JavaScript', 'transformers.js_config'),
  ...keys('written for readers; no class of transformers reads it', '_sliding_window_pattern', 'model_name'),
  ...keys('the scaling was trained in, which changes no formula', 'finetuned'),
  ...keys(TRAINING, 'initializer_range', 'attention_dropout', 'resid_pdrop', 'embd_pdrop', 'hidden_dropout'),
  ...keys(TRAINING, 'router_aux_loss_coef', 'gradient_checkpointing'),
  ...keys(SPEED, 'use_cache', 'pretraining_tp', 'attn_implementation', '_attn_implementation'),
  ...keys(SPEED, '_attn_implementation_autoset', 'cache_implementation', 'chunk_size_feed_forward'),
  ...keys(SPEED, '_flash_attn_2_enabled', 'torchscript', 'use_bfloat16', 'fused_qkv', 'use_flash_attn'),
  ...keys(OUTPUTS, 'return_dict', 'output_hidden_states', 'output_attentions', 'use_return_dict'),
  ...keys(LABELS, 'id2label', 'label2id', 'num_labels', 'problem_type', 'finetuning_task', 'prefix'),
  ...keys(LABELS, 'task_specific_params', 'classifier_dropout', 'summary_type'),
  ...keys(TOKENS, 'sep_token_id', 'decoder_start_token_id', 'mask_token_id', 'cls_token_id'),
  ...keys('the tokenizer says its own class', 'tokenizer_class'),
  ...keys(
    GENERATION,
    'max_length',
    'min_length',
    'max_new_tokens',
    'min_new_tokens',
    'do_sample',
    'early_stopping',
  ),
  ...keys(
    GENERATION,
    'num_beams',
    'num_beam_groups',
    'diversity_penalty',
    'temperature',
    'top_k',
    'top_p',
    'min_p',
  ),
  ...keys(
    GENERATION,
    'typical_p',
    'repetition_penalty',
    'length_penalty',
    'no_repeat_ngram_size',
    'bad_words_ids',
  ),
  ...keys(GENERATION, 'encoder_no_repeat_ngram_size', 'num_return_sequences', 'output_scores'),
  ...keys(GENERATION, 'return_dict_in_generate', 'forced_bos_token_id', 'forced_eos_token_id'),
  ...keys(GENERATION, 'remove_invalid_values', 'exponential_decay_length_penalty', 'suppress_tokens'),
  ...keys(GENERATION, 'begin_suppress_tokens', 'generation_config', 'max_sequence_length'),
  ...keys(GENERATION, 'encoder_repetition_penalty', 'epsilon_cutoff', 'eta_cutoff', 'target_lookbehind'),
  ...keys(GENERATION, 'assistant_confidence_threshold', 'assistant_lookbehind', 'num_assistant_tokens'),
  ...keys(GENERATION, 'num_assistant_tokens_schedule'),
  ...keys(OTHER_PART, 'vision_config', 'mm_tokens_per_image', 'image_token_index', 'image_token_id'),
  ...keys(
    OTHER_PART,
    'boi_token_index',
    'boi_token_id',
    'eoi_token_index',
    'eoi_token_id',
    'vision_feature_layer',
  ),
])

/** The same for keys that say something in other classes. */
export const INERT_CLASS_KEYS: Readonly<Record<string, InertKeys>> = {
  Gemma2ForCausalLM: {
    hidden_act: 'Gemma 2 reads hidden_activation',
    sliding_window_size: 'Gemma 2 reads sliding_window',
  },
  Gemma3ForCausalLM: { hidden_act: 'Gemma 3 reads hidden_activation' },
  Gemma3ForConditionalGeneration: { hidden_act: 'Gemma 3 reads hidden_activation' },
  Qwen2ForCausalLM: {
    dual_chunk_attention_config:
      'no class of transformers reads it; vLLM does, beyond its chunks of 262144 tokens',
  },
  Phi3ForCausalLM: {
    full_attn_mod: 'no class of transformers reads it',
    interpolate_factor: 'no class of transformers reads it',
  },
}
