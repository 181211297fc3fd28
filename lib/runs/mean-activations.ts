import { TraitscopeError } from '../errors.js'
import { readSafetensors } from '../formats/safetensors/safetensors.js'
import type { Step } from '../trajectory/trajectory.js'

/** Hidden states of a run, averaged over the prompts. */
export interface MeanActivations {
  /** 0-based blocks. */
  layers: number[]
  nEmbd: number
  /** Per step: shape `[nLayers, nEmbd]`, native activation units. */
  steps: ReadonlyMap<Step, Float64Array>
}

/**
 * Reads `activations.safetensors`: tensors `step-<n>` of shape `[nPrompts, nLayers, nEmbd]`, where one row
 * instead of nPrompts is a mean already. The file's metadata names the layers.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID for another layout; SHAPE for NaN or infinite values
 */
export async function readMeanActivations(path: string): Promise<MeanActivations> {
  const file = await readSafetensors(path)
  const layers = (file.metadata.get('layers') ?? '').split(',').map(Number)
  const steps = new Map<Step, Float64Array>()
  let nEmbd: number | undefined
  for (const [name, { shape }] of file.tensors) {
    const step = /^step-(\d+|final)$/.exec(name)?.[1]
    const [rows, nLayers, cols] = shape
    nEmbd ??= cols
    if (step === undefined || shape.length !== 3 || nLayers !== layers.length || cols !== nEmbd || !rows) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected ${path} to hold tensors step-<n> of one shape [nPrompts, ${layers.length}, nEmbd], found ${name} of [${shape}]`,
      )
    }
    const values = file.finiteFloat32(name)
    const mean = new Float64Array(layers.length * nEmbd!)
    for (const [i, value] of values.entries()) mean[i % mean.length]! += value / rows
    steps.set(step === 'final' ? 'final' : Number(step), mean)
  }
  return { layers, nEmbd: nEmbd ?? 0, steps }
}
