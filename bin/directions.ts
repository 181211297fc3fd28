/** Directions for a command: from a bundle or a folder, or made on the spot for a layer. */
import type { Command } from 'commander'
import { type Bundle, loadBundle } from '../lib/detector/bundle.js'
import { blocksAt, depthsToMake } from '../lib/detector/contrast.js'
import { loadPrior, type Prior } from '../lib/detector/prior.js'
import type { Directions } from '../lib/directions/directions.js'
import { loadDirections } from '../lib/directions/directions-folder.js'
import { extractDirections } from '../lib/directions/extract-directions.js'
import { worthSentences } from '../lib/directions/worth.js'
import { TraitscopeError } from '../lib/errors.js'
import { blocksInFile } from '../lib/model/load-model.js'
import type { Model } from '../lib/model/model.js'
import type { ChatTemplate } from '../lib/prompts/chat-template.js'
import { loadTraitPack } from '../lib/prompts/trait-pack.js'
import type { TraitPack } from '../lib/prompts/trait-pack-yaml.js'
import {
  adapterNameOption,
  addCacheOptions,
  type CheckpointFlags,
  loraModeOption,
  residualBaseOption,
  strengthsOption,
} from './checkpoints.js'
import { integerList, keepStronger, option, underHeading } from './options.js'
import type { Output } from './output.js'
import { layersText } from './text.js'

export interface DirectionFlags extends CheckpointFlags {
  directions?: string
  bundle?: string
  layer?: number[]
  traits?: string
  prior?: boolean
  allowMismatch?: boolean
}

export function addDirectionOptions(command: Command): Command {
  underHeading(command, 'Directions and verdicts:', () =>
    command
      .addOption(option('-d, --directions <dir>', 'directions folder made by `traitscope directions`'))
      .addOption(
        option('-l, --layer <n[,n]>', 'layer to report; without --directions they are made there').argParser(
          integerList,
        ),
      )
      .addOption(option('-b, --bundle <dir>', 'give verdicts by this bundle, made by `traitscope calibrate`'))
      .option(
        '--prior',
        'provisional verdicts by what is known of other, small bases; without a bundle they are given anyway',
      )
      .option('--no-prior', 'without a bundle no verdicts at all')
      .addOption(
        option(
          '--traits <file>',
          "trait pack: core, core-2 or a YAML file (default: the bundle's, else core)",
        ),
      )
      .option('--allow-mismatch', 'go on although bundle or directions and the run differ (recorded)'),
  )
  underHeading(command, 'Adapters:', () =>
    command
      .addOption(adapterNameOption())
      .addOption(residualBaseOption())
      .addOption(loraModeOption())
      .addOption(strengthsOption()),
  )
  command.hook('preAction', (_, run) => keepStronger(run, 'bundle', 'directions'))
  return addCacheOptions(command, 'step 0 and merged models (up to 20 GiB)')
}

/** The bundle that the flags name, and the trait pack that goes with it or that they name. */
export async function bundleFromFlags(
  flags: DirectionFlags,
): Promise<{ bundle: Bundle | undefined; pack: TraitPack }> {
  if (flags.bundle !== undefined && flags.directions !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      'give --bundle or --directions, not both: a bundle has its own directions',
    )
  }
  const bundle = flags.bundle === undefined ? undefined : await loadBundle(flags.bundle)
  return { bundle, pack: await loadTraitPack(flags.traits ?? bundle?.traitPack ?? 'core') }
}

/** The prior that the flags ask for; undefined when they do not. */
export async function priorFromFlags({
  prior,
  bundle,
}: Pick<DirectionFlags, 'prior' | 'bundle'>): Promise<Prior | undefined> {
  if (prior !== true) return undefined
  if (bundle !== undefined) {
    throw new TraitscopeError('USAGE', 'give --bundle or --prior, not both: a bundle knows the base itself')
  }
  return loadPrior()
}

/** The prior that gives verdicts where there is no bundle: the one that is asked for or, unless that is declined, the shipped one. */
export async function priorWithout(
  bundle: Bundle | undefined,
  flags: DirectionFlags,
): Promise<Prior | undefined> {
  const asked = await priorFromFlags(flags)
  return asked ?? (bundle === undefined && flags.prior !== false ? loadPrior() : undefined)
}

/** The layer that tables show; undefined for the first. `--layer` alone says where directions are made. */
export function shownLayer(flags: DirectionFlags, bundle: Bundle | undefined): number | undefined {
  const asked = bundle || flags.directions !== undefined ? flags.layer?.[0] : undefined
  return asked ?? bundle?.detector.mainLayer
}

/** The directions that the flags name; undefined when they are to be made. */
export async function givenDirections(
  flags: DirectionFlags,
  bundle: Bundle | undefined,
): Promise<Directions | undefined> {
  if (bundle) return bundle.directions
  return flags.directions === undefined ? undefined : loadDirections(flags.directions)
}

/**
 * Where directions are made: at the given layers, else where a prior reads them and above.
 *
 * @throws TraitscopeError USAGE where there is neither
 */
export async function layersToMake(
  { layer, model }: { layer?: readonly number[] | undefined; model: string },
  prior: Prior | undefined,
): Promise<number[]> {
  if (layer !== undefined) return [...layer]
  if (prior !== undefined) return blocksAt(depthsToMake(prior.depths), await blocksInFile(model))
  throw new TraitscopeError(
    'USAGE',
    'with --no-prior give --directions DIR (made by `traitscope directions`), or --layer N to make directions on the spot',
  )
}

export async function makeDirections(
  layers: readonly number[],
  context: {
    model: Model
    pack: TraitPack
    template: ChatTemplate
    output: Output
    signal: AbortSignal
  },
): Promise<Directions> {
  const { model, pack, template, output, signal } = context
  // It takes long, again with every start, and until it is done no run is looked at.
  output.note(
    `no --directions: they are made first, at ${layersText(layers)}, and are not kept; \`traitscope directions -o DIR\` makes them once, for -d DIR`,
  )
  const directions = await output.during('reading trait prompts', (update) =>
    extractDirections(model, pack, {
      layers,
      template,
      probes: false,
      signal,
      onProgress: (fraction) => update(fraction),
    }),
  )
  for (const remark of directions.remarks ?? []) output.remark(remark)
  for (const sentence of worthSentences(directions)) output.note(sentence)
  return directions
}
