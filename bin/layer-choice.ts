/** `directions --layer auto`: its flags, what it will take, and what it shows. */

import { type Command, Option } from 'commander'
import { worthOf } from '../lib/directions/worth.js'
import { TraitscopeError } from '../lib/errors.js'
import type { Judge } from '../lib/labels/judges/judge.js'
import type { Model } from '../lib/model/model.js'
import { decimals } from '../lib/percent.js'
import type { ChatTemplate } from '../lib/prompts/chat-template.js'
import type { Passages } from '../lib/prompts/passages.js'
import { loadSteeringSuite } from '../lib/prompts/steering-suite.js'
import type { TraitSelection } from '../lib/prompts/trait-pack.js'
import type { TraitPack } from '../lib/prompts/trait-pack-yaml.js'
import { choiceCost, type LayerChoiceCost, planChoice } from '../lib/steering/choice-plan.js'
import { chooseLayer } from '../lib/steering/choose-layer.js'
import { strengthText } from '../lib/steering/divergence.js'
import {
  type LayerSelection,
  SELECTION_METHODS,
  type SelectionMethod,
} from '../lib/steering/layer-selection.js'
import { layerSelectionDocument, SELECTION_FILE, saveLayerChoice } from '../lib/steering/save-choice.js'
import { addJudgeOptions, type JudgeFlags, judgeFromFlags, pricesFromFlags } from './judge.js'
import { integer, integerList, number, numberList, option, sequencesOption, underHeading } from './options.js'
import { type Output, table } from './output.js'

export interface LayerChoiceFlags extends JudgeFlags {
  candidates?: number[]
  chooseBy?: SelectionMethod
  steeringSuite?: string
  promptsPerTrait?: number
  doses?: number[]
  steerTokens?: number
  steerDose?: number
  steerAlpha?: number
  sequences?: number
  dryRun?: boolean
}

/** Flags that name a judge. */
const JUDGE = ['judgeUrl', 'judgeName', 'judgeGguf', 'judge', 'judgeModule', 'judgeReplay'] as const
const AUTO_ONLY = [
  'candidates',
  'chooseBy',
  'steeringSuite',
  'promptsPerTrait',
  'doses',
  'steerTokens',
  'steerDose',
  'steerAlpha',
  'sequences',
  'dryRun',
  ...JUDGE,
  'judgeReader',
  'judgeCalls',
  'priceIn',
  'priceOut',
  'maxCost',
] as const

export function addLayerChoiceOptions(command: Command): Command {
  underHeading(command, 'With --layer auto:', () =>
    command
      .addOption(
        option(
          '--candidates <n[,n]>',
          'with --layer auto: blocks to choose from (default: 7 of .4 to .8 of the depth)',
        ).argParser(integerList),
      )
      .addOption(
        new Option(
          '--choose-by <how>',
          'what decides (default: semantic with a judge, else divergence)',
        ).choices(SELECTION_METHODS),
      )
      .addOption(
        option(
          '--steer-dose <x>',
          'of the divergence test, in lengths of a mean state (default: 0.25)',
        ).argParser(number),
      )
      .addOption(
        option('--steer-alpha <x>', "or an absolute length: the paper's first release has 16").argParser(
          number,
        ),
      )
      .addOption(
        option(
          '--doses <x[,x]>',
          'that a judge is shown, largest first (default: 0.05,0.1,0.25,0.5)',
        ).argParser(numberList),
      )
      .addOption(
        option('--steering-suite <file>', 'prompts that a judge is shown answers to, core or a YAML file'),
      )
      .addOption(
        option('--prompts-per-trait <n>', 'of the suite, the first so many (default: all)').argParser(
          integer,
        ),
      )
      .addOption(option('--steer-tokens <n>', 'per judged answer at most (default: 256)').argParser(integer))
      .addOption(sequencesOption())
      .option('--dry-run', 'with --layer auto: say what it would take, compute nothing and ask nobody'),
  )
  return addJudgeOptions(command)
}

/** Flags of what only a judge sees. */
const FOR_A_JUDGE = ['doses', 'steeringSuite', 'promptsPerTrait', 'steerTokens'] as const

const dashed = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** @throws USAGE for a flag that only --layer auto knows */
export function refuseLayerChoiceFlags(flags: LayerChoiceFlags): void {
  const given = AUTO_ONLY.find((name) => flags[name] !== undefined)
  if (given === undefined) return
  throw new TraitscopeError(
    'USAGE',
    `--${dashed(given)} belongs to --layer auto: say that too, or leave it out`,
  )
}

interface Context {
  flags: LayerChoiceFlags & {
    out: string
    force?: boolean
    json?: boolean
    probes: boolean
    method: string
    pool: string
  }
  model: Model
  pack: TraitPack
  passages: Passages | undefined
  template: ChatTemplate
  traits: TraitSelection
  output: Output
  signal: AbortSignal
}

/** Chooses, writes the folder and shows why. */
export async function chooseFromFlags({
  flags,
  model,
  pack,
  passages,
  template,
  traits,
  output,
  signal,
}: Context): Promise<void> {
  const { out, steerAlpha: alpha, steerDose: dose } = flags
  if (flags.method !== 'mean-difference' || flags.pool !== 'last') {
    throw new TraitscopeError(
      'USAGE',
      '--layer auto takes mean differences at the last token: leave --method and --pool out',
    )
  }
  if (alpha !== undefined && dose !== undefined) {
    throw new TraitscopeError('USAGE', 'expected --steer-dose or --steer-alpha, found both')
  }
  const judged = JUDGE.some((name) => flags[name] !== undefined)
  if (!judged)
    for (const name of FOR_A_JUDGE.filter((each) => flags[each] !== undefined))
      output.remark(`--${dashed(name)} is about what a judge is shown: without one it does nothing`)
  const prices = pricesFromFlags(flags)
  const options = {
    ...{ passages, template, traits, prices },
    suite: judged ? await loadSteeringSuite(flags.steeringSuite ?? 'core') : undefined,
    candidates: flags.candidates,
    by: flags.chooseBy,
    promptsPerTrait: flags.promptsPerTrait,
    doses: flags.doses,
    maxTokens: flags.steerTokens,
  }
  if (flags.dryRun) {
    const plan = planChoice(model, pack, options, judged)
    const cost = await choiceCost(model, plan, options)
    if (flags.json) return output.json(cost)
    return output.print([
      costText(cost),
      ...(judged
        ? [`doses ${plan.doses.join(', ')}: from the largest down, until one is coherent everywhere`]
        : []),
    ])
  }
  await using judge: Judge | undefined = judged ? await judgeFromFlags(flags, output, signal) : undefined
  const generates = judged || flags.chooseBy !== 'held-out'
  const log = generates ? `${out.replace(/[\\/]+$/, '')}.steering.jsonl` : undefined
  const chosen = await output.during('choosing a layer', (update) =>
    chooseLayer(model, pack, {
      ...{ ...options, judge, log, signal },
      strength: alpha !== undefined ? { alpha } : dose !== undefined ? { dose } : undefined,
      probes: flags.probes,
      sequences: flags.sequences,
      onCost: (cost) => output.note(costText(cost)),
      onProgress: stageProgress(output, { judged, generates }, update),
    }),
  )
  await saveLayerChoice(chosen, out, { force: flags.force === true, log })
  if (flags.json) return output.json({ out, ...layerSelectionDocument(chosen.selection) })
  output.print(scoreTable(chosen.selection))
  output.print(chosen.selection.explanation)
  output.print(`${out}: directions at layer ${chosen.selection.layer}; ${SELECTION_FILE} has all scores`)
}

function costText({ candidates, answers, tokens, judgeCalls, judgeTokens, cost }: LayerChoiceCost): string {
  if (answers === 0) return `layers ${candidates.join(', ')}: nothing is generated`
  const price = cost ? `, cost ${cost.least.toFixed(2)} to ${cost.most.toFixed(2)}` : ''
  const judge =
    judgeCalls > 0
      ? ` and ${judgeCalls} calls of the judge (${judgeTokens.least} to ${judgeTokens.most} tokens, counted with this model's vocabulary${price})`
      : ''
  return `layers ${candidates.join(', ')}: at most ${answers} answers, ${tokens} tokens in all${judge}; what is done is kept, the same command goes on`
}

/** Directions, answers and judging, one after another on one line. */
function stageProgress(
  output: Output,
  { judged, generates }: { judged: boolean; generates: boolean },
  update: (fraction: number) => void,
) {
  const stages = ['directions', ...(generates ? ['divergence'] : []), ...(judged ? ['judging'] : [])]
  let last = ''
  return (stage: string, fraction: number) => {
    if (stage !== last && stage !== 'directions')
      output.note(stage === 'judging' ? 'steering and judging' : 'steering')
    last = stage
    update((stages.indexOf(stage) + fraction) / stages.length)
  }
}

function scoreTable({
  candidates,
  traits,
  divergence,
  doses,
  chosenDose,
  meanHeldOut,
  heldOut,
  layer,
}: LayerSelection): string[] {
  const judged = doses?.find(({ dose }) => dose === chosenDose) ?? doses?.at(-1)
  const cell = (value: number | null | undefined) =>
    value === null || value === undefined ? '-' : decimals(value)
  const header = [
    'layer',
    'held-out AUROC',
    'usable traits',
    ...(divergence ? [`divergence (${strengthText(divergence.strength)})`] : []),
    ...(judged ? [`judged (dose ${judged.dose})`, 'coherent'] : []),
  ]
  const rows = candidates.map((candidate, l) => {
    const of = judged?.layers[l]
    const usable = traits.filter((trait) => worthOf(heldOut[l]![trait]) === 'usable').length
    return [
      `${candidate}${candidate === layer ? ' *' : ''}`,
      cell(meanHeldOut[l]),
      `${usable} of ${traits.length}`,
      ...(divergence ? [cell(divergence.mean[l])] : []),
      ...(of
        ? [
            `${cell(of.score)} (${of.interval.map(cell).join('-')})`,
            `${(100 * of.coherentRate).toFixed(0)} %`,
          ]
        : []),
    ]
  })
  return table(header, rows)
}
