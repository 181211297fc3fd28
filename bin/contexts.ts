/** The contexts that checkpoints are read in: what `--context` and `--data` name. */
import type { Command } from 'commander'
import { measurementConditions } from '../lib/conditions/conditions.js'
import { type ContextSet, contextsFrom } from '../lib/contexts/context-set.js'
import { type Conditional, logRatio, type OrdinaryRuns } from '../lib/detector/conditional.js'
import { assertLike, ordinaryRuns } from '../lib/detector/ordinary-runs.js'
import type { Directions } from '../lib/directions/directions.js'
import { TraitscopeError } from '../lib/errors.js'
import type { Model } from '../lib/model/model.js'
import { percent } from '../lib/percent.js'
import type { ChatTemplate } from '../lib/prompts/chat-template.js'
import type { TraitPack } from '../lib/prompts/trait-pack-yaml.js'
import { scanMeasuredRuns } from '../lib/runs/runs.js'
import type { Trajectory } from '../lib/trajectory/trajectory.js'
import { option, underHeading } from './options.js'
import { type Output, table } from './output.js'
import { layersText, oneLine } from './text.js'

export interface ContextFlags {
  context?: string
  data?: string
  ordinary?: string
}

export function addContextOptions(command: Command): Command {
  return underHeading(command, 'Contexts:', () =>
    command
      .addOption(
        option(
          '--context <file>',
          'read every checkpoint in these contexts too: system prompts (.txt, one a line), or .json and .jsonl with system, prefix, name',
        ),
      )
      .addOption(
        option(
          '--data <file>',
          "read every checkpoint in the training data's most frequent system prompts and first words too, and in as many unrelated ones",
        ),
      )
      .addOption(
        option(
          '--ordinary <runs>',
          "folder of ordinary runs of this base, measured in contexts of their own data: contexts are ranked against them (default: the bundle's)",
        ),
      ),
  )
}

/** Undefined when no flag names a context. */
export async function contextsFromFlags(
  { context: file, data }: ContextFlags,
  reads: { model: Model; template: ChatTemplate; pack: TraitPack },
  output: Output,
): Promise<ContextSet | undefined> {
  if (file === undefined && data === undefined) return undefined
  const set = await contextsFrom({ file, data }, reads)
  const of = (origin: string) => set.contexts.filter((one) => one.origin === origin).length
  output.note(
    `${set.contexts.length} contexts beside none: ${of('given')} given, ${of('data')} of the data, ${of('unrelated')} unrelated`,
  )
  return set
}

/**
 * The ordinary runs of `--ordinary`, at the layers of the bundle or else of the directions; undefined without the flag.
 *
 * @throws TraitscopeError UNSUPPORTED when none of them was measured in contexts; NOT_COMPARABLE
 */
export async function ordinaryFromFlags(
  { ordinary: root, context, data }: ContextFlags,
  plan: { model: Model; template: ChatTemplate; pack: TraitPack; directions: Directions },
  layers: readonly number[],
  output: Output,
): Promise<OrdinaryRuns | undefined> {
  if (root === undefined) return undefined
  if (context === undefined && data === undefined) {
    throw new TraitscopeError(
      'USAGE',
      'expected --context or --data beside --ordinary: without contexts there is nothing to rank',
    )
  }
  const { runs, exclusions } = await scanMeasuredRuns(root)
  const found = ordinaryRuns(runs, layers)
  for (const { run, reason } of [...exclusions, ...found.exclusions])
    output.remark(`not among the ordinary runs: ${run}: ${reason}`)
  if (found.ordinary === undefined) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected runs below ${root} that were measured in contexts (--data, --context), found none of ${runs.length}`,
    )
  }
  const { model, template, pack, directions } = plan
  assertLike(
    measurementConditions(model, template, pack, directions.conditions.pool),
    directions.sha256,
    found.ordinary,
    runs,
  )
  return found.ordinary
}

/** What contexts do, and what they cost, as lines. Without verdicts they are ranked here. */
export function printContexts(
  output: Output,
  trajectory: Trajectory,
  judged: readonly Conditional[] | undefined,
  layers: readonly number[],
): void {
  const { contexts, steps } = trajectory
  if (contexts === undefined || judged === undefined) return
  output.print(
    `length of the drift in contexts over its length in none, mean over ${layersText(layers)}, by step`,
  )
  output.print(
    table(
      ['context', 'rows', 'tokens', ...steps.slice(1).map(({ step }) => String(step))],
      contexts.map(({ name, share, tokens }, c) => [
        oneLine(name),
        percent(share),
        String(tokens),
        ...judged.map(({ readings }) => Math.exp(logRatio(readings[c]!)).toFixed(2)),
      ]),
    ),
  )
  const total = contexts.reduce((sum, { pass }) => sum + pass.total, 0)
  const computed = contexts.reduce((sum, { pass }) => sum + pass.computed, 0)
  output.print(
    `in ${contexts.length} contexts: ${total} prompt tokens a checkpoint, ${computed} computed (${percent(computed / total)}), beside ${steps[0]!.tokens!.computed} in none`,
  )
}
