import { join } from 'node:path'
import { type AlarmScore, alarmScore } from '../detector/alarm-score.js'
import type { Detector } from '../detector/detector.js'
import { PRIOR_SCORES, type PromptScores } from '../detector/settling.js'
import { type Directions, directionVector } from '../directions/directions.js'
import { isTraitscopeError } from '../errors.js'
import { plainOrGzip } from '../formats/files/gzip.js'
import { readSafetensors } from '../formats/safetensors/safetensors.js'
import type { MeasuredRun } from '../runs/runs.js'

/** A new run may go further than those that are known, by this share of what they span on either side. */
const FURTHER = 0.25

/**
 * How far the score of a single prompt went in any checkpoint of some runs, and a quarter more: what verdicts by a part of the prompts
 * rest on. At least what a prior takes for it, since few runs of one kind go nowhere near what the next one does.
 *
 * @returns why nobody knows where states of single prompts were not kept; undefined for a detector that no part of the prompts settles
 */
export async function promptScoresOf(
  runs: readonly MeasuredRun[],
  detector: Detector,
  directions: Directions,
): Promise<PromptScores | string | undefined> {
  let score: AlarmScore
  try {
    score = alarmScore(detector)
  } catch (error) {
    if (isTraitscopeError(error)) return undefined
    throw error
  }
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const run of runs) {
    const scores = await scoresByPrompt(run, score, detector, directions)
    if (scores === undefined)
      return `${run.id} was measured without the states of its prompts (--activations)`
    for (const value of scores.flat()) [low, high] = [Math.min(low, value), Math.max(high, value)]
  }
  if (!(low <= high)) return undefined
  const further = FURTHER * (high - low)
  return { low: Math.min(PRIOR_SCORES.low, low - further), high: Math.max(PRIOR_SCORES.high, high + further) }
}

/**
 * By checkpoint after step 0 the score of every prompt; undefined where the states are not there.
 *
 * @internal
 */
export async function scoresByPrompt(
  { path, trajectory: { layers, steps } }: Pick<MeasuredRun, 'path' | 'trajectory'>,
  { weights, intercept }: AlarmScore,
  detector: Pick<Detector, 'layers'>,
  directions: Directions,
): Promise<number[][] | undefined> {
  const found = await plainOrGzip(join(path, 'activations.safetensors'))
  if (found === undefined) return undefined
  const file = await readSafetensors(found)
  const kept = (file.metadata.get('layers') ?? '').split(',').map(Number)
  const { nEmbd, traits } = directions
  // One vector a layer: the score is linear in the states.
  const along = detector.layers.map((layer, l) => {
    const norm = layers.find((one) => one.layer === layer)!.step0ActivationNorm
    const vector = new Float64Array(nEmbd)
    for (const t of traits.keys()) {
      const weight = weights[l * traits.length + t]! / norm
      const direction = directionVector(directions, directions.layers.indexOf(layer), t)
      for (let c = 0; c < nEmbd; c++) vector[c]! += weight * direction[c]!
    }
    return { at: kept.indexOf(layer), vector }
  })
  if (along.some(({ at }) => at < 0)) return undefined
  const values = (step: string | number): number[] | undefined => {
    const name = `step-${step}`
    const rows = file.tensors.get(name)?.shape[0] ?? 0
    if (rows < 2) return undefined
    const states = file.finiteFloat32(name)
    return Array.from({ length: rows }, (_, p) =>
      along.reduce((sum, { at, vector }) => {
        const from = (p * kept.length + at) * nEmbd
        return sum + vector.reduce((part, weight, c) => part + weight * states[from + c]!, 0)
      }, 0),
    )
  }
  const before = values(0)
  const all: number[][] = []
  for (const { step } of steps.slice(1)) {
    const now = values(step)
    if (now === undefined || now.length !== before?.length) return undefined
    all.push(now.map((value, p) => intercept + value - before[p]!))
  }
  return all
}
