import { basename, dirname, join } from 'node:path'
import { Made, type OptionKinds, takeOptions } from '../../arguments.js'
import { TraitscopeError } from '../../errors.js'
import type { MissingMeans } from '../files/file-errors.js'
import { type FileHash, sha256 } from '../files/hash.js'
import { listFolder } from '../files/list-folder.js'
import { checkNamed } from '../files/named-path.js'
import { namesModelWeights } from '../hf/hf-weights.js'
import { parseTrainerJson, readUnpacked } from '../json/json.js'
import { openSafetensors, readSafetensors } from '../safetensors/safetensors.js'
import { isMlxConfig, MLX_TENSORS, mlxAsPeft, readMlxTensors } from './mlx-adapter.js'
import { leaveOutOtherModalities } from './other-modalities.js'
import { loraScaling, type PeftConfig, parsePeftConfig } from './peft-config.js'
import { peftRemarks } from './peft-remarks.js'
import { type AdapterTensors, readAdapterTensors } from './peft-tensors.js'

export const ADAPTER_CONFIG = 'adapter_config.json'
export const ADAPTER_TENSORS = 'adapter_model.safetensors'

/** A tensor file that may be named in place of its folder: a folder of mlx-lm holds one for every checkpoint. */
const TENSOR_FILE = /^(?:adapter_model|(?:\d+_)?adapters)\.safetensors$/

/** An adapter as it lies in its folder, checked. */
export interface PeftAdapter extends AdapterTensors {
  /** The folder, or the tensor file that was named. */
  readonly path: string
  readonly config: PeftConfig
  /** Identity of the weights: equal for equal tensor files under equal scaling, whatever the folder is called. */
  readonly sha256: string
  /** What was read: the tensors, then the configuration. */
  readonly files: readonly FileHash[]
  /** What was left out of the file and why it changes nothing, in sentences. */
  readonly remarks: readonly string[]
}

/** An adapter's header is a few hundred KB at most. */
const MAX_HEADER_BYTES = 16 * 1024 ** 2

export const PEFT_ADAPTER = new Made<PeftAdapter>(
  'an adapter as readPeftAdapter reads it, or its folder',
  'modules',
)

/** How to read an adapter. */
export interface ReadPeftOptions {
  /**
   * `memory` (default): read everything, after which the folder may go. `disk`: check everything, but read the matrices
   * of a module again whenever they are asked for, so that a large adapter takes no memory; the folder has to stay. Those of
   * mlx-lm are in memory either way.
   */
  values?: 'memory' | 'disk'
}

const READ_OPTIONS: OptionKinds<ReadPeftOptions> = { values: ['memory', 'disk'] }

/**
 * Reads a folder with adapter_config.json and adapter_model.safetensors, or mlx-lm's adapters.safetensors.
 *
 * Read are LoRA on linear modules and embeddings, rsLoRA, rank_pattern, alpha_pattern, DoRA, biases, modules_to_save
 * and trainable tokens; which of them can be attached to a base and which must be merged into it is decided later. A
 * scale of 0 and an all-zero B are no errors here.
 *
 * @param path the folder, or one of its tensor files
 * @throws FILE_NOT_FOUND, FILE_INCOMPLETE when one of the two files is missing or cut short, FILE_VANISHED,
 * FILE_INVALID, UNSUPPORTED for everything else, by name, ADAPTER_INVALID for contradictions and values
 * that are not finite.
 */
export async function readPeftAdapter(path: string, options: ReadPeftOptions = {}): Promise<PeftAdapter> {
  const { values = 'memory' } = takeOptions('readPeftAdapter', options, READ_OPTIONS)
  const { config: configPath, tensors: tensorsPath, beside } = await adapterFiles(path)
  const { config, isMlx, sha256: configSha256 } = await readAdapterConfig(configPath, tensorsPath)
  const read = values === 'disk' ? openSafetensors : readSafetensors
  const file = await read(tensorsPath, { missing: 'vanished', maxHeaderBytes: MAX_HEADER_BYTES })
  const found = isMlx
    ? readMlxTensors(file, loraScaling(config)(''))
    : readAdapterTensors(file, config, values === 'disk')
  const { tensors, remark } = leaveOutOtherModalities(found, tensorsPath)
  return {
    path,
    config,
    ...tensors,
    sha256: adapterIdentity(file.sha256, config),
    files: [
      { path: tensorsPath, sha256: file.sha256 },
      { path: configPath, sha256: configSha256 },
    ],
    remarks: [
      ...(remark === undefined ? [] : [remark]),
      ...(isMlx ? [] : peftRemarks(config, tensors, file.tensors.keys())),
      ...(beside === undefined ? [] : [`the adapter is read; the whole model beside it (${beside}) is not`]),
    ],
  }
}

/**
 * Reads adapter_config.json, PEFT's or mlx-lm's.
 *
 * @param tensors the file of the adapter's tensors
 * @throws as {@link readPeftAdapter}
 */
export async function readAdapterConfig(
  path: string,
  tensors: string,
): Promise<{ config: PeftConfig; isMlx: boolean; sha256: string }> {
  const bytes = await readUnpacked(path, 'vanished')
  const json = parseTrainerJson(bytes.toString('utf8'), path)
  const isMlx = isMlxConfig(json, basename(tensors))
  return { config: parsePeftConfig(isMlx ? mlxAsPeft(json, path) : json, path), isMlx, sha256: sha256(bytes) }
}

/**
 * The two files of an adapter, and the name of a whole model's file beside them.
 *
 * @param path the folder, or one of its tensor files
 * @throws as {@link checkFiles}
 */
export async function adapterFiles(
  path: string,
  missing: MissingMeans = 'absent',
): Promise<{ config: string; tensors: string; beside: string | undefined }> {
  checkNamed(path, 'an adapter')
  refuseGguf(path)
  const named = isTensorFile(path) ? basename(path) : undefined
  const folder = named === undefined ? path : dirname(path)
  const names = (await listFolder(folder, missing)).map(({ name }) => name)
  checkFiles(names, folder, named)
  return {
    config: join(folder, ADAPTER_CONFIG),
    tensors: join(folder, named ?? tensorsFile(names)),
    beside: names.sort().find((name) => namesModelWeights([name])),
  }
}

/**
 * A GGUF adapter has one alpha for all modules, and does not say what it was made from.
 *
 * @throws UNSUPPORTED
 */
export function refuseGguf(path: string): void {
  if (!path.toLowerCase().endsWith('.gguf')) return
  throw new TraitscopeError(
    'UNSUPPORTED',
    `expected an adapter as a trainer saved it, found the GGUF ${path}; name the PEFT folder that it was converted from`,
  )
}

/** Whether a path is that of an adapter's tensor file, going by its name. */
export function isTensorFile(path: string): boolean {
  return TENSOR_FILE.test(basename(path))
}

/** The file with an adapter's tensors: PEFT's, or mlx-lm's where there is only that. */
function tensorsFile(names: readonly string[]): string {
  return !names.includes(ADAPTER_TENSORS) && names.includes(MLX_TENSORS) ? MLX_TENSORS : ADAPTER_TENSORS
}

/** {@link PeftAdapter.sha256} from its parts: the SHA-256 of the tensor file, and the configuration. */
export function adapterIdentity(tensorsSha256: string, config: PeftConfig): string {
  return sha256(`traitscope-adapter-1 ${tensorsSha256} ${config.scalingId}`)
}

/**
 * Says what a folder lacks to be an adapter that can be read.
 *
 * @param names the folder's entries
 * @param tensors the file with the tensors; default PEFT's, or mlx-lm's where there is only that
 * @throws UNSUPPORTED for pickles and sharded saves, FILE_NOT_FOUND when it is no adapter at all, FILE_INCOMPLETE when
 * one of its two files is missing.
 */
export function checkFiles(names: readonly string[], folder: string, tensors = tensorsFile(names)): void {
  const hasConfig = names.includes(ADAPTER_CONFIG)
  if (names.includes(tensors)) {
    if (hasConfig) return
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `expected ${ADAPTER_CONFIG} in ${folder}, found only ${tensors}; it may still be being written`,
    )
  }
  if (names.includes('adapter_model.bin')) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${folder} holds adapter_model.bin, a pickle that can run code when it is opened; load it with PEFT and save it again with save_pretrained(..., safe_serialization=True)`,
    )
  }
  const shard = names.find((name) => /^adapter_model-\d+-of-\d+\.safetensors$/.test(name))
  if (shard !== undefined) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${folder} holds an adapter in several files (${shard}, ...), which PEFT does not read; save it in one, with save_pretrained(..., max_shard_size="50GB")`,
    )
  }
  if (names.some((name) => name.startsWith('pytorch_model_fsdp') || name.endsWith('.distcp'))) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${folder} holds a sharded FSDP checkpoint; train with FULL_STATE_DICT, or consolidate the shards and save the adapter`,
    )
  }
  if (!hasConfig && names.includes('zero_to_fp32.py')) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${folder} holds the parts of a DeepSpeed checkpoint and no weights; put them together with "python zero_to_fp32.py . . --safe_serialization" in it, or train with stage3_gather_16bit_weights_on_model_save`,
    )
  }
  if (hasConfig) {
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `expected ${tensors} in ${folder}, found only ${ADAPTER_CONFIG}; it may still be being written`,
    )
  }
  throw new TraitscopeError(
    'FILE_NOT_FOUND',
    `expected ${ADAPTER_CONFIG} and ${ADAPTER_TENSORS} in ${folder}, found ${someNames(names)}; name a PEFT adapter folder`,
  )
}

/** What a folder holds instead of what was looked for. */
export function someNames(names: readonly string[]): string {
  if (names.length === 0) return 'nothing'
  const shown = [...names].sort().slice(0, 6).join(', ')
  return names.length > 6 ? `${shown} and ${names.length - 6} more` : shown
}
