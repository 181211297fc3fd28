import { Command } from 'commander'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { checkOutputFree } from '../../lib/formats/files/atomic.js'
import { saveGeometry } from '../../lib/geometry/geometry-report.js'
import { type RunGeometry, runGeometry } from '../../lib/geometry/run-geometry.js'
import { inPercent } from '../../lib/percent.js'
import { exclusionText } from '../../lib/runs/runs.js'
import { notes } from '../help.js'
import { addOutputOptions, addRunsOptions, integer, names, option, type RunsFlags } from '../options.js'
import { createOutput, type Output, table } from '../output.js'

interface Flags extends RunsFlags {
  directions?: string[]
  layer?: number
  draws: number
  seed: number
  out?: string
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope geometry`: along which axis runs drift, and how much of that chance explains. */
export function geometryCommand(signal: AbortSignal): Command {
  const command = new Command('geometry')
    .description('principal axis of where runs end, its stability, and what chance would make of it')
    .argument('<runs>', 'folder of measured runs, <model>/<dataset>/seed_<n>; they need no labels')
    .addOption(
      option(
        '-d, --directions <dir[,dir]>',
        'directions the runs were measured with, for the controls',
      ).argParser(names),
    )
    .addOption(option('-l, --layer <n>', "layer (default: the runs' primary one)").argParser(integer))
    .addOption(option('--draws <n>', 'random draws behind every null').argParser(integer).default(1000))
    .addOption(option('--seed <n>', 'seed of the draws').argParser(integer).default(42))
    .option('-o, --out <dir>', 'write geometry.json, loadings.svg and plane.svg here')
    .option('--force', 'replace an earlier geometry in the output folder')
    .addHelpText(
      'after',
      notes(`
The controls need activations.safetensors in every run, those of the trait axis --directions too. "null" is the
95th percentile of the share of the first axis when every run moves as far as it did in a direction of its own.

Example:
  $ traitscope geometry measured/ --directions directions -o geometry`),
    )
  return addOutputOptions(addRunsOptions(command)).action(async (runs: string, flags: Flags) => {
    const output = createOutput(flags)
    const { out, force, json, quiet: _, ...wanted } = flags
    if (out !== undefined) await checkOutputFree(out, { force: force === true, marker: 'geometry.json' })
    const directions = flags.directions && (await Promise.all(flags.directions.map(loadDirections)))
    const geometry = await output.during(
      `reading the runs of ${runs}`,
      (onProgress) => runGeometry(runs, { ...wanted, directions, signal, onProgress }),
      { announce: false, unit: 'runs' },
    )
    if (out !== undefined) await saveGeometry(geometry, out, { force })
    for (const exclusion of geometry.exclusions) output.remark(exclusionText(exclusion))
    if (directions && geometry.pooled.basis === null)
      output.remark('the controls are left out: not every run has its activations.safetensors')
    if (json) return output.json(geometry)
    printGeometry(output, geometry)
    if (out !== undefined) output.print(`written to ${out}`)
  })
}

const signed = (value: number) => (value < 0 ? '' : '+') + value.toFixed(3)

function printGeometry(output: Output, { traits, upwards, pooled, models }: RunGeometry): void {
  const sign = upwards === null ? '' : `, ${upwards} upwards`
  output.print(`first axis of ${pooled.nRuns} final drifts${sign}, and with one dataset left out`)
  const columns = pooled.leftOut
  const rows = traits.map((trait, t) => [
    trait,
    signed(pooled.components[0]![t]!),
    ...columns.map(({ axis }) => signed(axis[t]!)),
  ])
  rows.push(['cosine', '1.0000', ...columns.map(({ cosine }) => cosine.toFixed(4))])
  rows.push(['variance %', inPercent(pooled.shares[0]), ...columns.map(({ share }) => inPercent(share))])
  output.print(table(['trait', 'all', ...columns.map(({ group }) => `-${group}`)], rows))
  output.print('')
  const one = [pooled, ...models]
  output.print(
    table(
      [
        'share of PC1, %',
        'runs',
        'traits',
        'null',
        'excess',
        'whitened',
        'native',
        'null',
        'excess',
        '|cos|',
      ],
      one.map(({ model, nRuns, shares, native, basis }) => [
        model ?? 'all runs',
        String(nRuns),
        inPercent(shares[0]),
        inPercent(basis?.null.p95),
        inPercent(basis?.null.excess),
        inPercent(basis?.whitenedShare),
        inPercent(native?.shares[0]),
        inPercent(native?.null.p95),
        inPercent(native?.null.excess),
        basis?.space?.cosineWithNativeAxis.toFixed(3) ?? '-',
      ]),
    ),
  )
  output.print([
    'share of PC1: of the variance of final drifts, along their first axis; traits: of the drifts along the traits; whitened: of',
    'these without what the directions have in common; native: of the changes of the mean states themselves; null: what chance',
    "would make of it (95th percentile), excess: points above that; |cos|: of the traits' axis with the native one",
  ])
}
