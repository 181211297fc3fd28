/** What `measure` and `watch` begin with: bundle, trait pack, model, template and directions that the flags name. */
import type { Command } from 'commander'
import type { Bundle } from '../lib/detector/bundle.js'
import type { OrdinaryRuns } from '../lib/detector/conditional.js'
import type { Prior } from '../lib/detector/prior.js'
import { priorSilence } from '../lib/detector/prior-detector.js'
import { refuseSettling } from '../lib/detector/settling-in.js'
import type { Directions } from '../lib/directions/directions.js'
import { TraitscopeError } from '../lib/errors.js'
import { describeSource } from '../lib/labels/label-source.js'
import { type MarginPairs, readMarginPairs } from '../lib/labels/margins/margin-pairs.js'
import type { Model } from '../lib/model/model.js'
import type { MeasurementOptions } from '../lib/trajectory/prepare-measurement.js'
import { refuseBesideSettling } from '../lib/trajectory/stopping.js'
import { checkpointFromFlags } from './checkpoints.js'
import { type ContextFlags, contextsFromFlags, ordinaryFromFlags } from './contexts.js'
import {
  bundleFromFlags,
  type DirectionFlags,
  givenDirections,
  layersToMake,
  makeDirections,
  priorWithout,
  shownLayer,
} from './directions.js'
import { type ModelFlags, openFromFlags, templateFromFlags, WHOLE } from './model.js'
import { option, share, underHeading } from './options.js'
import type { Output } from './output.js'

export interface MeasurementFlags extends ModelFlags, DirectionFlags, ContextFlags {
  adapterScale?: number[]
  settle?: number
  margin?: string
}

/** What `measure` and `watch` may spare, and what they may read beside states. */
export function addReadingOptions(command: Command): Command {
  return underHeading(command, 'Also read, or spared:', () =>
    command
      .addOption(
        option(
          '--margin <pairs>',
          'also how much more probable misaligned answers become than aligned ones, by pairs in .csv or .jsonl, or core or core-2, ours; it runs the whole base',
        ),
      )
      .addOption(
        option(
          '--settle <share>',
          'read no more prompts of a checkpoint once it is settled, with at most this error, on which side of the threshold its rate lies (try 1%)',
        ).argParser(share),
      ),
  )
}

/** Ready to measure; dispose it to close the model. */
export interface PreparedMeasurement extends AsyncDisposable {
  model: Model
  directions: Directions
  bundle: Bundle | undefined
  /** Instead of a bundle. */
  prior: Prior | undefined
  /** Those of a flag, else the bundle's. */
  ordinary: OrdinaryRuns | undefined
  options: MeasurementOptions
  /** Opens the base as it was opened. */
  reopen: () => Promise<Model>
}

export async function measurementFromFlags(
  flags: MeasurementFlags,
  output: Output,
  signal: AbortSignal,
): Promise<PreparedMeasurement> {
  const { bundle, pack } = await bundleFromFlags(flags)
  if (bundle?.labels) output.note(`labels behind the verdicts: ${describeSource(bundle.labels)}`)
  const known = await priorWithout(bundle, flags)
  if (flags.settle !== undefined) {
    refuseSettling({ bundle, prior: known }, pack.contentHash, flags.settle)
    refuseBesideSettling({ strengths: flags.adapterScale, contexts: flags.context ?? flags.data })
  }
  const margin = await pairsFromFlags(flags, bundle)
  const given = await givenDirections(flags, bundle)
  const layers = given?.layers ?? (await layersToMake(flags, known))
  const reopen = () => openFromFlags(flags, output, signal, margin ? WHOLE : layers)
  const model = await reopen()
  try {
    const template = await templateFromFlags(flags, model, pack.acknowledgement)
    const directions = given ?? (await makeDirections(layers, { model, pack, template, output, signal }))
    const reads = { model, template, pack, directions }
    const ordinary = await ordinaryFromFlags(flags, reads, directions.layers, output)
    return {
      model,
      directions,
      bundle,
      ordinary: ordinary ?? bundle?.ordinary,
      prior: speaking(known, flags, directions, model, output),
      options: {
        pack,
        template,
        layer: shownLayer(flags, bundle),
        allowMismatch: flags.allowMismatch === true,
        adapterName: flags.adapterName,
        strengths: flags.adapterScale,
        contexts: await contextsFromFlags(flags, reads, output),
        margin,
        checkpoint: checkpointFromFlags(flags),
        cacheDir: flags.cache ? flags.cacheDir : false,
      },
      reopen,
      [Symbol.asyncDispose]: () => model.close(),
    }
  } catch (error) {
    await model.close()
    throw error
  }
}

/** The pairs that the flags name, else those that the bundle tells runs by. */
async function pairsFromFlags(
  { margin }: MeasurementFlags,
  bundle: Bundle | undefined,
): Promise<MarginPairs | undefined> {
  const given = margin === undefined ? undefined : await readMarginPairs(margin)
  const own = bundle?.pairs
  if (given && own && given.sha256 !== own.sha256) {
    throw new TraitscopeError(
      'USAGE',
      `the bundle tells runs by the margin of its own pairs (${own.file}), which are others than those of --margin ${margin}: leave it out`,
    )
  }
  return own ?? given
}

/** A prior that nobody asked for gives way, in words, where it cannot speak; one that was asked for refuses before the work. */
function speaking(
  prior: Prior | undefined,
  flags: MeasurementFlags,
  directions: Directions,
  model: Model,
  output: Output,
): Prior | undefined {
  const silence = prior && priorSilence(prior, directions, model.info.nLayer)
  if (!silence) return prior
  if (flags.prior === true) throw new TraitscopeError('NOT_COMPARABLE', silence)
  output.note(`no verdicts without a bundle: ${silence}`)
  return undefined
}
