import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dot } from '../estimators/linalg.js'
import { type Matrix, row } from '../estimators/matrix.js'
import { mean, variance } from '../estimators/mean.js'
import { makeScratch } from '../formats/files/scratch.js'
import { isJsonObject } from '../formats/json/json.js'
import { isFiniteNumber, isIndex, isText } from '../formats/json/json-fields.js'
import { hiddenStates } from '../hidden-states/hidden-states.js'
import { layerRows } from '../hidden-states/layer-rows.js'
import { writeRandomAdapter } from '../hidden-states/random-adapter.js'
import type { Model } from '../model/model.js'
import type { NoiseFloor, Step } from './trajectory.js'

/** Prompts that are read; the noise of all is told from the noise of these. */
const PROMPTS = 8
const RANK = 16
/**
 * Times 1 / width: the strength that changes the states of a language model by about 1e-4. That is small enough for the
 * curvature to vanish and large enough to redraw every rounding, which follows the last bit of its input.
 */
const STRENGTH = 50

/** ggml's CPU backend takes their GELU from a table of half-precision values. */
const HALF_PRECISION = /^gemma/

/** Everything that is computed with is F32, on a processor that keeps it so: there is nothing to measure. */
export function roundsNothing({ device, gguf, info }: Pick<Model, 'device' | 'gguf' | 'info'>): boolean {
  const matrices = [...gguf.tensors.values()].filter(({ shape }) => shape.length > 1)
  const exact = device === 'cpu' && !HALF_PRECISION.test(info.architecture)
  return exact && matrices.every(({ type }) => type === 'F32')
}

/** Evenly spread over all of them, so that every category has its share. */
export function noisePrompts<T>(prompts: readonly T[]): T[] {
  const n = Math.min(PROMPTS, prompts.length)
  return Array.from({ length: n }, (_, i) => prompts[Math.floor((i * prompts.length) / n)]!)
}

/**
 * Rounding of single states, shape `[nPrompts, nLayers, nEmbd]`, native activation units: as large as in the difference
 * between a checkpoint's state and the base's. Method section 5.5.
 */
export async function readNoise(
  model: Model,
  prompts: readonly Int32Array[],
  options: { layers: readonly number[]; pool: 'last' | 'mean'; signal?: AbortSignal | undefined },
): Promise<{ states: Float32Array; computedTokens: number }> {
  const folder = await makeScratch(tmpdir())
  try {
    await writeRandomAdapter(folder, model.gguf, RANK)
    const read = async (strength: number) => {
      if (strength === 0) return hiddenStates(model, prompts, options)
      await using adapter = await model.attach(folder, { strength })
      return await hiddenStates(model, prompts, { ...options, adapter })
    }
    const strength = STRENGTH / model.info.nEmbd
    const [bare, there, back] = [await read(0), await read(strength), await read(-strength)]
    return {
      states: bare.data.map((h, i) => (there.data[i]! + back.data[i]! - 2 * h) / Math.sqrt(3)),
      computedTokens: 3 * bare.tokens.computed,
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * The floor of a measurement over `nPrompts` prompts from the noise of a few. A part of the noise is common to all
 * prompts, because they share a template's first tokens; only the rest averages out.
 *
 * @param noise shape `[few, nLayers, nEmbd]`
 * @param directions shape `[nTraits, nEmbd]` per layer
 * @param base per layer N, and the root of the mean squared norm of a state
 */
export function floorOf(
  noise: Float32Array,
  layers: readonly number[],
  directions: readonly Matrix[],
  base: readonly { activationNorm: number; rms: number }[],
  nPrompts: number,
): NoiseFloor {
  const nEmbd = directions[0]!.cols
  const few = noise.length / (layers.length * nEmbd)
  const shape: [number, number, number] = [few, layers.length, nEmbd]
  return {
    method: 'opposite-perturbations',
    prompts: few,
    layers: layers.map((layer, l) => {
      const rows = layerRows({ data: noise, shape }, l)
      const along = directions[l]!
      let common = 0
      let own = 0
      for (let t = 0; t < along.rows; t++) {
        const direction = row(along, t)
        const values = Array.from({ length: few }, (_, p) => dot(row(rows, p), direction))
        const spread = variance(values, few > 1 ? 1 : 0)
        common += mean(values) ** 2 - spread / few
        own += spread / nPrompts
      }
      const { activationNorm, rms } = base[l]!
      return {
        layer,
        drift: Math.sqrt(Math.max(0, common) + own) / activationNorm,
        stateChange: Math.sqrt(dot(rows.data, rows.data) / few) / rms,
      }
    }),
  }
}

/** Lengths below this many floors say nothing. */
const CLEAR = 3

/**
 * The floor in words.
 *
 * @param seen a layer and the drift at it: steps that do not stand out of the floor are named
 */
export function noiseSentence(
  { layers }: NoiseFloor,
  seen?: { layer: number | null; drift: readonly { step: Step; norm: number }[] },
): string {
  const each = layers.map(({ layer, drift }) => `${drift.toPrecision(2)} at layer ${layer}`)
  const floor = layers.find(({ layer }) => layer === seen?.layer)?.drift ?? 0
  const hidden = (seen?.drift ?? []).filter(({ step, norm }) => step !== 0 && norm < CLEAR * floor)
  return (
    `noise floor: rounding alone makes a drift as long as ${each.join(', ')}` +
    (hidden.length === 0
      ? ''
      : `; less than ${CLEAR} times that at step ${hidden.map(({ step }) => step).join(', ')}`)
  )
}

export function isNoiseFloor(value: unknown): value is NoiseFloor {
  return (
    isJsonObject(value) &&
    isText(value.method) &&
    isIndex(value.prompts) &&
    Array.isArray(value.layers) &&
    value.layers.every(
      (one) =>
        isJsonObject(one) &&
        isIndex(one.layer) &&
        isFiniteNumber(one.drift) &&
        isFiniteNumber(one.stateChange),
    )
  )
}
