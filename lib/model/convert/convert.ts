import { basename, join, resolve } from 'node:path'
import type { OptionKinds } from '../../arguments.js'
import { TraitscopeError, throwIfAborted } from '../../errors.js'
import { checkOutputFree } from '../../formats/files/atomic.js'
import type { GgufInput } from '../../formats/gguf/gguf.js'
import { type StreamedTensor, writeGgufStream } from '../../formats/gguf/gguf-stream.js'
import { HfWeights } from '../../formats/hf/hf-weights.js'
import { readDescribingFile } from '../../formats/json/describing-file.js'
import type { FloatType } from '../../formats/safetensors/float-types.js'
import { requiredTensors } from '../base/architectures.js'
import { IGNORED_KEYS, UNPROVEN } from '../base/base-remarks.js'
import { unreadRemarks } from './folder-files.js'
import { HfConfig } from './hf-config.js'
import { modelMetadata, rotationTensors } from './hf-metadata.js'
import { convertTensor, type MappedTensor, mapTensors } from './hf-tensors.js'
import { type ConvertedTokenizer, convertTokenizer } from './hf-tokenizer.js'
import { IgnoredKeys } from './settings.js'

/** How to convert. */
export interface ConvertOptions {
  /** Type of the weight matrices; default: that of the embedding in the folder, so that nothing is rounded. */
  type?: FloatType | undefined
  /** `general.name`; default: the folder's name. */
  name?: string | undefined
  /** llama.cpp's name of the tokenizer's splitting rule; default: recognised from tokenizer.json. */
  pre?: string | undefined
  /** Keys of the folder's JSON files that are known to change nothing, by the names that a refusal gives them. */
  ignoreKeys?: readonly string[] | undefined
  /** Replace an existing file. */
  force?: boolean | undefined
  signal?: AbortSignal | undefined
  /** Fraction of the file written, 0 to 1; at 1 it is opened, and a prompt is read, before it takes its name. */
  onProgress?: ((fraction: number) => void) | undefined
}

export const CONVERT_OPTIONS: OptionKinds<ConvertOptions> = {
  type: ['F32', 'F16', 'BF16'],
  name: 'string',
  pre: 'string',
  ignoreKeys: 'strings',
  force: 'boolean',
  signal: 'signal',
  onProgress: 'function',
}

/** What a conversion wrote. */
export interface ConvertReport {
  architecture: string
  type: FloatType
  tensors: number
  blocks: number
  /** `tokenizer.ggml.pre`. */
  pre: string
  /** Keys that were ignored because the user said so; they stand in the file as `traitscope.ignored_keys`. */
  ignoredKeys: string[]
  /** What the converted model does otherwise than the folder's, and what was not compared. */
  remarks: string[]
  /** How many texts and ids were found equal to those of Hugging Face's own tokenizer. */
  compared: { texts: number; ids: number }
}

/** `general.file_type` of llama.cpp. */
const FILE_TYPES: Readonly<Record<FloatType, number>> = { F32: 0, F16: 1, BF16: 32 }

export type ConvertedMetadata = GgufInput['metadata']

/** What is asked of a conversion before it is one; either may throw, and nothing stays behind then. */
export interface ConversionChecks {
  /** Called before any weight is read; may give a sentence on why the tokenizer is unproven, which the file keeps. */
  tokenizer?: (metadata: ConvertedMetadata) => Promise<string | undefined>
  /** Called with the file under its temporary name. */
  written?: (path: string) => Promise<void>
}

const MODEL_FOLDER =
  'the folder of a Hugging Face model with config.json, weights and tokenizer (in a cache of downloads, one below snapshots/)'

/** Reads a folder and writes the file; `convertModel` adds the checks. */
export async function convertFolder(
  folder: string,
  out: string,
  options: ConvertOptions,
  checks: ConversionChecks,
): Promise<Omit<ConvertReport, 'compared'>> {
  throwIfAborted(options.signal)
  await checkOutputFree(out, { force: options.force ?? false, inputs: [folder] })
  const where = join(folder, 'config.json')
  const config = new HfConfig(await readDescribingFile(folder, 'config.json', MODEL_FOLDER), where)
  const { architecture, blocks } = config
  await using weights = await HfWeights.open(folder)
  const embedding = [...weights.tensors.values()].find(({ name }) => name.endsWith('embed_tokens.weight'))
  const rows = embedding?.shape[0] ?? 0
  const vocabulary = config.settings.integer('vocab_size', rows)
  // Multi-modal Gemma 3 pads its embedding; elsewhere another number of rows means another tokenizer.
  if (rows < vocabulary || (rows > vocabulary && architecture !== 'gemma3')) {
    config.settings.fail('vocab_size', `the ${rows} rows of the embedding`, vocabulary)
  }
  const type =
    options.type ?? (embedding?.dtype === 'BF16' || embedding?.dtype === 'F16' ? embedding.dtype : 'F32')
  const tensors = planTensors(weights, config, vocabulary, type)
  const metadata: GgufInput['metadata'][number][] = modelMetadata(config)
  const ignored = new IgnoredKeys(options.ignoreKeys)
  config.refuseUnread(ignored)
  const tokenizer = await convertTokenizer(folder, {
    architecture,
    size: vocabulary,
    tokenId: (role) => config.tokenId(role),
    pre: options.pre,
    ignored,
  })
  ignored.requireAllUsed(folder)
  const { pre } = tokenizer
  metadata.unshift(
    ['general.architecture', 'string', architecture],
    ['general.type', 'string', 'model'],
    ['general.name', 'string', modelName(folder, architecture, tokenizer, options.name)],
    ['general.file_type', 'u32', FILE_TYPES[type]],
    ['general.quantization_version', 'u32', 2],
  )
  metadata.push(...tokenizer.metadata)
  if (ignored.used.length > 0) metadata.push([IGNORED_KEYS, 'string[]', ignored.used])
  const unproven = await checks.tokenizer?.(metadata)
  if (unproven !== undefined) metadata.push([UNPROVEN, 'string', unproven])
  throwIfAborted(options.signal)
  await writeGgufStream(out, metadata, tensors, {
    force: options.force ?? false,
    signal: options.signal,
    onProgress: options.onProgress,
    check: checks.written,
  })
  return {
    architecture,
    type,
    tensors: tensors.length,
    blocks,
    pre,
    ignoredKeys: ignored.used,
    remarks: [...tokenizer.remarks, ...remarks(config), ...(await unreadRemarks(weights))],
  }
}

/** Every tensor of the output, checked to be a whole model with the biases that its class has. */
function planTensors(
  weights: HfWeights,
  config: HfConfig,
  vocabulary: number,
  type: FloatType,
): StreamedTensor[] {
  const { architecture, blocks } = config
  const tied = config.tied || architecture === 'gemma2'
  const conversion = {
    architecture,
    vocabulary,
    threads: 1,
    heads: (projection: 'q' | 'k') => (projection === 'q' ? config.heads : config.kvHeads),
  }
  const tensors: StreamedTensor[] = rotationTensors(config).map(({ name, values }) => ({
    name,
    shape: [values.length],
    type: 'F32',
    chunks: async function* () {
      yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    },
  }))
  const required = [
    ...requiredTensors(architecture, blocks, config.biases),
    ...(tied ? [] : ['output.weight']),
  ]
  for (const mapped of mapTensors(weights, { architecture, vocabulary, tied })) {
    if (mapped.part === 'bias' && !required.includes(mapped.name)) refuseBias(weights, mapped)
    checkSizes(config, mapped)
    tensors.push(convertTensor(weights, mapped, mapped.shape.length > 1 ? type : 'F32', conversion))
  }
  requireAll(tensors, weights.folder, required)
  return tensors
}

/** Before anything is written: llama.cpp would find it in the result, and could not say where it comes from. */
function checkSizes(config: HfConfig, { source, module }: MappedTensor): void {
  const { layer = 0, projection } = module
  const { blocks, heads, kvHeads, headDim, where } = config
  if (layer >= blocks) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `${where} has num_hidden_layers ${blocks}, and the weights have more blocks (${source.name}): they are of another model`,
    )
  }
  if (projection === undefined) return
  const [n, key] = projection === 'q' ? [heads, 'num_attention_heads'] : [kvHeads, 'num_key_value_heads']
  if (source.shape[0] === n * headDim) return
  throw new TraitscopeError(
    'FILE_INVALID',
    `${where} has ${n} heads of ${headDim} (${key}, head_dim), which is ${n * headDim} rows, and ${source.name} has ${source.shape[0]}: the weights are of another model`,
  )
}

/** transformers leaves a bias out that its class does not have; llama.cpp would add it. */
function refuseBias(weights: HfWeights, { source }: MappedTensor): never {
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${weights.folder} holds ${source.name}, a bias that the class of its config.json does not have or that attention_bias or mlp_bias leave out`,
  )
}

function remarks({ window, architecture, context, rotation }: HfConfig): string[] {
  const found: string[] = []
  if (window && !window.applied && window.tokens < context) {
    const all = window.blocks.every(Boolean)
    const which = all
      ? 'all blocks attend'
      : `${window.blocks.filter(Boolean).length} of ${window.blocks.length} blocks attend`
    found.push(
      `${which} to the last ${window.tokens} tokens, which llama.cpp's ${architecture} does not follow: prompts of more tokens are refused`,
    )
  }
  if (rotation.scaling.kind === 'longrope') {
    found.push(
      `prompts of more than ${rotation.scaling.original} tokens rotate by other factors (LongRoPE): they are read apart from shorter ones`,
    )
  }
  return found
}

/** By these in a model's name llama.cpp knows Phi-3's tokenizer, and by nothing else. */
const PHI3 = /phi-?3/i

/**
 * llama.cpp swallows white space after special tokens, as Phi-3's sentencepiece tokenizer does, when the name says
 * Phi-3; then the vocabulary must have that tokenizer's tokens, or the file cannot be opened.
 *
 * @throws USAGE when the given name says the wrong thing
 */
function modelName(
  folder: string,
  architecture: string,
  { pre, tokens }: Pick<ConvertedTokenizer, 'pre' | 'tokens'>,
  given: string | undefined,
): string {
  const name = given ?? basename(resolve(folder))
  const isPhi3 = architecture === 'phi3' && pre === 'default'
  const fits = ['</s>', '<unk>', '<s>', '<|endoftext|>'].every((token) => tokens.includes(token))
  if (PHI3.test(name) === (isPhi3 && fits)) return name
  if (given !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      `llama.cpp knows Phi-3's tokenizer by its name: give a --name ${isPhi3 && fits ? 'with' : 'without'} Phi-3 in it, or none`,
    )
  }
  return isPhi3 && fits ? `Phi-3 ${name}` : name.replace(/phi-?3/gi, 'Phi 3')
}

function requireAll(tensors: readonly StreamedTensor[], folder: string, names: readonly string[]): void {
  const found = new Set<string>()
  for (const { name } of tensors) {
    if (found.has(name)) {
      throw new TraitscopeError('FILE_INVALID', `expected one tensor for ${name} in ${folder}, found two`)
    }
    found.add(name)
  }
  const missing = names.filter((name) => !found.has(name))
  if (missing.length === 0) return
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected the tensors of a whole model in ${folder}, found none for ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ` and ${missing.length - 3} more` : ''}`,
  )
}
