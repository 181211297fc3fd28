import { checkMade, Needed, type OptionKinds, takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { GENERATE_TEXT_OPTIONS, type GenerateTextOptions, generateText } from '../generation/generate.js'
import type { FinishReason } from '../model/generation.js'
import { MODEL, type Model } from '../model/model.js'
import type { FilePrompt } from '../prompts/prompt-file.js'
import { sequenceRatio } from './sequence-ratio.js'
import { controlAt, fitRemarks, STEERING_VECTOR, type SteeringVector } from './steering-vector.js'

/** How to steer. */
export interface SteerOptions extends Omit<GenerateTextOptions, 'control' | 'draws' | 'logprobs' | 'layers'> {
  /** Each is steered with at both signs; above 0, in the vector's unit. */
  doses: readonly number[]
}

const { control: _c, draws: _d, logprobs: _p, layers: _l, ...ANSWER_OPTIONS } = GENERATE_TEXT_OPTIONS
const OPTIONS: OptionKinds<SteerOptions> = { ...ANSWER_OPTIONS, doses: new Needed('numbers') }

/** An answer of a steered model, or of the model as it is. */
export interface SteeredAnswer {
  text: string
  finish: FinishReason
  tokens: number
}

/** What a direction does to one prompt at one dose: three answers to compare. */
export interface SteeredPrompt {
  /** Index into the prompts. */
  prompt: number
  dose: number
  baseline: SteeredAnswer
  positive: SteeredAnswer
  negative: SteeredAnswer
  /** 1 - {@link sequenceRatio} of the baseline and each of the others: 0 for the same text. */
  divergence: { positive: number; negative: number }
}

/**
 * Answers with a vector added and taken away, beside those without it, all of them generated together. The random numbers of
 * a prompt are the same for all, so they differ only by what the vector does. Prompt after prompt, doses as given.
 *
 * @throws TraitscopeError USAGE for a dose that is not above 0; NOT_COMPARABLE for a vector of another width or of blocks that
 * the model lacks; as `generateText`
 */
export async function steer(
  model: Model,
  vector: SteeringVector,
  prompts: readonly FilePrompt[],
  options: SteerOptions,
): Promise<SteeredPrompt[]> {
  checkMade(model, MODEL)
  checkMade(vector, STEERING_VECTOR)
  const { doses, ...own } = takeOptions('steer', options, OPTIONS)
  if (doses.length === 0 || doses.some((dose) => !(dose > 0 && Number.isFinite(dose)))) {
    throw new TraitscopeError(
      'USAGE',
      `expected doses above 0 (both signs are taken), found ${doses.join(', ')}`,
    )
  }
  fitRemarks(model, vector)
  const arms = [0, ...doses.flatMap((dose) => [dose, -dose])]
  const controls = arms.map((dose) => controlAt(vector, dose))
  const { generations } = await generateText(
    model,
    prompts.flatMap((prompt) => arms.map(() => prompt)),
    { ...own, control: prompts.flatMap(() => controls) },
  )
  const answers = generations.map(([generation]): SteeredAnswer => {
    const { text, finish, tokens } = generation!
    return { text, finish, tokens: tokens.length }
  })
  return prompts.flatMap((_, prompt) => {
    const [baseline, ...steered] = answers.slice(prompt * arms.length, (prompt + 1) * arms.length)
    return doses.map((dose, d): SteeredPrompt => {
      const [positive, negative] = [steered[2 * d]!, steered[2 * d + 1]!]
      const divergence = (answer: SteeredAnswer) => 1 - sequenceRatio(baseline!.text, answer.text)
      return {
        prompt,
        dose,
        baseline: baseline!,
        positive,
        negative,
        divergence: { positive: divergence(positive), negative: divergence(negative) },
      }
    })
  })
}
