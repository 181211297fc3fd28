import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { fileError } from './file-errors.js'
import { sha256 } from './hash.js'
import { readJsonFile } from './json.js'
import { quoted } from './json-scan.js'
import { type LoraScaling, loraScaling, type PeftConfig, parsePeftConfig } from './peft-config.js'
import { parseLoraKey } from './peft-keys.js'
import { readSafetensors, type Safetensors, type TensorEntry } from './safetensors.js'
import { firstNonFinite } from './safetensors-dtypes.js'

export type { PeftConfig }

export const ADAPTER_CONFIG = 'adapter_config.json'
export const ADAPTER_TENSORS = 'adapter_model.safetensors'

/** LoRA on one linear module: W' = W + scale · B·A. */
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
}

export interface PeftAdapter {
  /** The folder. */
  readonly path: string
  readonly config: PeftConfig
  /** Sorted by path. */
  readonly modules: readonly LoraModule[]
  /** Identity of the weights: equal for equal tensor files under equal scaling, whatever the folder is called. */
  readonly sha256: string
}

/** An adapter's header is a few hundred KB at most. */
const MAX_HEADER_BYTES = 16 * 1024 ** 2

/**
 * Reads a folder with adapter_config.json and adapter_model.safetensors completely into memory.
 *
 * Supported: plain LoRA and rsLoRA on linear modules, rank_pattern, alpha_pattern. A scale of 0 and an all-zero B are
 * no errors here.
 *
 * @throws FILE_NOT_FOUND, FILE_INCOMPLETE when one of the two files is missing or cut short, FILE_VANISHED,
 * FILE_INVALID, UNSUPPORTED for everything beyond plain LoRA, by name, ADAPTER_INVALID for contradictions and values
 * that are not finite.
 */
export async function readPeftAdapter(folder: string): Promise<PeftAdapter> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, folder)
  })
  checkFiles(names, folder)
  const configPath = join(folder, ADAPTER_CONFIG)
  const config = parsePeftConfig(await readJsonFile(configPath, 'vanished'), configPath)
  const file = await readSafetensors(join(folder, ADAPTER_TENSORS), {
    missing: 'vanished',
    maxHeaderBytes: MAX_HEADER_BYTES,
  })
  return {
    path: folder,
    config,
    modules: readModules(file, loraScaling(config)),
    sha256: adapterIdentity(file.sha256, config),
  }
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
  if (names.includes(ADAPTER_TENSORS)) {
    if (hasConfig) return
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `expected ${ADAPTER_CONFIG} in ${folder}, found only ${ADAPTER_TENSORS}; it may still be being written`,
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

/** Pairs the tensors of an adapter file and checks each pair. Exported for tests of single rules. */
export function readModules(file: Safetensors, scaling: (path: string) => LoraScaling): LoraModule[] {
  const pairs = new Map<string, { A?: TensorEntry; B?: TensorEntry }>()
  for (const entry of file.tensors.values()) {
    const { path, part } = parseLoraKey(entry.name, file.where)
    const pair = pairs.get(path) ?? {}
    pair[part] = entry
    pairs.set(path, pair)
  }
  if (pairs.size === 0) throw notGathered(file.where, 'no LoRA tensors')
  return [...pairs]
    .sort(([x], [y]) => (x < y ? -1 : 1))
    .map(([path, { A, B }]) => {
      if (!A || !B) {
        const missing = A ? 'lora_B' : 'lora_A'
        throw new TraitscopeError(
          'ADAPTER_INVALID',
          `expected lora_A and lora_B for module ${quoted(path)} in ${file.where}, found no ${missing}; save the adapter again`,
        )
      }
      return readModule(file, path, A, B, scaling(path))
    })
}

function readModule(
  file: Safetensors,
  path: string,
  a: TensorEntry,
  b: TensorEntry,
  scaling: LoraScaling,
): LoraModule {
  if ([...a.shape, ...b.shape].includes(0))
    throw notGathered(file.where, `an empty tensor for ${quoted(path)}`)
  const [rankA, inFeatures] = matrix(a, file.where)
  const [outFeatures, rankB] = matrix(b, file.where)
  if (rankA !== scaling.r || rankB !== scaling.r) {
    throw new TraitscopeError(
      'ADAPTER_INVALID',
      `expected rank ${scaling.r} for module ${quoted(path)} by adapter_config.json, found lora_A [${a.shape}] and lora_B [${b.shape}] in ${file.where}; the configuration belongs to another adapter`,
    )
  }
  const { r, scale } = scaling
  return { path, a: finite(file, a), b: finite(file, b), r, inFeatures, outFeatures, scale }
}

function matrix(entry: TensorEntry, where: string): [number, number] {
  const [rows, columns, ...more] = entry.shape
  if (rows !== undefined && columns !== undefined && more.length === 0) return [rows, columns]
  throw new TraitscopeError(
    'UNSUPPORTED',
    `expected tensor ${quoted(entry.name)} of ${where} to be a matrix, found shape [${entry.shape}]; only linear modules can be adapted`,
  )
}

function finite(file: Safetensors, entry: TensorEntry): Float32Array {
  const values = file.float32(entry.name)
  const bad = firstNonFinite(values)
  if (bad < 0) return values
  throw new TraitscopeError(
    'ADAPTER_INVALID',
    `expected finite values in tensor ${quoted(entry.name)} of ${file.where}, found ${values[bad]} at element ${bad}; the training run has diverged or the file is damaged`,
  )
}

function notGathered(where: string, found: string): TraitscopeError {
  return new TraitscopeError(
    'ADAPTER_INVALID',
    `expected LoRA tensors in ${where}, found ${found}; a DeepSpeed ZeRO-3 run must gather weights on save (stage3_gather_16bit_weights_on_model_save), or consolidate the checkpoint`,
  )
}
