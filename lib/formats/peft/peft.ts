import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { fileError } from '../files/file-errors.js'
import { sha256 } from '../files/hash.js'
import { readJsonFile } from '../json/json.js'
import { openSafetensors, readSafetensors } from '../safetensors/safetensors.js'
import { isMlxConfig, MLX_TENSORS, mlxAsPeft, readMlxTensors } from './mlx-adapter.js'
import { loraScaling, type PeftConfig, parsePeftConfig } from './peft-config.js'
import { type AdapterTensors, readAdapterTensors } from './peft-tensors.js'

export type { LoraModule, ReplacedRows, ReplacedTensor } from './peft-tensors.js'
export type { PeftConfig }

export const ADAPTER_CONFIG = 'adapter_config.json'
export const ADAPTER_TENSORS = 'adapter_model.safetensors'

/** An adapter as it lies in its folder, checked. */
export interface PeftAdapter extends AdapterTensors {
  /** The folder. */
  readonly path: string
  readonly config: PeftConfig
  /** Identity of the weights: equal for equal tensor files under equal scaling, whatever the folder is called. */
  readonly sha256: string
}

/** An adapter's header is a few hundred KB at most. */
const MAX_HEADER_BYTES = 16 * 1024 ** 2

/** How to read an adapter. */
export interface ReadPeftOptions {
  /**
   * `memory` (default): read everything, after which the folder may go. `disk`: check everything, but read the matrices
   * of a module again whenever they are asked for, so that a large adapter takes no memory; the folder has to stay. Those of
   * mlx-lm are in memory either way.
   */
  values?: 'memory' | 'disk'
}

/**
 * Reads a folder with adapter_config.json and adapter_model.safetensors, or mlx-lm's adapters.safetensors.
 *
 * Read are LoRA on linear modules and embeddings, rsLoRA, rank_pattern, alpha_pattern, DoRA, biases, modules_to_save
 * and trainable tokens; which of them can be attached to a base and which must be merged into it is decided later. A
 * scale of 0 and an all-zero B are no errors here.
 *
 * @throws FILE_NOT_FOUND, FILE_INCOMPLETE when one of the two files is missing or cut short, FILE_VANISHED,
 * FILE_INVALID, UNSUPPORTED for everything else, by name, ADAPTER_INVALID for contradictions and values
 * that are not finite.
 */
export async function readPeftAdapter(
  folder: string,
  { values = 'memory' }: ReadPeftOptions = {},
): Promise<PeftAdapter> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, folder)
  })
  checkFiles(names, folder)
  const { config, isMlx } = await readAdapterConfig(folder)
  const read = values === 'disk' ? openSafetensors : readSafetensors
  const file = await read(join(folder, tensorsFile(names)), {
    missing: 'vanished',
    maxHeaderBytes: MAX_HEADER_BYTES,
  })
  return {
    path: folder,
    config,
    ...(isMlx
      ? readMlxTensors(file, loraScaling(config)(''))
      : readAdapterTensors(file, config, values === 'disk')),
    sha256: adapterIdentity(file.sha256, config),
  }
}

/**
 * Reads adapter_config.json, PEFT's or mlx-lm's.
 *
 * @throws as {@link readPeftAdapter}
 */
export async function readAdapterConfig(folder: string): Promise<{ config: PeftConfig; isMlx: boolean }> {
  const path = join(folder, ADAPTER_CONFIG)
  const json = await readJsonFile(path, 'vanished')
  const isMlx = isMlxConfig(json)
  return { config: parsePeftConfig(isMlx ? mlxAsPeft(json, path) : json, path), isMlx }
}

/** The file with an adapter's tensors: PEFT's, or mlx-lm's where there is only that. */
export function tensorsFile(names: readonly string[]): string {
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
 * @throws UNSUPPORTED for pickles and sharded saves, FILE_NOT_FOUND when it is no adapter at all, FILE_INCOMPLETE when
 * one of its two files is missing.
 */
export function checkFiles(names: readonly string[], folder: string): void {
  const hasConfig = names.includes(ADAPTER_CONFIG)
  const tensors = tensorsFile(names)
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
  if (names.some((name) => name.startsWith('pytorch_model_fsdp') || name.endsWith('.distcp'))) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${folder} holds a sharded FSDP checkpoint; train with FULL_STATE_DICT, or consolidate the shards and save the adapter`,
    )
  }
  if (hasConfig) {
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `expected ${ADAPTER_TENSORS} in ${folder}, found only ${ADAPTER_CONFIG}; it may still be being written`,
    )
  }
  throw new TraitscopeError(
    'FILE_NOT_FOUND',
    `expected ${ADAPTER_CONFIG} and ${ADAPTER_TENSORS} in ${folder}, found neither; name a PEFT adapter folder`,
  )
}
