import { listFolder } from '../../formats/files/list-folder.js'
import type { HfWeights } from '../../formats/hf/hf-weights.js'

/** What a conversion reads, beside weights. */
const READ: readonly RegExp[] = [
  /^(config|tokenizer|tokenizer_config|added_tokens|special_tokens_map|generation_config)\.json$/,
  /^tokenizer\.model$/,
  /^chat_template\.(jinja|json)$/,
  /^additional_chat_templates$/,
]

/** What changes no state of the model in the folder, and why. Names are matched without case. */
const INERT: readonly (readonly [name: RegExp, why: string])[] = [
  [/^(vocab\.json|merges\.txt)$/, 'tokenizer.json has the same'],
  [
    /^(tekken\.json|params\.json|consolidated[\w.-]*\.safetensors|tokenizer\.model\.v\d.*)$/,
    "Mistral's own format of the same",
  ],
  [
    /^(pytorch_model|tf_model|flax_model|rust_model|model)[\w.-]*\.(bin|bin\.index\.json|h5|msgpack|ot|pth|fp\d+\.\w+)$/,
    'another format of the weights: transformers reads safetensors',
  ],
  [
    /^(original|onnx|openvino|coreml|metal|gguf|figures|images|assets|runs|wandb|logs)$|\.(gguf|onnx|onnx_data|tflite|mlpackage)$/,
    'the model for other programs, or about it',
  ],
  [/^(pre)?processor_config\.json$|^video_preprocessor_config\.json$/, 'prepares images and sound'],
  [
    /^\.|^(readme|licen[cs]e|notice|use_policy|usage_policy|acceptable_use|model_card|changelog|citation)|\.(md|pdf|png|jpe?g|gif|svg|webp|html|bib|log)$/,
    'for people',
  ],
  [
    /^(trainer_state|training_args|all_results|train_results|eval_results|trainer_log|train_config)\.(json|jsonl|bin|yaml|yml)$/,
    "a trainer's account of itself",
  ],
  [
    /^(optimizer|scheduler|scaler|rng_state|random_states)[\w.-]*\.(pt|pth|bin|pkl|safetensors)$|^(global_step\d+|checkpoint-\d+|latest|zero_to_fp32\.py)$/,
    'what a trainer resumes from',
  ],
]

/** What nobody would look for in a base's folder, in the words of a remark. */
const TELLING: readonly (readonly [name: RegExp, remark: (names: string) => string])[] = [
  [
    /^adapter_(config\.json|model\.)/,
    (names) =>
      `the folder holds an adapter too (${names}), which transformers would load, on the base that it names; it was not read: convert the base alone and measure the adapter on it`,
  ],
  [
    /\.py$/,
    (names) =>
      `code in the folder is not run (${names}): what was converted is the class of config.json as transformers has it`,
  ],
]

/**
 * What a folder holds that a conversion does not read, in sentences: files are read, known to change no state, or named.
 * Weights left over from another save are named too.
 */
export async function unreadRemarks({ folder, files, leftOver }: HfWeights): Promise<string[]> {
  const weights = new Set([...files, ...leftOver, 'model.safetensors.index.json'])
  const names = (await listFolder(folder, 'absent')).map(({ name }) => name).sort()
  const rest = names.filter(
    (name) =>
      !weights.has(name) &&
      !READ.some((known) => known.test(name)) &&
      !INERT.some(([known]) => known.test(name.toLowerCase())),
  )
  const told = TELLING.map(([pattern, remark]) => ({
    remark,
    names: rest.filter((name) => pattern.test(name)),
  }))
  const unknown = rest.filter((name) => !TELLING.some(([pattern]) => pattern.test(name)))
  return [
    ...told.flatMap(({ remark, names }) => (names.length > 0 ? [remark(some(names))] : [])),
    ...(unknown.length > 0
      ? [`not read, and not known to be without effect: ${some(unknown)} in ${folder}`]
      : []),
    ...leftOverRemarks({ files, leftOver }),
  ]
}

/** A sentence on weight files that are left over from another save. */
export function leftOverRemarks({ files, leftOver }: Pick<HfWeights, 'files' | 'leftOver'>): string[] {
  if (leftOver.length === 0) return []
  const [first, ...more] = leftOver
  return [
    `${files[0]} is read, as transformers does; ${first}${more.length === 0 ? '' : ` and ${more.length} more`} beside it ${more.length === 0 ? 'is' : 'are'} left over from another save`,
  ]
}

const some = (names: readonly string[]): string =>
  names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '')
