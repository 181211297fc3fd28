import { TraitscopeError } from '../../errors.js'
import { quoted } from '../json/json-scan.js'
import type { Safetensors, TensorEntry } from '../safetensors/safetensors.js'
import { firstNonFinite } from '../safetensors/safetensors-dtypes.js'
import { contested, type LoraScaling, loraScaling, type PeftConfig } from './peft-config.js'
import { type PeftPart, parsePeftKey } from './peft-keys.js'
import { isSavedBy } from './saved-by.js'
import { transposeMatrix } from './transpose.js'

/** LoRA on one module: W' = W + scale · B·A, with W row-major `[outFeatures, inFeatures]`. */
export interface LoraModule {
  /** Module path in the model, without `base_model.model.`. */
  readonly path: string
  /** Row-major `[r, inFeatures]`. */
  readonly a: Float32Array
  /** Row-major `[outFeatures, r]`. */
  readonly b: Float32Array
  readonly r: number
  readonly inFeatures: number
  readonly outFeatures: number
  /** alpha / r, or alpha / sqrt(r) with rsLoRA, after rank_pattern and alpha_pattern. 0 when alpha is 0. */
  readonly scale: number
  /**
   * True for an embedding, whose W is `[vocabulary, width]`: `b` is PEFT's lora_embedding_A transposed, `a` its
   * lora_embedding_B transposed.
   */
  readonly embedding?: boolean
  /**
   * DoRA: what W' is scaled to have as the norm of each row, `[outFeatures]`; for an embedding of each column,
   * `[inFeatures]`.
   */
  readonly magnitude?: Float32Array
  /** Bias of lora_B `[outFeatures]`: `scale` times it is added to the module's bias. */
  readonly biasB?: Float32Array
}

/** A tensor in place of the base's: a trained bias, or a part of a module in modules_to_save. */
export interface ReplacedTensor {
  /** Module path. */
  readonly path: string
  readonly part: 'weight' | 'bias'
  /** As Hugging Face has it: `[out, in]`, or `[n]` for biases and norms. */
  readonly shape: readonly number[]
  /** Values of rows (elements of a vector), in the order asked for. @throws ADAPTER_INVALID for NaN and infinity. */
  rows(indices: ArrayLike<number>): Float32Array
}

/** Rows of an embedding or head in place of the base's: trainable tokens. */
export interface ReplacedRows {
  readonly path: string
  /** Token ids, all different. */
  readonly tokens: readonly number[]
  /** Row-major `[tokens.length, width]`. */
  readonly values: Float32Array
  readonly width: number
}

/** The tensors of an adapter file, sorted by path. */
export interface AdapterTensors {
  readonly modules: readonly LoraModule[]
  readonly replaced: readonly ReplacedTensor[]
  readonly replacedRows: readonly ReplacedRows[]
  /** Tensors of the file that act in training only. */
  readonly buffers: readonly string[]
  /** Names in `modules_to_save` of which the file holds no tensor: lost, where the base has a module of that name. */
  readonly unsaved: readonly string[]
}

type Parts = Partial<Record<PeftPart, TensorEntry>>

/**
 * Groups the tensors of an adapter file by module and checks each group, and that what the configuration announces is
 * there.
 *
 * @param onDemand check the matrices of modules now, and read them again whenever they are asked for
 * @throws UNSUPPORTED for tensors of unknown effect, ADAPTER_INVALID.
 */
export function readAdapterTensors(file: Safetensors, config: PeftConfig, onDemand = false): AdapterTensors {
  const groups = new Map<string, Parts>()
  const buffers: string[] = []
  const adapters = new Set<string>()
  for (const entry of file.tensors.values()) {
    const { path, part, adapter } = parsePeftKey(entry.name, file.where)
    if (adapter !== undefined) adapters.add(adapter)
    if (adapters.size > 1) throw severalAdapters(file, [...adapters])
    const group = groups.get(path) ?? {}
    if (part === 'buffer') buffers.push(entry.name)
    if (part === 'copy' || part === 'buffer') continue
    if (group[part]) {
      throw invalid(
        file,
        `one tensor for the ${part} of module ${quoted(path)}`,
        `${quoted(group[part].name)} and ${quoted(entry.name)}`,
      )
    }
    group[part] = entry
    groups.set(path, group)
  }
  const scaling = loraScaling(config)
  const modules: LoraModule[] = []
  const replaced: ReplacedTensor[] = []
  const replacedRows: ReplacedRows[] = []
  for (const [path, parts] of [...groups].sort(([x], [y]) => (x < y ? -1 : 1))) {
    const module = readModule(file, path, parts, scaling, config, onDemand)
    if (module) modules.push(module)
    if (parts.weight) replaced.push(replacedTensor(file, path, 'weight', parts.weight))
    if (parts.bias) replaced.push(replacedTensor(file, path, 'bias', parts.bias))
    if (parts.tokens) replacedRows.push(readRows(file, path, parts.tokens, config))
  }
  if (modules.length + replaced.length + replacedRows.length === 0) {
    throw notGathered(file, 'no LoRA tensors')
  }
  requireRows(file, config, replacedRows)
  const unsaved = config.modulesToSave.filter((name) => !replaced.some(({ path }) => isSavedBy(name, path)))
  return { modules, replaced, replacedRows, buffers, unsaved }
}

function readModule(
  file: Safetensors,
  path: string,
  parts: Parts,
  scaling: (path: string) => LoraScaling,
  config: PeftConfig,
  onDemand: boolean,
): LoraModule | undefined {
  const { A, B, embeddingA, embeddingB, magnitude, biasB } = parts
  if (!(A || B || embeddingA || embeddingB || magnitude || biasB)) return undefined
  const embedding = embeddingA !== undefined || embeddingB !== undefined
  const [a, b] = embedding ? [embeddingB, embeddingA] : [A, B]
  if (!a || !b || (embedding && (A || B))) {
    const missing = embedding ? `lora_embedding_${a ? 'A' : 'B'}` : `lora_${a ? 'B' : 'A'}`
    throw invalid(
      file,
      `lora_A and lora_B for module ${quoted(path)}`,
      a && b ? 'both kinds' : `no ${missing}; save the adapter again`,
    )
  }
  if ([...a.shape, ...b.shape].includes(0)) throw notGathered(file, `an empty tensor for ${quoted(path)}`)
  const { r, scale } = scaling(path)
  const [x, y] = [matrix(a, file.where), matrix(b, file.where)]
  // PEFT saves embedding factors as [r, vocabulary] and [width, r].
  const [rankA, inFeatures] = embedding ? [x[1], x[0]] : x
  const [outFeatures, rankB] = embedding ? [y[1], y[0]] : y
  if (rankA !== r || rankB !== r) {
    throw invalid(
      file,
      `rank ${r} for module ${quoted(path)} by adapter_config.json`,
      `lora_A [${(embedding ? b : a).shape}] and lora_B [${(embedding ? a : b).shape}]; ${contested(config, 'rank_pattern')(path) ? 'several keys of rank_pattern match it, and PEFT has sorted them when it saved: leave the one that it was trained with' : 'the configuration belongs to another adapter'}`,
    )
  }
  if (config.useDora && !magnitude) throw announced(file, 'use_dora', `no magnitude for ${quoted(path)}`)
  if (config.loraBias && !biasB && !embedding) {
    throw announced(file, 'lora_bias', `no bias of lora_B for ${quoted(path)}`)
  }
  const read = (entry: TensorEntry) => finite(file, entry, file.float32(entry.name))
  const readA = () => (embedding ? transposeMatrix(read(a), inFeatures) : read(a))
  const readB = () => (embedding ? transposeMatrix(read(b), r) : read(b))
  const module = {
    path,
    a: readA(),
    b: readB(),
    r,
    inFeatures,
    outFeatures,
    scale,
    ...(embedding ? { embedding } : {}),
    ...(magnitude ? { magnitude: vector(file, magnitude, embedding ? inFeatures : outFeatures, read) } : {}),
    ...(biasB ? { biasB: vector(file, biasB, outFeatures, read) } : {}),
  }
  if (!onDemand) return module
  return Object.defineProperties(module, { a: { get: readA }, b: { get: readB } })
}

function replacedTensor(
  file: Safetensors,
  path: string,
  part: 'weight' | 'bias',
  entry: TensorEntry,
): ReplacedTensor {
  if (entry.shape.includes(0)) throw notGathered(file, `an empty tensor for ${quoted(path)}`)
  const rank = entry.shape.length
  if (rank < 1 || rank > (part === 'bias' ? 1 : 2)) {
    throw invalid(file, `tensor ${quoted(entry.name)} to be a vector or matrix`, `shape [${entry.shape}]`)
  }
  return {
    path,
    part,
    shape: entry.shape,
    rows: (indices) => finite(file, entry, file.float32Rows(entry.name, indices)),
  }
}

function readRows(file: Safetensors, path: string, entry: TensorEntry, config: PeftConfig): ReplacedRows {
  // As PEFT finds modules: by the end of their path.
  const named = [...config.tokenIndices].find(([name]) => path === name || path.endsWith(`.${name}`))
  if (!named) {
    throw invalid(
      file,
      `trainable_token_indices to name the tokens of ${quoted(entry.name)}`,
      'none; the configuration belongs to another adapter',
    )
  }
  const tokens = named[1]
  if (entry.shape.includes(0)) throw notGathered(file, `an empty tensor for ${quoted(path)}`)
  const [rows, width] = matrix(entry, file.where)
  if (rows !== tokens.length) {
    throw invalid(
      file,
      `${tokens.length} rows in ${quoted(entry.name)} by trainable_token_indices`,
      `${rows}; the configuration belongs to another adapter`,
    )
  }
  return { path, tokens, width, values: finite(file, entry, file.float32(entry.name)) }
}

/** What a save lost would otherwise be measured as if it had never been trained. */
function requireRows(file: Safetensors, config: PeftConfig, replacedRows: readonly ReplacedRows[]): void {
  for (const name of config.tokenIndices.keys()) {
    if (replacedRows.some(({ path }) => `.${path}`.endsWith(`.${name}`))) continue
    throw announced(file, 'trainable_token_indices', `no rows of ${quoted(name)}`)
  }
}

function vector(
  file: Safetensors,
  entry: TensorEntry,
  length: number,
  read: (entry: TensorEntry) => Float32Array,
): Float32Array {
  if (entry.shape.length === 1 && entry.shape[0] === length) return read(entry)
  throw invalid(file, `tensor ${quoted(entry.name)} to have ${length} values`, `shape [${entry.shape}]`)
}

function matrix(entry: TensorEntry, where: string): [number, number] {
  const [rows, columns, ...more] = entry.shape
  if (rows !== undefined && columns !== undefined && more.length === 0) return [rows, columns]
  throw new TraitscopeError(
    'UNSUPPORTED',
    `expected tensor ${quoted(entry.name)} of ${where} to be a matrix, found shape [${entry.shape}]; only linear modules and embeddings can be adapted`,
  )
}

function finite(file: Safetensors, entry: TensorEntry, values: Float32Array): Float32Array {
  const bad = firstNonFinite(values)
  if (bad < 0) return values
  throw invalid(
    file,
    `finite values in tensor ${quoted(entry.name)}`,
    `${values[bad]} at element ${bad}; the training run has diverged or the file is damaged`,
  )
}

function severalAdapters(file: Safetensors, names: readonly string[]): TraitscopeError {
  return new TraitscopeError(
    'UNSUPPORTED',
    `${file.where} holds the adapters ${names.join(', ')}, as a model's state_dict does; save the one that is meant with save_pretrained(selected_adapters=[NAME])`,
  )
}

function announced(file: Safetensors, field: string, found: string): TraitscopeError {
  return invalid(file, `what adapter_config.json announces by ${field}`, `${found}; save the adapter again`)
}

function notGathered(file: Safetensors, found: string): TraitscopeError {
  return invalid(
    file,
    'LoRA tensors',
    `${found}; a DeepSpeed ZeRO-3 run must gather weights on save (stage3_gather_16bit_weights_on_model_save), or consolidate the checkpoint`,
  )
}

export function invalid(file: Safetensors, expected: string, found: string): TraitscopeError {
  return new TraitscopeError('ADAPTER_INVALID', `expected ${expected} in ${file.where}, found ${found}`)
}
