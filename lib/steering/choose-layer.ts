import { checkMade, takeMade, takeOptions } from '../arguments.js'
import { type Directions, directionsAt } from '../directions/directions.js'
import { extractDirections } from '../directions/extract-directions.js'
import { TraitscopeError } from '../errors.js'
import { mean } from '../estimators/mean.js'
import { MODEL, type Model } from '../model/model.js'
import { ChatTemplate } from '../prompts/chat-template.js'
import type { SteeringItem } from '../prompts/steering-suite.js'
import { TRAIT_PACK, type TraitPack } from '../prompts/trait-pack-yaml.js'
import { openSteeringLog } from './answer-log.js'
import { CHOICE_OPTIONS, type ChooseLayerOptions, choiceCost, planChoice } from './choice-plan.js'
import { steeringDivergence } from './divergence.js'
import { judgeDoses } from './dose-grid.js'
import { explainChoice } from './explain-choice.js'
import { bestOf, type LayerSelection, type SelectionMethod, scoresBy } from './layer-selection.js'
import { refuseUnfit } from './pair-judge.js'

/**
 * Makes directions at all candidates in shared passes, looks at what each way of choosing says of them, and chooses. Unsteered answers
 * are generated once for all layers, traits and doses. Method section 4.7.
 *
 * @returns directions at the chosen layer, and everything that was computed
 * @throws TraitscopeError USAGE for a judge without a suite, or a way to choose that needs one; as `extractDirections`,
 * `Model.generate`, `Judge.grade`
 */
export async function chooseLayer(
  model: Model,
  pack: TraitPack,
  options: ChooseLayerOptions = {},
): Promise<{ directions: Directions; selection: LayerSelection }> {
  checkMade(model, MODEL)
  pack = takeMade(pack, TRAIT_PACK)
  const own = takeOptions('chooseLayer', options, CHOICE_OPTIONS)
  const { judge, suite, passages, signal, onProgress } = own
  if (judge) refuseUnfit(judge)
  const plan = planChoice(model, pack, own, judge !== undefined)
  const { candidates, traits: names, by: asked, items } = plan
  const template =
    own.template ?? (passages && model.chatTemplate === undefined ? ChatTemplate.plain(model) : undefined)
  if (own.onCost) own.onCost(await choiceCost(model, plan, { suite: judge && suite, prices: own.prices }))
  const all = await extractDirections(model, pack, {
    layers: candidates,
    traits: names,
    template,
    passages,
    probes: own.probes,
    signal,
    onProgress: (fraction) => onProgress?.('directions', fraction),
  })

  await using log = own.log === undefined ? undefined : await openSteeringLog(own.log)
  const source = {
    model,
    template: template ?? ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement }),
    directionsSha256: all.sha256,
    log,
    sequences: own.sequences,
    signal,
  }
  const divergence =
    asked === 'held-out'
      ? null
      : await steeringDivergence(source, all, own.strength ?? { dose: 0.25 }, (fraction) =>
          onProgress?.('divergence', fraction),
        )
  const doses =
    judge && suite
      ? await judgeDoses(source, all, {
          ...{ judge, suite, items, doses: plan.doses, maxTokens: plan.maxTokens },
          onProgress: (fraction) => onProgress?.('judging', fraction),
        })
      : null
  const scores = {
    model: model.info.name ?? model.info.architecture,
    baseFingerprint: model.fingerprint,
    candidates,
    traits: all.traits,
    activationNorms: all.diagnostics.map(({ activationNorm }) => activationNorm),
    probeAccuracy: all.diagnostics.map(({ probeAccuracy }) => probeAccuracy),
    heldOut: all.diagnostics.map(({ heldOut }) => heldOut),
    meanHeldOut: meanHeldOut(all),
    divergence,
    doses,
    dosesNotTried: doses ? plan.doses.slice(doses.length) : null,
    chosenDose: doses?.find(({ coherent }) => coherent)?.dose ?? null,
    judge: judge?.identity ?? null,
    suite:
      suite && judge
        ? { source: suite.source, sha256: suite.sha256, promptsPerTrait: items.length / tested(items) }
        : null,
    passagesSha256: all.passagesSha256 ?? null,
    directionsSha256: all.sha256,
  }
  const { by, values } = decide(scores, asked)
  const index = bestOf(values, candidates, by)
  const explanation = explainChoice(scores, { index, by, asked }, all)
  const layer = candidates[index]!
  return { directions: directionsAt(all, [layer]), selection: { ...scores, layer, by, explanation } }
}

const tested = (items: readonly SteeringItem[]) => new Set(items.map(({ trait }) => trait)).size

/** What was asked for, or the next way that has anything to say. */
function decide(
  scores: Parameters<typeof scoresBy>[0],
  asked: SelectionMethod,
): { by: SelectionMethod; values: number[] } {
  for (const by of [asked, 'divergence', 'held-out'] as const) {
    const values = scoresBy(scores, by)
    if (values) return { by, values }
  }
  throw new TraitscopeError(
    'USAGE',
    'there is nothing to choose a layer by: held-out figures need four questions and four system prompts of each pole; choose by divergence, or name a layer',
  )
}

function meanHeldOut({ diagnostics, traits }: Directions): (number | null)[] {
  return diagnostics.map(({ heldOut }) => {
    const values = traits.map((trait) => (heldOut[trait]?.both ?? heldOut[trait]?.question)?.auroc)
    return values.every((value) => value !== undefined) ? mean(values as number[]) : null
  })
}
