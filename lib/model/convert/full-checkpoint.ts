import { join } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import type { FileHash } from '../../formats/files/hash.js'
import type { GgufFile, GgufTensor } from '../../formats/gguf/gguf.js'
import {
  type GgufStreamOptions,
  type StreamedTensor,
  storedMetadata,
  tensorBytes,
  writeGgufStream,
} from '../../formats/gguf/gguf-stream.js'
import { HfWeights } from '../../formats/hf/hf-weights.js'
import { refuseQuantised } from '../../formats/hf/quantised.js'
import { isJsonObject, readJsonFile } from '../../formats/json/json.js'
import { adapterArchitecture } from '../base/architectures.js'
import { attentionRows } from '../base/attention-rows.js'
import { baseNameRemark } from '../base/base-name.js'
import { resizedVocabulary } from '../base/resized-vocabulary.js'
import { MERGE_TYPE_NAMES, type MergeType } from '../merge/merge-types.js'
import { checkSettings } from './checkpoint-settings.js'
import { leftOverRemarks } from './folder-files.js'
import { convertTensor, type HfConversion, type MappedTensor, mapTensors } from './hf-tensors.js'

/** What a GGUF holds beside the weights: rotation factors, which come from the configuration. */
const CONSTANTS = /^rope_(freqs|factors_long|factors_short)\.weight$/

/**
 * Writes a fully fine-tuned checkpoint (Hugging Face safetensors, sharded or not) as a GGUF in the shape of the base it
 * was trained from: the base's metadata, tokenizer, tensors and types, with the checkpoint's values. What the base has
 * quantised is quantised by the same rules.
 *
 * @returns the identity and the files of the weights that were read, see `HfWeights.hash`
 * @throws ADAPTER_MISMATCH when tensors or shapes are not those of the base, UNSUPPORTED for types that need an importance matrix; else as
 * `HfWeights.open` and `writeGgufStream`
 */
export async function convertCheckpoint(
  base: GgufFile,
  folder: string,
  out: string,
  options: GgufStreamOptions & { threads?: number } = {},
): Promise<{ sha256: string; files: readonly FileHash[]; remarks: readonly string[] }> {
  await using weights = await HfWeights.open(folder, 'vanished')
  await writeGgufStream(out, storedMetadata(base), await planCheckpoint(weights, base, options), options)
  return { ...(await weights.hash(options.signal)), remarks: await modelRemarks(weights, base) }
}

/**
 * What there is to say of a whole model on this base, in sentences. Its own weights take the place of all of the base's, but
 * drift is counted from the base: one that does not say what it was trained from, as those of newer trainers, cannot be
 * compared with it.
 */
export async function modelRemarks(weights: HfWeights, base: GgufFile): Promise<string[]> {
  const named = (await modelConfig(weights))?._name_or_path
  const other = baseNameRemark(typeof named === 'string' ? named : undefined, base)
  return [...leftOverRemarks(weights), ...(other === undefined ? [] : [other])]
}

/**
 * What {@link convertCheckpoint} writes, in the order of the base; no values are read yet.
 *
 * @throws ADAPTER_MISMATCH, UNSUPPORTED
 */
export async function planCheckpoint(
  weights: HfWeights,
  base: GgufFile,
  { threads = 1, signal }: { threads?: number; signal?: AbortSignal | undefined } = {},
): Promise<StreamedTensor[]> {
  await refuseQuantised(weights)
  const architecture = adapterArchitecture(base)
  const vocabulary = base.tensors.get('token_embd.weight')?.shape[1] ?? 0
  const tied = !base.tensors.has('output.weight')
  if (tied && architecture !== 'gemma2') await refuseUntied(weights, base)
  const config = await modelConfig(weights)
  if (config) checkSettings(config, join(weights.folder, 'config.json'), base)
  const conversion: HfConversion = {
    architecture,
    vocabulary,
    threads,
    signal,
    heads: (projection, layer) => {
      const { heads, kvHeads } = attentionRows(base, architecture, layer)
      return projection === 'q' ? heads : kvHeads
    },
  }
  const found = new Map<string, MappedTensor>()
  for (const tensor of mapTensors(weights, { architecture, vocabulary, tied })) found.set(tensor.name, tensor)
  for (const { name, source } of found.values()) {
    if (!base.tensors.has(name)) throw mismatch(weights, base, `no place for ${source.name} (${name})`)
  }
  return [...base.tensors.values()].map((target): StreamedTensor => {
    const tensor = found.get(target.name)
    if (!tensor && CONSTANTS.test(target.name)) return copied(base, target)
    if (!tensor) throw mismatch(weights, base, `${target.name}, which the checkpoint lacks`)
    if (tensor.shape.join() !== target.shape.join()) {
      const shape = [...target.shape].reverse()
      const [rows, columns] = tensor.source.shape
      if (/^(token_embd|output)\.weight$/.test(target.name) && columns === shape[1]) {
        throw new TraitscopeError(
          'ADAPTER_MISMATCH',
          `${tensor.source.name} of ${weights.folder} has ${rows} rows, and ${target.name} of ${base.path} has ${shape[0]}; ${resizedVocabulary(rows!, shape[0]!)}`,
        )
      }
      throw mismatch(
        weights,
        base,
        `shape [${shape}] for ${tensor.source.name}, not [${tensor.source.shape}]`,
      )
    }
    return convertTensor(weights, tensor, writableType(base, target), conversion)
  })
}

/** A head of its own on a base without one: the embedding would be used in its place. */
async function refuseUntied(weights: HfWeights, base: GgufFile): Promise<void> {
  if (![...weights.tensors.keys()].some((name) => name.endsWith('lm_head.weight'))) return
  const config = await modelConfig(weights)
  if (config?.tie_word_embeddings === false) {
    throw mismatch(weights, base, 'a head tied to its embedding, and the checkpoint has one of its own')
  }
}

async function modelConfig({ folder }: HfWeights): Promise<Record<string, unknown> | undefined> {
  const config = await readJsonFile(join(folder, 'config.json'), 'vanished').catch((error: unknown) => {
    if (isTraitscopeError(error, 'FILE_VANISHED')) return undefined
    throw error
  })
  return isJsonObject(config) ? config : undefined
}

function writableType(base: GgufFile, { name, type }: GgufTensor): MergeType {
  if ((MERGE_TYPE_NAMES as readonly string[]).includes(type)) return type as MergeType
  throw new TraitscopeError(
    'UNSUPPORTED',
    `expected ${base.path} to hold ${name} in a type that can be written without an importance matrix, found ${type}; give the base in another type, e.g. by "traitscope convert"`,
  )
}

function copied(base: GgufFile, tensor: GgufTensor): StreamedTensor {
  const { name, shape, type, byteLength } = tensor
  return { name, shape, type, chunks: () => tensorBytes(base, tensor, 0, byteLength) }
}

function mismatch(weights: HfWeights, base: GgufFile, what: string): TraitscopeError {
  return new TraitscopeError(
    'ADAPTER_MISMATCH',
    `the checkpoint ${weights.folder} does not fit ${base.path}, which has ${what}; it was trained from another base model`,
  )
}
