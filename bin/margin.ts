/** The margin: `label --margin`, and what `measure --margin` says of it. */
import { join } from 'node:path'
import { marginReason } from '../lib/detector/margin-warning.js'
import { TraitscopeError } from '../lib/errors.js'
import { readMarginPairs } from '../lib/labels/margins/margin-pairs.js'
import { MARGINS_FILE, marginRun, type RunMargins } from '../lib/labels/margins/margin-run.js'
import { marginText, pairsWords } from '../lib/labels/margins/margin-words.js'
import type { MarginChange } from '../lib/labels/margins/margins.js'
import { pairsRead } from '../lib/labels/margins/pair-reading.js'
import type { Trajectory } from '../lib/trajectory/trajectory.js'
import { type CheckpointFlags, cacheFromFlags, checkpointFromFlags } from './checkpoints.js'
import { type ModelFlags, openFromFlags, templateFromFlags } from './model.js'
import { type Output, table } from './output.js'

export interface MarginFlags extends ModelFlags, CheckpointFlags {
  margin: string
  out: string
  domain?: string
  steps?: number[]
  every?: number
  adapterScale?: number[]
  json?: boolean
}

export async function marginFromFlags(
  run: string,
  flags: MarginFlags,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  if (flags.adapterScale !== undefined)
    throw new TraitscopeError('USAGE', '--margin reads adapters as they are: leave --adapter-scale out')
  const pairs = await readMarginPairs(flags.margin)
  await using model = await openFromFlags(flags, output, signal)
  const template = await templateFromFlags(flags, model)
  const margins = await output.during(`reading ${pairs.pairs.length} pairs of answers`, (onProgress) =>
    marginRun(model, run, {
      ...{ template, pairs, signal, onProgress, out: flags.out, domain: flags.domain },
      ...{ steps: flags.steps, every: flags.every, adapterName: flags.adapterName },
      checkpoint: checkpointFromFlags(flags),
      cacheDir: cacheFromFlags(flags),
    }),
  )
  for (const remark of margins.remarks) output.remark(remark)
  if (flags.json) return output.json(margins)
  printMargins(output, margins)
  output.note(`${join(flags.out, MARGINS_FILE)} holds the margins`)
}

function printMargins(output: Output, { steps, domain, pairs }: RunMargins): void {
  const domains = Object.keys(steps[0]?.byDomain ?? {})
  output.print(
    `log p(misaligned) less log p(aligned) per token, change against step 0 with its 95 % interval over ${pairs.questions} questions`,
  )
  output.print(
    table(
      ['step', 'all', ...domains, ...(domain === null ? [] : [`not ${domain}`])],
      steps.map(({ step, all, byDomain, elsewhere }) => [
        ...[String(step), marginText(all), ...domains.map((name) => marginText(byDomain[name]!))],
        ...(domain === null ? [] : [elsewhere ? marginText(elsewhere) : '-']),
      ]),
    ),
  )
  const last = marginReason(steps.at(-1)?.all)
  if (last) output.note(`step ${steps.at(-1)!.step}: ${last}; harmless training may do that too`)
}

/**
 * What the column of a measured run is.
 *
 * @param alone per step, where there are no verdicts that warn
 */
export function printMargin(
  output: Output,
  { steps, margin }: Trajectory,
  alone: readonly MarginChange[] = [],
): void {
  if (margin === undefined) return
  output.print(
    `margin: change of log p(misaligned) less log p(aligned), nats per token, with its 95 % interval; ${pairsWords(pairsRead(margin, margin.pass))}`,
  )
  for (const [i, one] of alone.entries()) {
    const reason = marginReason(one)
    if (reason) output.print(output.color('yellow', `warn: step ${steps[i]!.step}: ${reason}`))
  }
}
