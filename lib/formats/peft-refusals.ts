import { TraitscopeError } from '../errors.js'
import { quoted } from './json-scan.js'

/** Fields that change nothing at inference, or that are read elsewhere. */
const HARMLESS_FIELDS = new Set([
  'peft_type',
  'r',
  'lora_alpha',
  'use_rslora',
  'rank_pattern',
  'alpha_pattern',
  'init_lora_weights',
  'bias',
  'target_modules', // the saved tensors are the truth about what was wrapped
  'exclude_modules',
  'layers_to_transform',
  'layers_pattern',
  'task_type',
  'auto_mapping',
  'peft_version',
  'base_model_name_or_path',
  'revision',
  'inference_mode',
  'lora_dropout',
  'megatron_core', // "megatron.core" in every configuration
  'qalora_group_size',
  'runtime_config',
  'ensure_weight_tying', // acts on embedding tensors, which are refused where they appear
  'velora_config', // changes the backward pass only
  'eva_config', // initialisation; its ranks end up in rank_pattern
  'loftq_config', // initialisation; init_lora_weights says whether it was used
  'corda_config',
  'lora_ga_config',
])

const MERGE_FIRST = 'merge the adapter into the model with PEFT and convert the merged model to GGUF'

/** Fields that, when set, change the forward pass in a way a pair of LoRA matrices cannot express. */
const REFUSED_FIELDS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
  use_dora: ['DoRA rescales the rows of the base weights', `train without DoRA, or ${MERGE_FIRST}`],
  lora_bias: ['lora_B has a bias of its own', `train with lora_bias=False, or ${MERGE_FIRST}`],
  modules_to_save: [
    'it replaces whole modules of the base',
    `train without modules_to_save, or ${MERGE_FIRST}`,
  ],
  trainable_token_indices: [
    'it replaces rows of the embedding',
    `train without trainable_token_indices, or ${MERGE_FIRST}`,
  ],
  target_parameters: [
    'it adapts raw parameters (mixture-of-experts weights)',
    'adapt attention modules instead',
  ],
  fan_in_fan_out: [
    'it is for transposed weights (GPT-2), which no supported architecture has',
    'set it to false',
  ],
  layer_replication: ['it repeats layers of the base', 'convert the replicated model to GGUF'],
  megatron_config: [
    'parallel Megatron layers have another tensor layout',
    'save the adapter as plain PEFT LoRA',
  ],
  alora_invocation_tokens: [
    'an activated LoRA acts only after its invocation tokens',
    'train a plain LoRA instead',
  ],
  use_qalora: ['QA-LoRA pools the inputs of lora_A', 'train a plain LoRA instead'],
  use_bdlora: ['BD-LoRA uses block-diagonal matrices', 'train a plain LoRA instead'],
  arrow_config: ['Arrow routes between adapters per token', 'measure the adapters one by one'],
  monteclora_config: ['MonteCLoRA samples its weights', 'train a plain LoRA instead'],
  kasa_config: ['KaSA adds a diagonal between A and B', 'train a plain LoRA instead'],
}

/** Initialisations that leave the base weights as they were. */
const PLAIN_INITS = new Set(['gaussian', 'orthogonal', 'mica', 'eva'])
/** Initialisations that move a part of the base weights into the adapter. */
const MOVING_INITS: readonly (readonly [prefix: string, name: string])[] = [
  ['pissa', 'PiSSA'],
  ['olora', 'OLoRA'],
  ['corda', 'CorDA'],
  ['lora_ga', 'LoRA-GA'],
  ['loftq', 'LoftQ'],
]

/**
 * Refuses, by name, with the reason and a remedy, every feature of adapter_config.json that plain LoRA on linear
 * modules does not cover, and every set field that this version does not know.
 *
 * @throws UNSUPPORTED
 */
export function refuseUnsupported(json: Readonly<Record<string, unknown>>, where: string): void {
  const type = json.peft_type
  if (type !== 'LORA') {
    const found = typeof type === 'string' ? quoted(type) : 'no peft_type'
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected peft_type "LORA" in ${where}, found ${found}; train a LoRA adapter`,
    )
  }
  for (const [field, value] of Object.entries(json)) {
    if (isUnset(value) || HARMLESS_FIELDS.has(field)) continue
    const [reason, remedy] = (Object.hasOwn(REFUSED_FIELDS, field) ? REFUSED_FIELDS[field] : undefined) ?? [
      'this version does not know the field, which may change the weights',
      'update traitscope, or remove the field if it is harmless',
    ]
    throw new TraitscopeError('UNSUPPORTED', `${where} sets ${quoted(field)}: ${reason}; ${remedy}`)
  }
  refuseBias(json.bias, where)
  refuseInit(json.init_lora_weights, where)
}

function refuseBias(bias: unknown, where: string): void {
  if (bias === undefined || bias === null || bias === 'none') return
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${where} sets bias to ${JSON.stringify(bias)}: trained biases replace those of the base; train with bias "none", or ${MERGE_FIRST}`,
  )
}

function refuseInit(init: unknown, where: string): void {
  if (init === undefined || init === null || typeof init === 'boolean') return
  const name = typeof init === 'string' ? init.toLowerCase() : ''
  if (PLAIN_INITS.has(name)) return
  const moving = MOVING_INITS.find(([prefix]) => name.startsWith(prefix))
  const shown = `${where} sets init_lora_weights to ${JSON.stringify(init)}`
  if (!moving)
    throw new TraitscopeError('UNSUPPORTED', `${shown}, which this version does not know; update traitscope`)
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${shown}: ${moving[1]} moves a part of the base weights into the adapter, so it is no change of the original base; convert it with save_pretrained(path_initial_model_for_weight_conversion=...), or train with the default initialisation`,
  )
}

/** Null, false, zero and empty values are how PEFT writes "not used". */
function isUnset(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === '') return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.keys(value).length === 0
}
