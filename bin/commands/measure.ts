import { Command, Option } from 'commander'
import { unscoredWords } from '../../lib/detector/answer-shares.js'
import {
  type Conditional,
  conditional,
  contextReadings,
  NO_ORDINARY,
} from '../../lib/detector/conditional.js'
import { drivenBy } from '../../lib/detector/driven-by.js'
import { marginReason } from '../../lib/detector/margin-warning.js'
import { trajectoryPrior } from '../../lib/detector/prior-detector.js'
import { measuredPrior, settlingIn } from '../../lib/detector/settling-in.js'
import { trajectoryVerdicts } from '../../lib/detector/trajectory-verdicts.js'
import type { Verdict } from '../../lib/detector/verdict.js'
import { drift } from '../../lib/drift/drift.js'
import { fileFact } from '../../lib/formats/run/file-fact.js'
import { marginText } from '../../lib/labels/margins/margin-words.js'
import type { MarginChange } from '../../lib/labels/margins/margins.js'
import { percent } from '../../lib/percent.js'
import { trajectoryMargins } from '../../lib/trajectory/margin-trajectory.js'
import { checkMeasurable } from '../../lib/trajectory/measurable-steps.js'
import { measureRun } from '../../lib/trajectory/measure-run.js'
import { noiseSentence } from '../../lib/trajectory/noise-floor.js'
import { remarksOf } from '../../lib/trajectory/remarks.js'
import { type MeasuredBase, refuseBesideSettling } from '../../lib/trajectory/stopping.js'
import type { Trajectory, TrajectoryStep } from '../../lib/trajectory/trajectory.js'
import { trajectoryDocument } from '../../lib/trajectory/trajectory-json.js'
import { addContextOptions, printContexts } from '../contexts.js'
import { addDirectionOptions } from '../directions.js'
import { notes } from '../help.js'
import { printMargin } from '../margin.js'
import { addReadingOptions, type MeasurementFlags, measurementFromFlags } from '../measurement.js'
import { addModelOptions } from '../model.js'
import { addOutputOptions, failOnOption } from '../options.js'
import { createOutput, type Output, table } from '../output.js'
import { counted, oneLine } from '../text.js'
import {
  colorVerdict,
  exitCodeOf,
  type FailOn,
  READ_COLUMN,
  VERDICT_COLUMNS,
  verdictCells,
} from '../verdicts.js'

interface Flags extends MeasurementFlags {
  out?: string
  activations?: 'prompts' | 'means' | 'none'
  failOn: FailOn
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
    .addOption(
      new Option(
        '--activations <what>',
        'states to write per step: of all prompts, their means, or none (default: prompts; none with --settle)',
      ).choices(['prompts', 'means', 'none']),
    )
    .addOption(failOnOption())
    .option('--force', 'replace an earlier measurement in the output folder; labels beside it stay')
    .addHelpText(
      'after',
      notes(`
The table shows the drift of each trait from step 0 in units of the step-0 activation norm. With a bundle it also shows
the predicted rate of emergent misalignment (EM), its interval and the verdict; with -o they go to verdicts.json too. With
--margin core 40 pairs of answers go through the whole base, once a checkpoint, which then costs 2.7 times as much (measured
on a model of 135 million parameters); the margin is that of the adapter as trained, in no context.
Exit codes, the first that applies: 3 for an alarm (see --fail-on), 4 when the bundle was made for other conditions, 1 when a
checkpoint was skipped.

Example:
  $ traitscope measure -m base.gguf --bundle bundle out/
  $ traitscope measure -m base.gguf --directions directions out/ -o measured`),
    )
  return addOutputOptions(
    addReadingOptions(addContextOptions(addDirectionOptions(addModelOptions(command)))),
  ).action(async (run: string, flags: Flags) => {
    const output = createOutput(flags)
    const force = flags.force === true
    if (flags.settle !== undefined) refuseBesideSettling({ activations: flags.activations })
    // Making directions may take long: not for a run that is refused.
    await checkMeasurable(run, { adapterName: flags.adapterName, out: flags.out, force, signal })
    await using prepared = await measurementFromFlags(flags, output, signal)
    const { model, directions, bundle, prior, ordinary, options } = prepared
    const { pack, allowMismatch } = options
    const { layers } = directions
    const { settle } = flags
    const settling = (base: MeasuredBase) =>
      settlingIn(base, bundle ?? (prior && measuredPrior(prior, base)), settle!)
    const verdictsOf = (measured: Trajectory): Verdicts => {
      const by = bundle ?? (prior && trajectoryPrior(prior, directions, measured))
      return by
        ? trajectoryVerdicts({ ...by, ...(ordinary && { ordinary }) }, measured, { allowMismatch })
        : []
    }
    const nPrompts = pack.evalPrompts.reduce((sum, { prompts }) => sum + prompts.length, 0)
    let total: number | undefined
    let takenOver = 0
    let kept = 0
    const started = performance.now()
    const trajectory = await output.during(
      `measuring ${run}`,
      (update) =>
        measureRun(model, directions, run, {
          ...options,
          activations: flags.activations,
          settle: settle === undefined ? undefined : settling,
          alsoWrite: (measured) => verdictFile(verdictsOf(measured)),
          out: flags.out,
          force,
          signal,
          onKept: (count) => {
            kept = count
          },
          onCheckpoint: ({ of, resumed }) => {
            total = nPrompts * of
            if (resumed) takenOver++
          },
          onProgress: (fraction) => update(fraction, total),
        }),
      { unit: 'prompts' },
    )
    const seconds = (performance.now() - started) / 1000
    if (takenOver > 0)
      output.note(`${takenOver} checkpoints are taken over from a measurement that was cut short`)
    if (kept > takenOver)
      output.note(
        `${kept - takenOver} checkpoints of a measurement that was cut short count no more: they are gone, or other weights, or were read under other conditions, contexts or pairs`,
      )
    const verdicts = verdictsOf(trajectory)
    const inContexts = contextReadings(trajectory, layers)?.map(({ step, readings }) => ({
      step,
      ...conditional(readings, ordinary),
    }))
    const margins = trajectoryMargins(trajectory)
    const reasons = [...(inContexts ?? []).map(({ reason }) => reason), ...(margins ?? []).map(marginReason)]
    const warned = reasons.some((reason) => reason !== undefined) ? ['warn' as const] : []
    const code = exitCodeOf([...verdicts.map(({ verdict }) => verdict.verdict), ...warned], flags.failOn)
    // What was not read is no clean bill of health.
    process.exitCode = code === 0 && trajectory.skipped.length > 0 ? 1 : code
    if (flags.json) {
      for (const { step, reason } of trajectory.skipped) output.remark(`step ${step} was skipped: ${reason}`)
      const document = trajectoryDocument(trajectory, pack)
      return output.json({
        ...document,
        ...(margins && { margins: margins.map((all, i) => ({ step: trajectory.steps[i]!.step, ...all })) }),
        ...(verdicts.length > 0 ? { verdicts } : inContexts && { inContexts }),
      })
    }
    printTrajectory(
      output,
      trajectory,
      verdicts.map(({ verdict }) => verdict),
      margins,
    )
    printContexts(output, trajectory, inContexts, layers)
    if (verdicts.length === 0) printConditional(output, trajectory, inContexts, ordinary !== undefined)
    const { tokens, settle: spared } = trajectory.measurement!
    if (spared && spared.prompts > 0)
      output.print(
        `${spared.read} of ${spared.prompts} prompts of the checkpoints were read (${percent(spared.read / spared.prompts, 0)}), until each verdict was settled`,
      )
    output.print(
      `${counted(trajectory.steps.length - 1, 'checkpoint')} in ${seconds.toFixed(1)} s; ${tokens.total} prompt tokens, ${tokens.computed} computed` +
        (flags.out === undefined ? '' : `; written to ${flags.out}`),
    )
  })
}

type Verdicts = ReturnType<typeof trajectoryVerdicts>

function verdictFile(verdicts: Verdicts): [name: string, content: string][] {
  return verdicts.length === 0 ? [] : [['verdicts.json', `${JSON.stringify(verdicts, null, 1)}\n`]]
}

function printTrajectory(
  output: Output,
  trajectory: Trajectory,
  verdicts: readonly Verdict[],
  margins: readonly MarginChange[] | undefined,
): void {
  const layer = trajectory.layers[trajectory.primary]!
  output.print(
    `drift at layer ${layer.layer}, in units of the step-0 activation norm ${Number(layer.step0ActivationNorm.toPrecision(4))}`,
  )
  const rows = drift(trajectory).map(({ step, values, norm }, i) => {
    const { loss } = trajectory.steps[i]!
    return [
      String(step),
      loss == null ? '-' : loss.toFixed(4),
      ...(verdicts.length === 0 ? ['-'] : verdictCells(verdicts[i])),
      ...(margins ? [marginText(margins[i]!)] : []),
      norm.toFixed(4),
      ...values.map((value) => value.toFixed(4)),
    ]
  })
  // What a run comes to stands where a narrow terminal shows it.
  const first = verdicts.length === 0 ? ['verdict'] : VERDICT_COLUMNS
  const margin = margins ? ['margin'] : []
  const lines = table(['step', 'loss', ...first, ...margin, 'length', ...trajectory.traits], rows)
  const read = [READ_COLUMN, ...trajectory.steps.map(readFact)]
  output.print(lines.map((line, i) => colorVerdict(output, `${line}  ${oneLine(read[i]!)}`)))
  printOtherLayers(output, trajectory)
  printStrengths(output, trajectory)
  const { noiseFloor } = trajectory
  const noise = noiseFloor && noiseSentence(noiseFloor, { layer: layer.layer, drift: drift(trajectory) })
  if (noise) output.print(noise)
  printMargin(output, trajectory, verdicts.length > 0 ? [] : margins)
  printReasons(output, trajectory, verdicts)
  if (trajectory.finalAliasOf !== null) {
    output.print(`the final adapter has the weights of step ${trajectory.finalAliasOf} and is counted once`)
  }
  const merged = new Map<string, TrajectoryStep['step'][]>()
  for (const { step, adapter } of trajectory.steps) {
    if (adapter?.merged) merged.set(adapter.merged, [...(merged.get(adapter.merged) ?? []), step])
  }
  for (const [reason, steps] of merged) {
    const kernels = noise ? "; its kernels are others than the base's, so the noise floor may not hold" : ''
    output.print(`merged into a copy of the base (step ${steps.join(', ')}): ${reason}${kernels}`)
  }
  for (const { step, reason } of trajectory.skipped) output.print(`step ${step} was skipped: ${reason}`)
  for (const remark of remarksOf(trajectory)) output.print(`remark: ${remark}`)
  for (const mismatch of trajectory.measurement?.mismatches ?? []) output.remark(mismatch)
}

/** The files of a step; of the base its file and the beginning of its fingerprint. */
function readFact({ files, base }: TrajectoryStep): string {
  if (base) return `${base.file} ${base.fingerprint.slice(0, 12)}`
  return files ? fileFact(files) : '-'
}

/** The length of the drift at every layer, where there are several: which layer is looked at decides what is seen. */
function printOtherLayers(output: Output, trajectory: Trajectory): void {
  const layers = trajectory.layers.map(({ layer }) => layer!)
  if (layers.length === 1) return
  output.print('length of the drift by layer')
  output.print(
    lengthTable(
      trajectory,
      layers.map((layer) => [String(layer), drift(trajectory, { layer })]),
    ),
  )
}

/** The length of the drift at every strength: what is to come shows earlier where the adapter's effect is multiplied. */
function printStrengths(output: Output, trajectory: Trajectory): void {
  const { strengths } = trajectory
  if (strengths === undefined) return
  const all = [1, ...strengths.map(({ strength }) => strength)].sort((a, b) => a - b)
  output.print("length of the drift with the adapter's effect multiplied")
  output.print(
    lengthTable(
      trajectory,
      all.map((strength) => [`x ${strength}`, drift(trajectory, { strength })]),
    ),
  )
}

function lengthTable(
  { steps }: Trajectory,
  columns: readonly (readonly [head: string, drifts: readonly { norm: number }[]])[],
): string[] {
  return table(
    ['step', ...columns.map(([head]) => head)],
    steps.map(({ step }, i) => [String(step), ...columns.map(([, drifts]) => drifts[i]!.norm.toFixed(4))]),
  )
}

/** Without verdicts: at which steps a run is conditional. */
function printConditional(
  output: Output,
  { steps }: Trajectory,
  judged: readonly Conditional[] | undefined,
  isRanked: boolean,
): void {
  if (judged !== undefined && !isRanked) output.print(NO_ORDINARY)
  for (const [i, { reason }] of (judged ?? []).entries()) {
    if (reason) output.print(output.color('yellow', `warn: step ${steps[i + 1]!.step}: ${reason}`))
  }
}

/** The reasons of the verdicts; one that several steps share is said once. */
function printReasons(output: Output, { steps }: Trajectory, verdicts: readonly Verdict[]): void {
  const byReason = new Map<string, string[]>()
  for (const [i, { reasons }] of verdicts.entries()) {
    for (const reason of reasons) {
      byReason.set(reason, [...(byReason.get(reason) ?? []), String(steps[i]!.step)])
    }
  }
  // What nobody has looked at is the same for all of a run.
  for (const what of new Set(verdicts.flatMap(({ notLookedAt = [] }) => notLookedAt))) output.print(what)
  const worst = verdicts.reduce((a, b) => ((b.em ?? 0) > (a.em ?? 0) ? b : a), verdicts[0]!)
  const driven = worst && drivenBy(worst)
  if (driven) output.print(`step ${steps[verdicts.indexOf(worst)]!.step}, the highest: ${driven}`)
  const told = verdicts.flatMap(({ answers }, i) => (answers ? [{ answers, step: steps[i]!.step }] : []))
  if (told.length > 0) {
    const { answers, step } = told.reduce((a, b) => (b.answers.scoreable < a.answers.scoreable ? b : a))
    const { scoreable } = answers
    output.print(
      `scoreable answers, predicted: ${percent(scoreable)} at step ${step}, the fewest${verdicts.some(({ settled }) => settled) ? ' of those that were read whole' : ''} (${unscoredWords(answers)})`,
    )
  }
  for (const [reason, at] of byReason) {
    output.print(at.length === steps.length ? reason : `step ${at.join(', ')}: ${reason}`)
  }
}
