import { Command, Option } from 'commander'
import type { DirectionMethod } from '../../lib/directions/difference.js'
import { saveDirections } from '../../lib/directions/directions-folder.js'
import { extractDirections } from '../../lib/directions/extract-directions.js'
import { checkOutputFree } from '../../lib/formats/files/atomic.js'
import { loadTraitPack, selectTraits, type TraitSelection } from '../../lib/prompts/trait-pack.js'
import type { TraitPack } from '../../lib/prompts/trait-pack-yaml.js'
import { openFromFlags, templateFromFlags } from '../model.js'
import { addModelOptions, addOutputOptions, integerList, type ModelFlags, option } from '../options.js'
import { createOutput, table } from '../output.js'

interface Flags extends ModelFlags {
  layer: number[]
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

function countExtractionPrompts(pack: TraitPack, selection: TraitSelection): number {
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
      option('-l, --layer <n[,n]>', 'blocks to read, 0-based').argParser(integerList).makeOptionMandatory(),
    )
    .requiredOption('-o, --out <dir>', 'folder to make')
    .addOption(option('--traits <file>', 'trait pack: core or a YAML file').default('core'))
    .addOption(new Option('--trait-set <names>', 'core, control, all, or names with commas').default('core'))
    .addOption(
      new Option('--method <name>', 'how a direction is estimated')
        .choices(['mean-difference', 'pca'])
        .default('mean-difference'),
    )
    .addOption(
      new Option('--pool <how>', 'last token or mean of all').choices(['last', 'mean']).default('last'),
    )
    .option('--no-probes', 'skip the diagnostic probes')
    .option('--force', 'replace an existing directions folder')
    .addHelpText('after', '\nExample:\n  $ traitscope directions -m base.gguf --layer 14 -o directions')
  return addOutputOptions(addModelOptions(command)).action(async (flags: Flags) => {
    const output = createOutput({ quiet: flags.quiet === true })
    await checkOutputFree(flags.out, { force: flags.force === true, marker: 'directions.json' })
    const pack = await loadTraitPack(flags.traits)
    await using model = await openFromFlags(flags, output, signal)
    const template = await templateFromFlags(flags, model, pack.acknowledgement)
    const sets = ['core', 'control', 'all'] as const
    const named = sets.find((set) => set === flags.traitSet)
    const traits = named ?? flags.traitSet.split(',').map((name) => name.trim())
    const progress = output.progress('reading trait prompts', {
      name: 'prompts',
      total: countExtractionPrompts(pack, traits),
    })
    const started = performance.now()
    const directions = await extractDirections(model, pack, {
      layers: flags.layer,
      traits,
      method: flags.method,
      pool: flags.pool,
      probes: flags.probes,
      template,
      signal,
      onProgress: (fraction) => progress.update(fraction),
    })
    progress.done()
    const seconds = (performance.now() - started) / 1000
    await saveDirections(directions, flags.out, { force: flags.force === true })
    if (flags.json) {
      const { vectors: _, ...description } = directions
      return output.json({ out: flags.out, seconds: Number(seconds.toFixed(3)), ...description })
    }
    for (const diagnostics of directions.diagnostics) {
      output.print(
        `layer ${diagnostics.layer}, mean activation norm ${diagnostics.activationNorm.toPrecision(4)}`,
      )
      output.print(
        table(
          ['trait', 'separation', 'probe'],
          directions.traits.map((trait) => {
            const accuracy = diagnostics.probeAccuracy[trait]
            return [
              trait,
              (diagnostics.separation[trait]! / diagnostics.activationNorm).toFixed(3),
              accuracy == null ? '-' : accuracy.toFixed(2),
            ]
          }),
        ),
      )
    }
    output.print(
      `${flags.out}: ${directions.traits.length} directions at layer ${directions.layers.join(', ')}; ` +
        `${directions.tokens.total} tokens of which ${directions.tokens.computed} computed, ${seconds.toFixed(1)} s`,
    )
  })
}
