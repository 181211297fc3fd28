import { LLAMA_CPP_VERSION, systemInfo } from '../binding.js'
import type { JsonFields } from '../formats/json/json-fields.js'
import type { Model } from '../model/model.js'
import { CALIBRATED, mismatch } from './comparable.js'

/** How states were computed, beside model, prompts and device: what else can change a bit of them. */
export interface EngineConditions {
  /** Release of llama.cpp. */
  llamaCpp: string
  /** Instructions that its kernels use, as llama.cpp lists them. */
  system: string
  /** Weights were copied into layouts that suit the processor; see `ModelOptions`. */
  repack: boolean
  /** Blocks that were on a GPU, of those that ran. */
  gpuLayers: number
  /** Type of cached keys and values. */
  cache: string
  flashAttention: boolean
  /** Which rotation factors of a LongRoPE base the prompts took; null for other bases. */
  longRope: 'short' | 'long' | 'both' | null
  /** How checkpoints met the base, sorted; absent where that is not known yet, and in files of earlier versions. */
  checkpoints?: readonly CheckpointKernels[]
}

/** `attach`: beside the base's weights; `merge`: in a copy of them; `convert`: a whole model of its own. */
export type CheckpointKernels = 'attach' | 'convert' | 'merge'
const CHECKPOINT_KERNELS: readonly CheckpointKernels[] = ['attach', 'convert', 'merge']

const HOW: Readonly<Record<CheckpointKernels, string>> = {
  attach: 'adapters beside the weights',
  convert: 'whole models',
  merge: 'adapters merged into a copy of the base',
}

/** Sorted, each once. */
export const kernelsOf = (all: Iterable<CheckpointKernels>): CheckpointKernels[] => [...new Set(all)].sort()

/** @param prompts token ids of what is read */
export function engineConditions(
  { limits, options, placement }: Pick<Model, 'limits' | 'options' | 'placement'>,
  prompts: readonly { length: number }[],
): EngineConditions {
  return {
    llamaCpp: LLAMA_CPP_VERSION,
    system: systemInfo().trim(),
    repack: options.repack,
    gpuLayers: placement.onDevice,
    cache: 'F32',
    flashAttention: false,
    longRope: rotationOf(limits.longRope?.original, prompts),
  }
}

function rotationOf(
  original: number | undefined,
  prompts: readonly { length: number }[],
): EngineConditions['longRope'] {
  if (original === undefined) return null
  const long = prompts.filter(({ length }) => length > original).length
  if (long === 0) return 'short'
  return long === prompts.length ? 'long' : 'both'
}

/** What must not differ: rounding of another size, or another rotation. Nothing where one of the two does not say. */
export function engineMismatches(
  calibrated: EngineConditions | undefined,
  measured: EngineConditions | undefined,
): string[] {
  if (!calibrated || !measured) return []
  const check = mismatch(CALIBRATED)
  return [
    ...check('the type of cached keys and values', calibrated.cache, measured.cache),
    ...check('flash attention', calibrated.flashAttention, measured.flashAttention),
    ...check("the prompts' rotation (LongRoPE)", calibrated.longRope, measured.longRope),
  ]
}

/** What may differ, since it moves states by their last bits only, and is said. */
export function engineRemarks(
  calibrated: EngineConditions | undefined,
  measured: EngineConditions | undefined,
): string[] {
  if (!calibrated || !measured) return []
  const different = [
    calibrated.llamaCpp !== measured.llamaCpp && `llama.cpp ${measured.llamaCpp}, not ${calibrated.llamaCpp}`,
    calibrated.system !== measured.system && "another processor's instructions",
    calibrated.repack !== measured.repack &&
      `weights ${measured.repack ? 'repacked' : 'not repacked'} for the processor`,
    calibrated.gpuLayers !== measured.gpuLayers && `${measured.gpuLayers} blocks on the GPU`,
    ...othersThan(calibrated.checkpoints, measured.checkpoints),
  ].filter((what) => what !== false)
  return different.length === 0
    ? []
    : [`measured with other kernels than the calibration runs: ${different.join(', ')}`]
}

/** What checkpoints are here and were not there; nothing where one of the two does not say. */
function othersThan(
  calibrated: readonly CheckpointKernels[] | undefined,
  measured: readonly CheckpointKernels[] | undefined,
): string[] {
  if (!calibrated || !measured) return []
  return measured.filter((one) => !calibrated.includes(one)).map((one) => HOW[one])
}

/** What a bundle or measurement of an earlier version does not say of its engine, in a few words each. */
export function notRecorded(engine: EngineConditions | undefined): string[] {
  if (!engine) return ['how states were computed']
  return engine.checkpoints ? [] : ['whether adapters were attached or merged']
}

/** Undefined in files of earlier versions, which do not say. */
export function parseEngine(parent: JsonFields): EngineConditions | undefined {
  if (parent.json.engine === undefined) return undefined
  const at: JsonFields = parent.object('engine')
  const { repack, flashAttention, longRope, checkpoints } = at.json
  if (typeof repack !== 'boolean') return at.fail('repack', 'true or false')
  if (typeof flashAttention !== 'boolean') return at.fail('flashAttention', 'true or false')
  if (longRope !== null && longRope !== 'short' && longRope !== 'long' && longRope !== 'both') {
    return at.fail('longRope', 'short, long, both or null')
  }
  return {
    llamaCpp: at.text('llamaCpp'),
    system: at.text('system'),
    repack,
    gpuLayers: at.count('gpuLayers'),
    cache: at.text('cache'),
    flashAttention,
    longRope,
    ...(checkpoints === undefined
      ? {}
      : { checkpoints: at.list('checkpoints', isKernels, CHECKPOINT_KERNELS.join(', ')) }),
  }
}

const isKernels = (value: unknown): value is CheckpointKernels =>
  CHECKPOINT_KERNELS.includes(value as CheckpointKernels)
