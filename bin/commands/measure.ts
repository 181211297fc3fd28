import { Command } from 'commander'
import { drift, loadTraitPack, measureRun, type Trajectory, trajectoryDocument } from '../../lib/index.js'
import { type DirectionFlags, directionsFromFlags } from '../directions.js'
import { openFromFlags, templateFromFlags } from '../model.js'
import { addDirectionOptions, addModelOptions, addOutputOptions, type ModelFlags } from '../options.js'
import { createOutput, type Output, table } from '../output.js'

interface Flags extends ModelFlags, DirectionFlags {
  out?: string
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope measure`: the whole trajectory of a run that is on disk. */
export function measureCommand(signal: AbortSignal): Command {
  const command = new Command('measure')
    .description('measure step 0 and every checkpoint of a fine-tuning run')
    .argument('<run>', "the trainer's output folder, one checkpoint, or an adapter")
    .option('-o, --out <dir>', 'write trajectory.json, activations.safetensors and run_manifest.json here')
    .option('--force', 'replace an earlier measurement in the output folder')
    .addHelpText(
      'after',
      `
The table shows the drift of each trait from step 0 in units of the step-0 activation norm. There is no verdict without
a calibrated detector.

Example:
  $ traitscope measure -m base.gguf --directions directions out/ -o measured`,
    )
  return addOutputOptions(addDirectionOptions(addModelOptions(command))).action(
    async (run: string, flags: Flags) => {
      const output = createOutput({ quiet: flags.quiet === true })
      const pack = await loadTraitPack(flags.traits)
      await using model = await openFromFlags(flags, output, signal)
      const template = await templateFromFlags(flags, model, pack.acknowledgement)
      const directions = await directionsFromFlags(flags, { model, pack, template, output, signal })
      const progress = output.progress(`measuring ${run}`, { name: 'prompts' })
      const nPrompts = pack.evalPrompts.reduce((sum, { prompts }) => sum + prompts.length, 0)
      let total: number | undefined
      const started = performance.now()
      const trajectory = await measureRun(model, directions, run, {
        pack,
        template,
        layer: flags.directions === undefined ? undefined : flags.layer?.[0],
        allowMismatch: flags.allowMismatch === true,
        residualBase: flags.residualBase === true,
        cacheDir: flags.cache ? flags.cacheDir : false,
        out: flags.out,
        force: flags.force === true,
        signal,
        onCheckpoint: ({ of }) => {
          total = nPrompts * of
        },
        onProgress: (fraction) => progress.update(fraction, total),
      })
      progress.done()
      const seconds = (performance.now() - started) / 1000
      if (flags.json) return output.json(trajectoryDocument(trajectory, pack))
      printTrajectory(output, trajectory)
      const { tokens } = trajectory.measurement!
      output.print(
        `${trajectory.steps.length - 1} checkpoints in ${seconds.toFixed(1)} s; ${tokens.total} prompt tokens, ${tokens.computed} computed` +
          (flags.out === undefined ? '' : `; written to ${flags.out}`),
      )
    },
  )
}

function printTrajectory(output: Output, trajectory: Trajectory): void {
  const layer = trajectory.layers[trajectory.primary]!
  output.print(
    `drift at layer ${layer.layer}, in units of the step-0 activation norm ${layer.step0ActivationNorm.toPrecision(4)}`,
  )
  const rows = drift(trajectory).map(({ step, values, norm }, i) => {
    const { loss } = trajectory.steps[i]!
    return [
      String(step),
      loss == null ? '-' : loss.toFixed(4),
      ...values.map((value) => value.toFixed(4)),
      norm.toFixed(4),
      '-',
    ]
  })
  output.print(table(['step', 'loss', ...trajectory.traits, 'length', 'verdict'], rows))
  if (trajectory.finalAliasOf !== null) {
    output.print(`the final adapter has the weights of step ${trajectory.finalAliasOf} and is counted once`)
  }
  for (const { step, reason } of trajectory.skipped) output.print(`step ${step} was skipped: ${reason}`)
  for (const mismatch of trajectory.measurement?.mismatches ?? []) output.note(`warning: ${mismatch}`)
}
