import type { Directions } from '../directions/directions.js'
import type { GenerateTextOptions } from '../generation/generate.js'
import type { Model } from '../model/model.js'
import type { FilePrompt } from '../prompts/prompt-file.js'
import { loadSteeringSuite } from '../prompts/steering-suite.js'
import { type SteeredPrompt, steer } from '../steering/steer.js'
import { steeringVector } from '../steering/steering-vector.js'

/** One prompt, answered with a direction added and taken away. */
export interface SteeringSample extends Omit<SteeredPrompt, 'prompt'> {
  trait: string
  /** 0-based block that the direction is added to. */
  layer: number
  prompt: FilePrompt
}

/** Strong enough to be seen in one answer; of published doses (0.05 to 0.5) one of the smaller, because small models break early. */
const DOSE = 0.2

/** The direction that held up best, and where: its lower bound decides. */
function bestDirection({ layers, traits, diagnostics }: Directions): { trait: string; layer: number } {
  const all = diagnostics.flatMap(({ layer, heldOut }) =>
    traits.map((trait) => ({ trait, layer, low: heldOut[trait]?.both?.interval[0] ?? -1 })),
  )
  const best = all.reduce((most, each) => (each.low > most.low ? each : most))
  // Where nothing could be tested the middle layer is as good as any.
  return best.low < 0 ? { trait: traits[0]!, layer: layers[0]! } : best
}

/** The first prompt of the suite for a trait; of a pack with traits of its own, the prompt given instead. */
async function samplePrompt(trait: string, instead: FilePrompt): Promise<FilePrompt> {
  const { items } = await loadSteeringSuite('core')
  const own = items.find((item) => item.trait === trait)
  return own === undefined ? instead : { messages: own.messages }
}

export async function steeringSample(
  model: Model,
  directions: Directions,
  instead: FilePrompt,
  options: Pick<GenerateTextOptions, 'template' | 'signal' | 'maxTokens'>,
): Promise<SteeringSample> {
  const { trait, layer } = bestDirection(directions)
  const prompt = await samplePrompt(trait, instead)
  const vector = steeringVector(directions, trait, [layer])
  const [answers] = await steer(model, vector, [prompt], { ...options, doses: [DOSE] })
  const { prompt: _, ...sample } = answers!
  return { trait, layer, ...sample, prompt }
}
