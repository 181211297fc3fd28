import { TraitscopeError } from '../../errors.js'
import { quoted } from '../json/json-scan.js'

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
  'ensure_weight_tying',
  'use_dora', // these four are seen in the saved tensors
  'lora_bias',
  'modules_to_save',
  'trainable_token_indices',
  'velora_config', // changes the backward pass only
  'eva_config', // initialisation; its ranks end up in rank_pattern
  'loftq_config', // initialisation; init_lora_weights says whether it was used
  'corda_config',
  'lora_ga_config',
])

/** Fields that, when set, change the forward pass in a way that is not computed here. */
const REFUSED_FIELDS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
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

/** Kinds that leave the weights as they are and add learned tokens, keys or values. */
const PROMPT_KINDS = new Set([
  'PROMPT_TUNING',
  'MULTITASK_PROMPT_TUNING',
  'P_TUNING',
  'PREFIX_TUNING',
  'ADAPTION_PROMPT',
  'CPT',
  'CARTRIDGE',
])
/** Kinds that choose between adapters for every token. */
const ROUTING_KINDS = new Set(['XLORA', 'POLY'])

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
 * Refuses, by name, with the reason and a remedy, every feature of adapter_config.json whose effect is not computed
 * here, and every set field that this version does not know.
 *
 * @throws UNSUPPORTED
 */
export function refuseUnsupported(json: Readonly<Record<string, unknown>>, where: string): void {
  if (json.peft_type !== 'LORA') throw otherKind(json.peft_type, where)
  for (const [field, value] of Object.entries(json)) {
    if (isUnset(value) || HARMLESS_FIELDS.has(field)) continue
    const [reason, remedy] = (Object.hasOwn(REFUSED_FIELDS, field) ? REFUSED_FIELDS[field] : undefined) ?? [
      'this version does not know the field, which may change the weights',
      'update traitscope, or remove the field if it is harmless',
    ]
    throw new TraitscopeError('UNSUPPORTED', `${where} sets ${quoted(field)}: ${reason}; ${remedy}`)
  }
}

function otherKind(type: unknown, where: string): TraitscopeError {
  const refusal = (found: string, remedy: string) =>
    new TraitscopeError('UNSUPPORTED', `expected peft_type "LORA" in ${where}, found ${found}; ${remedy}`)
  if (typeof type !== 'string') return refusal('no peft_type', 'name the folder of a PEFT LoRA adapter')
  if (PROMPT_KINDS.has(type)) {
    return refusal(
      `${quoted(type)}, which adds learned tokens and leaves the weights as they are`,
      'train a LoRA adapter',
    )
  }
  if (ROUTING_KINDS.has(type)) {
    return refusal(
      `${quoted(type)}, which mixes adapters anew for every token`,
      'measure the adapters one by one',
    )
  }
  return refusal(
    `${quoted(type)}, which changes the weights in another way`,
    'merge it with PEFT (merge_and_unload, save_pretrained) and measure the whole model, or train a LoRA adapter',
  )
}

/**
 * The name of an initialisation that moves a part of the base weights into the adapter; undefined for the others.
 *
 * @throws UNSUPPORTED for one that is not known.
 */
export function movedInitialisation(init: unknown, where: string): string | undefined {
  if (init === undefined || init === null || typeof init === 'boolean') return undefined
  const name = typeof init === 'string' ? init.toLowerCase() : ''
  if (PLAIN_INITS.has(name)) return undefined
  const moving = MOVING_INITS.find(([prefix]) => name.startsWith(prefix))
  if (moving) return moving[1]
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${where} sets init_lora_weights to ${JSON.stringify(init)}, which this version does not know; update traitscope`,
  )
}

/** Null, false, zero and empty values are how PEFT writes "not used". */
function isUnset(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === '') return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.keys(value).length === 0
}
