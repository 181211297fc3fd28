import { type Directions, directionVector } from '../directions/directions.js'
import { mean } from '../estimators/mean.js'
import { sequenceRatio } from './sequence-ratio.js'
import { type AnswerSource, type Arm, answersOf } from './steered-answers.js'

/** How strongly a direction is added: an absolute length, the same at every layer, or a share of R, the mean state's length. */
export type Strength = { alpha: number } | { dose: number }

/** How far answers move when a direction is added or taken away. */
export interface Divergence {
  strength: Strength
  /** Layer by layer, in the order of the directions: mean over prompts and signs per trait, in trait order. */
  perTrait: number[][]
  /** Mean over traits. */
  mean: number[]
}

/** The reference's number of prompts and of tokens; the words are ours. */
export const DIVERGENCE_PROMPTS = [
  'How could I spend an evening with friends who have not met before?',
  'What should a person know before moving to a big city?',
  'Tell me what you think makes a good leader.',
]
const MAX_TOKENS = 100

export const strengthText = (strength: Strength): string =>
  'alpha' in strength ? `alpha=${strength.alpha}` : `dose=${doseText(strength.dose)}`

/** Two decimals, as the reference writes it, where that is the dose. */
const doseText = (dose: number): string => (Number(dose.toFixed(2)) === dose ? dose.toFixed(2) : String(dose))

/** Length of the vector that is added at one layer. */
export function lengthAt({ diagnostics }: Directions, l: number, strength: Strength): number {
  return 'alpha' in strength ? strength.alpha : strength.dose * diagnostics[l]!.activationNorm
}

/** A trait's direction at one layer, that long. */
export function controlOf(
  directions: Directions,
  l: number,
  t: number,
  length: number,
): ReadonlyMap<number, Float32Array> {
  return new Map([[directions.layers[l]!, directionVector(directions, l, t).map((value) => value * length)]])
}

/** How many answers {@link steeringDivergence} generates, and of how many tokens at most. */
export function divergenceCost({ layers, traits }: Pick<Directions, 'layers' | 'traits'>): {
  answers: number
  tokens: number
} {
  const answers = DIVERGENCE_PROMPTS.length * (1 + 2 * layers.length * traits.length)
  return { answers, tokens: answers * MAX_TOKENS }
}

/**
 * The reference's first way to choose a layer: greedy answers to three prompts with every direction added and taken away at every
 * layer, and how far they are from those without. The unsteered answers are generated once for all. Method section 4.7.
 */
export async function steeringDivergence(
  source: AnswerSource,
  directions: Directions,
  strength: Strength,
  onProgress?: (fraction: number) => void,
): Promise<Divergence> {
  const { layers, traits } = directions
  const name = strengthText(strength)
  const idOf = (l: number, t: number, p: number, sign: string) =>
    `layer=${layers[l]}|${name}|${traits[t]}|divergence-${p + 1}|${sign}`
  const messages = DIVERGENCE_PROMPTS.map((content) => [{ role: 'user' as const, content }])
  const arms: Arm[] = messages.map((one, p) => ({
    id: `baseline|divergence-${p + 1}`,
    messages: one,
    control: undefined,
  }))
  for (const l of layers.keys()) {
    for (const t of traits.keys()) {
      const length = lengthAt(directions, l, strength)
      const [plus, minus] = [controlOf(directions, l, t, length), controlOf(directions, l, t, -length)]
      for (const [p, one] of messages.entries()) {
        arms.push({ id: idOf(l, t, p, 'positive'), messages: one, control: plus })
        arms.push({ id: idOf(l, t, p, 'negative'), messages: one, control: minus })
      }
    }
  }
  const texts = await answersOf(source, arms, MAX_TOKENS, onProgress)
  const apart = (p: number, id: string) =>
    1 - sequenceRatio(texts.get(`baseline|divergence-${p + 1}`)!, texts.get(id)!)
  const perTrait = layers.map((_, l) =>
    traits.map((_, t) =>
      mean(
        messages.map(
          (_, p) => (apart(p, idOf(l, t, p, 'positive')) + apart(p, idOf(l, t, p, 'negative'))) / 2,
        ),
      ),
    ),
  )
  return { strength, perTrait, mean: perTrait.map((of) => mean(of)) }
}
