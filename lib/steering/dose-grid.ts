import type { Directions } from '../directions/directions.js'
import { throwIfAborted } from '../errors.js'
import { mean } from '../estimators/mean.js'
import { Mt19937 } from '../estimators/mt19937.js'
import { quantile } from '../estimators/quantile.js'
import { sha256 } from '../formats/files/hash.js'
import { inParallel } from '../labels/judges/in-parallel.js'
import { goOnWith, type Judge } from '../labels/judges/judge.js'
import { beforeReplies } from '../labels/judges/judge-identity.js'
import type { SteeringItem, SteeringSuite } from '../prompts/steering-suite.js'
import { recordKey } from './answer-log.js'
import { controlOf, lengthAt, strengthText } from './divergence.js'
import { comparisonRubric, isSwapped, judgePair, type PairJudgement } from './pair-judge.js'
import { type AnswerSource, type Arm, answersOf } from './steered-answers.js'

/** What a judge says of one layer at one dose. */
export interface LayerJudgement {
  layer: number
  /** Share of the steered answers that are coherent; unreadable words count as not coherent. */
  coherentRate: number
  /**
   * Share of pairs in which the answer is nearer that should be: mean over prompts and signs per trait, then over traits. Ties count half,
   * what is incoherent or could not be read counts 0. 0.5 is what nothing at all would give.
   */
  score: number
  /** 95 % bootstrap interval of the score: prompts drawn again within each trait, both signs of a prompt together. */
  interval: [low: number, high: number]
  perTrait: Record<string, number>
  pairs: number
  /** Pairs in which it found neither nearer. */
  ties: number
  /** Pairs in which the judge's words held no comparison. */
  unread: number
}

/** All layers at one dose. */
export interface DoseJudgement {
  dose: number
  layers: LayerJudgement[]
  /** True when at least 90 % of the answers are coherent at every layer. */
  coherent: boolean
}

export interface DoseGridOptions {
  judge: Judge
  suite: SteeringSuite
  items: readonly SteeringItem[]
  /** Above 0, from the largest down. */
  doses: readonly number[]
  maxTokens: number
  onProgress?: ((fraction: number) => void) | undefined
}

/** Published constants: what is coherent, how much of it a dose needs, and the bootstrap. Method section 4.7. */
const COHERENT_FROM = 50
const COHERENT_SHARE = 0.9
const DRAWS = 2000
const SEED = 20260912

/**
 * Judges steered answers to a suite at one dose after another, from the largest down, and stops at the first that keeps
 * answers coherent at every layer: that is the largest such dose, and smaller ones need not be tried.
 *
 * @returns the doses that were tried, the coherent one last
 */
export async function judgeDoses(
  source: AnswerSource,
  directions: Directions,
  { judge, suite, items, doses, maxTokens, onProgress }: DoseGridOptions,
): Promise<DoseJudgement[]> {
  const tried: DoseJudgement[] = []
  for (const [d, dose] of doses.entries()) {
    const report = (fraction: number) => onProgress?.((d + fraction) / doses.length)
    const pairs = pairsAt(directions, items, dose)
    const arms = [
      ...items.map(({ id, messages }): Arm => ({ id: `baseline|${id}`, messages, control: undefined })),
      ...pairs.map(({ arm }) => arm),
    ]
    const texts = await answersOf(source, arms, maxTokens, (fraction) => report(fraction / 2))
    const judgements = await judgePairs(source, judge, suite, pairs, texts, (fraction) =>
      report(0.5 + fraction / 2),
    )
    const layers = directions.layers.map((layer) =>
      judgementOf(
        layer,
        pairs.filter((pair) => pair.layer === layer),
        judgements,
      ),
    )
    const coherent = layers.every(({ coherentRate }) => coherentRate >= COHERENT_SHARE)
    tried.push({ dose, layers, coherent })
    if (coherent) break
  }
  onProgress?.(1)
  return tried
}

interface Pair {
  layer: number
  item: SteeringItem
  sign: 'positive' | 'negative'
  arm: Arm
}

function pairsAt(directions: Directions, items: readonly SteeringItem[], dose: number): Pair[] {
  const { layers, traits } = directions
  return layers.flatMap((layer, l) => {
    const length = lengthAt(directions, l, { dose })
    const controls = new Map(
      traits.map((trait, t) => [
        trait,
        { positive: controlOf(directions, l, t, length), negative: controlOf(directions, l, t, -length) },
      ]),
    )
    return items.flatMap((item) =>
      (['positive', 'negative'] as const).map((sign): Pair => {
        const id = `layer=${layer}|${strengthText({ dose })}|${item.trait}|${item.id}|${sign}`
        const control = controls.get(item.trait)![sign]
        return { layer, item, sign, arm: { id, messages: item.messages, control } }
      }),
    )
  })
}

async function judgePairs(
  { log, signal, model }: AnswerSource,
  judge: Judge,
  { poles }: SteeringSuite,
  pairs: readonly Pair[],
  texts: ReadonlyMap<string, string>,
  report: (fraction: number) => void,
): Promise<Map<string, PairJudgement>> {
  const judgements = new Map<string, PairJudgement>()
  let done = 0
  await inParallel(pairs, judge.concurrency, async ({ arm, item, sign }) => {
    throwIfAborted(signal)
    const baseline = texts.get(`baseline|${item.id}`)!
    const steered = texts.get(arm.id)!
    const name = sign === 'positive' ? 'positive_vs_baseline' : 'baseline_vs_negative'
    const swapped = isSwapped(`${model.info.name ?? model.info.architecture}|${arm.id}|${name}`)
    const pair = { item, poles: poles.get(item.trait)!, baseline, steered, swapped }
    const asked = [beforeReplies(judge.identity), comparisonRubric(pair.poles), pair]
    const key = { basis: sha256(JSON.stringify(asked)).slice(0, 24), id: `judged|${arm.id}` }
    const known = log?.records.get(recordKey(key))
    if (known) goOnWith(judge, [known])
    const judgement = known?.judgement ?? (await judgePair(judge, pair, signal))
    if (judgement) judgements.set(arm.id, judgement)
    if (judgement && !known) {
      const { servedBy } = judge
      await log?.append({ ...key, judgement, ...(servedBy !== undefined && { served_by: servedBy }) })
    }
    report(++done / pairs.length)
  })
  return judgements
}

function judgementOf(
  layer: number,
  pairs: readonly Pair[],
  judgements: ReadonlyMap<string, PairJudgement>,
): LayerJudgement {
  const isCoherent = ({ arm }: Pair) => (judgements.get(arm.id)?.coherent ?? 0) >= COHERENT_FROM
  const scoreOf = (pair: Pair): number => {
    const nearer = judgements.get(pair.arm.id)?.nearer ?? null
    if (nearer === null || !isCoherent(pair)) return 0
    if (nearer === 'tie') return 0.5
    return Number(nearer === (pair.sign === 'positive' ? 'steered' : 'baseline'))
  }
  const byTrait = new Map<string, Map<string, number[]>>()
  for (const pair of pairs) {
    const { trait, id } = pair.item
    const ofTrait = byTrait.get(trait) ?? new Map<string, number[]>()
    ofTrait.set(id, [...(ofTrait.get(id) ?? []), scoreOf(pair)])
    byTrait.set(trait, ofTrait)
  }
  const records = [...byTrait].map(([trait, prompts]) => ({ trait, scores: [...prompts.values()].map(mean) }))
  return {
    layer,
    coherentRate: pairs.filter(isCoherent).length / pairs.length,
    score: mean(records.map(({ scores }) => mean(scores))),
    interval: bootstrap(records.map(({ scores }) => scores)),
    perTrait: Object.fromEntries(records.map(({ trait, scores }) => [trait, mean(scores)])),
    pairs: pairs.length,
    ties: pairs.filter(({ arm }) => judgements.get(arm.id)?.nearer === 'tie').length,
    unread: pairs.filter(({ arm }) => (judgements.get(arm.id)?.nearer ?? null) === null).length,
  }
}

function bootstrap(traits: readonly (readonly number[])[]): [low: number, high: number] {
  const random = new Mt19937(SEED)
  const draws = Float64Array.from({ length: DRAWS }, () =>
    mean(traits.map((scores) => mean(scores.map(() => scores[random.randint(scores.length)]!)))),
  ).sort()
  return [quantile(draws, 0.025), quantile(draws, 0.975)]
}
