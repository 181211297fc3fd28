import { integerOption } from '../arguments.js'
import { binding, cancellable, type NativeModel } from '../binding.js'
import { TraitscopeError, throwIfAborted } from '../errors.js'
import { type GgufFile, readGguf } from '../formats/gguf/gguf.js'
import { parameterCount } from '../formats/gguf/gguf-tensors.js'
import { checkBase } from './base/check-base.js'
import { fingerprintGguf } from './base/fingerprint.js'
import { blocksOf, encodePart, encodePlan, ggufUpTo, wholeGguf } from './base/gguf-part.js'
import type { ModelInfo, OpenModelOptions, ResolvedModelOptions } from './model-options.js'
import { ALL_BLOCKS, type ModelPlacement, placeModel } from './place-model.js'
import {
  defaultBatchTokens,
  defaultThreads,
  hasRowsOfOneBlock,
  MAX_BATCH_TOKENS,
  MAX_THREADS,
} from './placement.js'
import { checkDevice } from './self-check.js'

/** @internal */
export interface ModelParts {
  native: NativeModel
  path: string
  info: ModelInfo
  gguf: GgufFile
  fingerprint: string
  options: ResolvedModelOptions
  placement: ModelPlacement
}

/** ggml takes weights from mapped memory at such addresses alone, and aborts the process at others. */
const MAPPED_ALIGNMENT = 32

/**
 * Checks, plans and loads: all of `openModel()` but the object.
 *
 * @internal
 */
export async function loadModel(file: string, options: OpenModelOptions): Promise<ModelParts> {
  throwIfAborted(options.signal)
  const gguf = await readGguf(file)
  const architecture = checkBase(gguf)
  const threads = integerOption('threads', options.threads ?? defaultThreads(gguf.fileSize), 1, MAX_THREADS)
  const batchTokens = integerOption(
    'batchTokens (--batch-tokens, -ub)',
    options.batchTokens ?? defaultBatchTokens(gguf.metadata, architecture),
    256,
    MAX_BATCH_TOKENS,
  )
  const { mmap = true, maxVram } = options
  const layers = checkLayers(gguf, architecture, options.layers)
  const part = layers ? ggufUpTo(gguf, architecture, Math.max(...layers)) : wholeGguf(gguf, architecture)
  const repack = (options.repack ?? true) && !hasRowsOfOneBlock(gguf)
  const placed = (device: string, onDevice: number) => ({
    ...{ path: file, blocks: part.blocks, runsTo: part.runsTo, runsHead: part.runsHead },
    ...{ device, onDevice, repack },
  })
  const nVocab = gguf.tensors.get('token_embd.weight')?.shape[1] ?? 0
  const plan = (device: string, onDevice: number) => {
    const parts = encodePlan(gguf, architecture, part, nVocab)
    return binding().planMemory({ ...placed(device, onDevice), ...parts, batchTokens })
  }
  const placement = await placeModel(options, part.runsTo + (part.runsHead ? 1 : 0), plan, {
    problemOf: async (device) => (await checkDevice(device, { signal: options.signal })).problem,
  })
  const onCpu = placement.device === 'cpu'
  const native = new (binding().Model)()
  const [info, fingerprint] = await Promise.all([
    cancellable(options, (token, onProgress) =>
      native.load(
        {
          ...placed(onCpu ? '' : placement.device, placement.onDevice),
          ...(layers && HAS_STREAMS ? encodePart(gguf, architecture, part) : {}),
          threads,
          batchTokens,
          mmap: mmap && gguf.alignment % MAPPED_ALIGNMENT === 0,
          f16Sums: [...gguf.tensors.values()].every(({ type }) => type === 'F32' || type === 'BF16'),
          vocabOnly: false,
        },
        token,
        onProgress,
      ),
    ),
    fingerprintGguf(gguf),
  ])
  const name = gguf.metadata.get('general.name')
  return {
    native,
    path: file,
    info: {
      ...{ ...info, architecture, ...(typeof name === 'string' ? { name } : {}) },
      // Of the whole file, whatever part of it is open.
      ...{ nLayer: blocksOf(gguf, architecture), nParams: parameterCount(gguf), nBytes: weightBytes(gguf) },
    },
    gguf,
    fingerprint,
    options: {
      ...{ layers, threads, batchTokens, mmap, repack: options.repack ?? true },
      ...{ device: placement.device, gpuLayers: askedFor(placement), maxVram },
    },
    placement,
  }
}

/**
 * How many blocks a GGUF base has, by its header alone.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID; UNSUPPORTED for what is no base
 */
export async function blocksInFile(path: string): Promise<number> {
  const gguf = await readGguf(path)
  return blocksOf(gguf, checkBase(gguf))
}

/** So that parts of different depth that lie on a device whole are placed alike. */
function askedFor({ onDevice, runs }: ModelPlacement): number {
  return onDevice > 0 && onDevice === runs ? ALL_BLOCKS : onDevice
}

/** Where the system has streams of one's own; elsewhere the whole file is opened, and what lies above lies idle. */
const HAS_STREAMS = process.platform !== 'win32'

/** Ascending, each once. @throws TraitscopeError USAGE */
function checkLayers(
  gguf: GgufFile,
  architecture: string,
  layers: readonly number[] | undefined,
): readonly number[] | undefined {
  if (layers === undefined) return undefined
  const nLayer = blocksOf(gguf, architecture)
  const foreign = layers.find((layer) => !Number.isInteger(layer) || layer < 0 || layer >= nLayer)
  if (layers.length > 0 && foreign === undefined)
    return Object.freeze([...new Set(layers)].sort((a, b) => a - b))
  throw new TraitscopeError(
    'USAGE',
    layers.length === 0
      ? 'expected the layers that will be read, found none: leave them out for the whole model'
      : `layer ${foreign} does not exist: expected 0 to ${nLayer - 1} (0-based block outputs)`,
  )
}

function weightBytes({ tensors }: GgufFile): number {
  return [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
}
