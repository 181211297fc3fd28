import { Command, Option } from 'commander'
import { loadPrior } from '../../lib/detector/prior.js'
import { DIRECTION_METHODS, type DirectionMethod } from '../../lib/directions/difference.js'
import type { Directions, LayerDiagnostics } from '../../lib/directions/directions.js'
import { saveDirections } from '../../lib/directions/directions-folder.js'
import { extractDirections } from '../../lib/directions/extract-directions.js'
import { worthSentences } from '../../lib/directions/worth.js'
import { checkOutputFree } from '../../lib/formats/files/atomic.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { loadPassages, type Passages, passageTexts } from '../../lib/prompts/passages.js'
import { loadTraitPack, selectTraits, type TraitSelection } from '../../lib/prompts/trait-pack.js'
import type { TraitPack } from '../../lib/prompts/trait-pack-yaml.js'
import { aurocCell } from '../auroc-cell.js'
import { layersToMake } from '../directions.js'
import { notes } from '../help.js'
import {
  addLayerChoiceOptions,
  chooseFromFlags,
  type LayerChoiceFlags,
  refuseLayerChoiceFlags,
} from '../layer-choice.js'
import { addModelOptions, type ModelFlags, openFromFlags, templateFromFlags } from '../model.js'
import { addOutputOptions, integerList, option } from '../options.js'
import { createOutput, type Output, table } from '../output.js'
import { counted, layersText, quoted } from '../text.js'

interface Flags extends ModelFlags, LayerChoiceFlags {
  layer?: number[] | 'auto'
  passages?: string
  traits: string
  traitSet: string
  method: DirectionMethod
  pool: 'last' | 'mean'
  probes: boolean
  out: string
  force?: boolean
  json?: boolean
  quiet?: boolean
}

function countExtractionPrompts(
  pack: TraitPack,
  selection: TraitSelection,
  passages: Passages | undefined,
): number {
  if (passages) {
    return selectTraits(pack, selection).reduce((sum, { name }) => {
      const { positive, negative } = passageTexts(passages, name)
      return sum + positive.length + negative.length
    }, 0)
  }
  const perQuestion = selectTraits(pack, selection).reduce(
    (sum, trait) => sum + trait.positiveSystemPrompts.length + trait.negativeSystemPrompts.length,
    0,
  )
  return perQuestion * pack.questions.length
}

/** `traitscope directions`: trait directions of a base model. */
export function directionsCommand(signal: AbortSignal): Command {
  const command = new Command('directions')
    .description('extract the trait directions of a base model into a folder')
    .addOption(
      option(
        '-l, --layer <n[,n]>',
        'blocks to read, 0-based, or auto: the one that steering speaks for (default: 65 and 75 % of the depth; the prior reads at the second)',
      ).argParser((text) => (text === 'auto' ? text : integerList(text))),
    )
    .requiredOption('-o, --out <dir>', 'folder to make')
    .addOption(option('--traits <file>', 'trait pack: core, core-2 or a YAML file').default('core'))
    .addOption(
      option(
        '--passages <file>',
        "passages for a base model without a chat, core or a YAML file, instead of the pack's prompts",
      ),
    )
    .addOption(new Option('--trait-set <names>', 'core, control, all, or names with commas').default('core'))
    .addOption(
      new Option('--method <name>', 'how a direction is estimated')
        .choices([...DIRECTION_METHODS])
        .default('mean-difference'),
    )
    .addOption(
      new Option('--pool <how>', 'last token or mean of all').choices(['last', 'mean']).default('last'),
    )
    .option('--no-probes', 'skip the diagnostic probes')
    .option('--force', 'replace an existing directions folder')
    .addHelpText(
      'after',
      notes(`
Example:
  $ traitscope directions -m base.gguf -o directions
  $ traitscope directions -m base.gguf --layer 14 -o directions
  $ traitscope directions -m base.gguf --layer auto --judge-url http://localhost:8000/v1 --judge-name judge -o directions`),
    )
  addLayerChoiceOptions(command)
  return addOutputOptions(addModelOptions(command)).action(async (flags: Flags) => {
    const output = createOutput(flags)
    if (!flags.dryRun)
      await checkOutputFree(flags.out, { force: flags.force === true, marker: 'directions.json' })
    const pack = await loadTraitPack(flags.traits)
    const passages = flags.passages === undefined ? undefined : await loadPassages(flags.passages)
    const { layer: asked } = flags
    const isAuto = asked === 'auto'
    if (!isAuto) refuseLayerChoiceFlags(flags)
    const layers = isAuto ? [] : await layersToMake({ layer: asked, model: flags.model }, await loadPrior())
    await using model = await openFromFlags(flags, output, signal, isAuto ? undefined : layers)
    const bare = passages && flags.chatTemplate === undefined && model.chatTemplate === undefined
    const template = bare
      ? ChatTemplate.plain(model, { acknowledgement: pack.acknowledgement })
      : await templateFromFlags(flags, model, pack.acknowledgement)
    const sets = ['core', 'control', 'all'] as const
    const named = sets.find((set) => set === flags.traitSet)
    const traits = named ?? flags.traitSet.split(',').map((name) => name.trim())
    const started = performance.now()
    const { method, pool, probes } = flags
    if (isAuto)
      return await chooseFromFlags({ flags, model, pack, passages, template, traits, output, signal })
    const directions = await output.during(
      'reading trait prompts',
      (update) =>
        extractDirections(model, pack, {
          layers,
          traits,
          method,
          pool,
          probes,
          template,
          passages,
          signal,
          onProgress: (fraction) => update(fraction),
        }),
      { unit: 'prompts', total: countExtractionPrompts(pack, traits, passages) },
    )
    const seconds = (performance.now() - started) / 1000
    await saveDirections(directions, flags.out, { force: flags.force === true })
    if (flags.json) {
      const { vectors: _, ...description } = directions
      const summary = worthSentences(directions)
      return output.json({ out: flags.out, seconds: Number(seconds.toFixed(3)), summary, ...description })
    }
    for (const remark of directions.remarks ?? []) output.remark(remark)
    printDiagnostics(output, directions)
    output.print(
      `${flags.out}: ${counted(directions.traits.length, 'direction')} at ${layersText(directions.layers)}; ` +
        `${directions.tokens.total} tokens of which ${directions.tokens.computed} computed, ${seconds.toFixed(1)} s`,
    )
    output.note(`next, what a run does along them: ${watchCommand(flags)}`)
  })
}

/** With everything that directions are measured under, or the watch would refuse them. */
function watchCommand({ model, out, traits, chatTemplate, systemRole }: Flags): string {
  const words = ['traitscope watch -m', quoted(model), '-d', quoted(out)]
  if (traits !== 'core') words.push('--traits', quoted(traits))
  if (chatTemplate !== undefined) words.push('--chat-template', quoted(chatTemplate))
  if (systemRole !== 'auto') words.push('--system-role', systemRole)
  return [...words, 'RUN'].join(' ')
}

function printDiagnostics(output: Output, directions: Directions): void {
  const { traits, diagnostics, method, passagesSha256 } = directions
  const left = passagesSha256 === undefined ? ['question', 'system prompt'] : ['opener', 'passage']
  for (const layer of diagnostics) {
    output.print(`layer ${layer.layer}, mean activation norm ${Number(layer.activationNorm.toPrecision(4))}`)
    output.print(
      table(
        ['trait', 'separation', ...left, 'both', 'closest trait'],
        traits.map((trait) => {
          const held = layer.heldOut[trait]
          return [
            trait,
            (layer.separation[trait]! / layer.activationNorm).toFixed(3),
            ...[held?.question, held?.systemPrompt, held?.both].map(aurocCell),
            closest(layer, traits, trait),
          ]
        }),
      ),
    )
  }
  output.print(
    method !== 'pca'
      ? `${left.join(', ')}, both: AUROC within a${left[0] === 'opener' ? 'n opener' : ' question'}, with what is named left out of the direction; 95 % intervals`
      : `held-out AUROC is not told for pca directions, so what these are worth on other prompts is unknown`,
  )
  for (const sentence of worthSentences(directions)) output.print(sentence)
  const probes = diagnostics.flatMap(({ probeAccuracy }) => Object.values(probeAccuracy))
  const known = probes.filter((accuracy) => accuracy !== null)
  if (known.length > 0) {
    output.print(
      `probe accuracy ${Math.min(...known).toFixed(2)} to ${Math.max(...known).toFixed(2)}: it knows the questions and ` +
        'system prompts that it is tested on, so it says nothing about others',
    )
  }
}

/** The trait whose direction lies most along or against this one, and the cosine. */
function closest({ cosines }: LayerDiagnostics, traits: readonly string[], trait: string): string {
  const [first] = traits
    .filter((other) => other !== trait)
    .map((other): [string, number] => [
      other,
      cosines[`${trait}_vs_${other}`] ?? cosines[`${other}_vs_${trait}`]!,
    ])
    .sort(([, a], [, b]) => Math.abs(b) - Math.abs(a))
  return first ? `${first[0]} ${first[1].toFixed(2)}` : '-'
}
