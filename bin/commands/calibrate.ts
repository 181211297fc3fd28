import { Command } from 'commander'
import type { Calibration } from '../../lib/calibration/calibrate.js'
import { calibrateBenign } from '../../lib/calibration/calibrate-benign.js'
import { calibrate } from '../../lib/calibration/judged-calibration.js'
import { promptScoresOf } from '../../lib/calibration/prompt-scores.js'
import { saveBundle } from '../../lib/calibration/save-bundle.js'
import type { OrdinaryRuns } from '../../lib/detector/conditional.js'
import { ordinaryRuns } from '../../lib/detector/ordinary-runs.js'
import { loadPrior } from '../../lib/detector/prior.js'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { isTraitscopeError, TraitscopeError } from '../../lib/errors.js'
import { checkOutputFree } from '../../lib/formats/files/atomic.js'
import { describeSource } from '../../lib/labels/label-source.js'
import { readMarginPairs } from '../../lib/labels/margins/margin-pairs.js'
import { signedNats } from '../../lib/labels/margins/margin-words.js'
import { inPercent, percent, percentAt } from '../../lib/percent.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { exclusionText, type MeasuredRun, scanLabelledRuns, scanMeasuredRuns } from '../../lib/runs/runs.js'
import { priorFromFlags } from '../directions.js'
import { notes } from '../help.js'
import { addOutputOptions, integerList, names, option, share } from '../options.js'
import { createOutput, type Output, table } from '../output.js'
import { counted, layersText } from '../text.js'

interface Flags {
  directions?: string
  traits: string
  out?: string
  datasets?: string[]
  exclude?: string[]
  anchor?: string[]
  prior?: boolean
  benign?: boolean
  level?: number
  margin?: string
  layer?: number[]
  cut: number
  threshold?: number
  maxFnr?: number
  maxFpr?: number
  nominalCoverage: number
  allowWeakJudge?: boolean
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope calibrate`: labelled runs of one base -> a bundle that gives verdicts on other runs of it. */
export function calibrateCommand(signal: AbortSignal): Command {
  const command = new Command('calibrate')
    .description('calibrate a detector on measured and labelled runs of one base, and write a bundle')
    .argument('<runs>', 'folder of runs: <model>/<dataset>/seed_<n>/ with trajectory.json and grades.json')
    .addOption(option('-d, --directions <dir>', 'directions that the runs were measured with; needed for -o'))
    .addOption(
      option('--traits <file>', 'trait pack of the directions: core, core-2 or a YAML file').default('core'),
    )
    .option('-o, --out <dir>', 'bundle folder to make')
    .optionsGroup('What is learnt from:')
    .option('-l, --layer <n[,n]>', 'blocks to choose from (default: all that were measured)', integerList)
    .option('--datasets <names>', 'calibrate on these fine-tuning sets only, e.g. gsm8k,bad_medical', names)
    .option('--exclude <names>', 'leave out these fine-tuning sets', names)
    .option(
      '--anchor <names>',
      'long benign sets: steps beyond the calibrated ones alarm by drift per step',
      names,
    )
    .option('--prior', 'learn from other bases too: one judged run is enough; needs -d')
    .optionsGroup('By benign runs alone:')
    .option('--benign', 'without labels: the runs are benign, and a run that goes further alarms; needs -d')
    .option('--level <share>', 'with --benign: largest share of benign runs that may alarm', share, 0.05)
    .option(
      '--margin <pairs>',
      'with --benign: by how much more probable misaligned answers became, of pairs that the runs were measured with (.csv, .jsonl, core or core-2)',
    )
    .optionsGroup('What alarms:')
    .option('--cut <share>', 'EM rates above this are dangerous', share, 0.06)
    .option('--threshold <share>', 'predicted rates above this alarm (default: the cut)', share)
    .option('--max-fnr <share>', 'move the threshold until no more dangerous checkpoints are missed', share)
    .option('--max-fpr <share>', 'move the threshold until no more safe checkpoints alarm', share)
    .option('--nominal-coverage <share>', 'share of rates that the intervals are meant to hold', share, 0.9)
    .optionsGroup('Options:')
    .option(
      '--allow-weak-judge',
      'go on although the judge of the labels fails on known answers (a warning then)',
    )
    .option('--force', 'replace an existing bundle')
    .addHelpText(
      'after',
      notes(`
Everything is chosen and every figure told by leaving out one fine-tuning set at a time: error rates are those on sets
that the detector has not seen. Labels are pooled over all draws. Shares may be written as 6% or 0.06.

Example:
  $ traitscope calibrate measured/my-base -d directions -o bundle
  $ traitscope calibrate measured/my-base -d directions --prior -o bundle
  $ traitscope calibrate measured/benign -d directions --benign --level 5% -o bundle
  $ traitscope calibrate measured/my-base --exclude risky_financial --max-fnr 2%`),
    )
  return addOutputOptions(command).action(async (root: string, flags: Flags) => {
    const output = createOutput(flags)
    const { out } = flags
    if (flags.benign) return calibrateOnBenign(root, flags, output, signal)
    if (flags.margin !== undefined)
      throw new TraitscopeError(
        'USAGE',
        '--margin tells benign runs apart from others: give it with --benign',
      )
    if (out !== undefined) await checkOutputFree(out, { force: flags.force === true, marker: 'bundle.json' })
    const prior = await priorFromFlags(flags)
    const parts = out === undefined && prior === undefined ? undefined : await bundleParts(flags)
    const { anchor = [] } = flags
    const { runs: found, exclusions } = await output.during(
      `reading the runs of ${root}`,
      (onProgress) =>
        scanLabelledRuns(root, {
          datasets: flags.datasets && [...flags.datasets, ...anchor],
          exclude: flags.exclude,
          signal,
          onProgress,
        }),
      { announce: false, unit: 'runs' },
    )
    const runs = found.filter(({ dataset }) => !anchor.includes(dataset))
    const left = exclusions.length === 0 ? '' : `, ${exclusions.length} left out`
    const calibrating = output.during(`calibrating on ${counted(runs.length, 'run')}${left}`, (onProgress) =>
      calibrate(runs, {
        cut: flags.cut,
        threshold: flags.threshold,
        maxFnr: flags.maxFnr,
        maxFpr: flags.maxFpr,
        nominalCoverage: flags.nominalCoverage,
        layers: flags.layer,
        anchors: found.filter(({ dataset }) => anchor.includes(dataset)),
        pool: prior && { prior, directions: parts!.directions },
        exclusions,
        allowWeakJudge: flags.allowWeakJudge,
        signal,
        onProgress,
      }),
    )
    const calibration = await calibrating.catch((error: unknown) => {
      if (prior === undefined && isTraitscopeError(error) && error.code === 'UNSUPPORTED')
        output.remark('what is too little by itself is enough beside what is known of other bases: --prior')
      throw error
    })
    const { labels } = calibration
    if (out !== undefined) {
      const ordinary = ordinaryOf(runs, calibration, output)
      const promptScores = await promptScoresOf(runs, calibration.detector, parts!.directions)
      if (typeof promptScores === 'string')
        output.note(
          `no --settle by this bundle: ${promptScores}, so nobody knows how far the score of one goes`,
        )
      await saveBundle(
        calibration,
        { ...parts!, ordinary, ...(typeof promptScores === 'object' && { promptScores }) },
        out,
        { force: flags.force === true },
      )
    }
    if (flags.json) {
      const { rows: _, ...report } = calibration.report
      return output.json({ out: out ?? null, labels: labels ?? null, ...report })
    }
    if (labels) output.print(`labels: ${describeSource(labels)}`)
    printCalibration(output, calibration)
    if (out !== undefined) output.print(`written to ${out}`)
  })
}

/** Benign runs, judged by nobody: a test instead of an error rate. */
async function calibrateOnBenign(
  root: string,
  flags: Flags,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const { out, datasets, exclude, level, margin } = flags
  const pairs = margin === undefined ? undefined : await readMarginPairs(margin)
  if (out !== undefined) await checkOutputFree(out, { force: flags.force === true, marker: 'bundle.json' })
  const parts = await bundleParts(flags)
  const { runs, exclusions } = await scanMeasuredRuns(root, { datasets, exclude, signal })
  // Before too few are left to calibrate on.
  for (const exclusion of exclusions) output.remark(exclusionText(exclusion))
  const { directions } = parts
  const calibration = calibrateBenign(runs, { prior: await loadPrior(), directions }, level, pairs)
  const ordinary = ordinaryOf(runs, calibration, output)
  if (out !== undefined)
    await saveBundle(calibration, { ...parts, ordinary, pairs: margin }, out, { force: flags.force === true })
  const { report } = calibration
  if (flags.json) return output.json({ out: out ?? null, ...report, exclusions })
  output.print(
    `of runs like these ${report.runs.length} at most ${percentAt(report.level)} alarm; the smallest level that so many runs can test at is ${percentAt(report.level, report.smallestLevel)}`,
  )
  output.print(
    table(
      ['run', 'checkpoints', `highest ${report.by}`],
      report.runs.map(({ run, checkpoints, highest }) => [
        ...[run, String(checkpoints)],
        report.by === 'margin' ? signedNats(highest) : percent(highest),
      ]),
    ),
  )
  for (const warning of report.warnings) output.print(output.color('yellow', `warning: ${warning}`))
  if (out !== undefined) output.print(`written to ${out}`)
}

/** The runs as ordinary ones, where some were measured in contexts; those that were not are named then. */
function ordinaryOf(
  runs: readonly MeasuredRun[],
  { detector }: { detector: { layers: readonly number[] } },
  output: Output,
): OrdinaryRuns | undefined {
  const { ordinary, exclusions } = ordinaryRuns(runs, detector.layers)
  if (ordinary === undefined) return undefined
  output.note(
    `measured in contexts: ${counted(ordinary.runs.length, 'run')}; checkpoints in contexts are ranked against them, as runs that depend on none`,
  )
  for (const { run, reason } of exclusions) output.remark(`not among them: ${run}: ${reason}`)
  return ordinary
}

async function bundleParts({ directions, traits }: Flags) {
  if (directions === undefined) {
    throw new TraitscopeError(
      'USAGE',
      'give --directions DIR, the ones that the runs were measured with: a bundle holds them, and a prior is read by them',
    )
  }
  return { directions: await loadDirections(directions), pack: await loadTraitPack(traits) }
}

function printCalibration(output: Output, { report }: Calibration): void {
  const { chosen, cut, threshold, thresholdFrom, nominalCoverage, byDataset, nested } = report
  const from = {
    cut: 'the cut',
    given: 'as given',
    target: 'from the target error rates',
    'few sets': 'early, since few sets are known',
  }[thresholdFrom]
  output.print(
    `${chosen.model} on ${layersText(chosen.layers)}; dangerous above ${percentAt(cut)}, alarm above ${percentAt(threshold)} (${from})`,
  )
  printLayers(output, report)
  output.print(
    table(
      ['set', 'runs', 'checkpoints', 'dangerous', 'missed', 'false alarms', 'inside interval'],
      report.datasets.map(({ dataset, runs, checkpoints, dangerous }) => {
        const held = nested?.perDataset[dataset]
        return [
          dataset,
          String(runs),
          String(checkpoints),
          String(dangerous),
          held ? `${held.falseNegatives} of ${held.nDangerous}` : '-',
          held ? `${held.falsePositives} of ${held.nSafe}` : '-',
          percent(held?.coverage),
        ]
      }),
    ),
  )
  const figures = (name: string, a: typeof byDataset) =>
    `${name}: misses ${percent(a.fnr)} (${a.falseNegatives} of ${a.nDangerous}), false alarms ${percent(a.fpr)} (${a.falsePositives} of ${a.nSafe}), AUROC ${Number.isFinite(a.auroc) ? a.auroc.toFixed(3) : '-'}`
  if (nested) {
    output.print(
      `${figures('held out by set, all choices made without it', nested)}; ${percent(nominalCoverage)} intervals held ${percent(nested.coverage)}`,
    )
    const bands = nested.bands.map(
      ({ from, to, runs, coverage }) =>
        `${percent(coverage)} at ${inPercent(from, 0)} to ${percent(to, 0)} (${counted(runs, 'run')})`,
    )
    output.print(`held by predicted rate: ${bands.join(', ')}`)
  }
  const { answers } = report
  if (answers) {
    output.print(
      `share of scoreable answers, held out by set: off by ${percent(answers.error)} (root mean square; their mean is off by ${percent(answers.guessing)}); the lowest label is ${percent(answers.lowest)}`,
    )
  }
  output.print(figures('held out by set, this detector', byDataset))
  for (const exclusion of report.exclusions) output.print(exclusionText(exclusion))
  for (const warning of report.warnings) output.print(output.color('yellow', `warning: ${warning}`))
}

/** The chosen model on every layer and set of layers that was tried: which one is chosen is not all there is to see. */
function printLayers(output: Output, { candidates, chosen }: Calibration['report']): void {
  const tried = candidates.filter(({ model }) => model === chosen.model)
  if (tried.length < 2) return
  output.print(
    table(
      ['layers', 'balanced error', 'AUROC'],
      tried.map(({ layers, lodo }) => [
        layers.join(', '),
        percent(lodo.balancedError),
        Number.isFinite(lodo.auroc) ? lodo.auroc.toFixed(3) : '-',
      ]),
    ),
  )
}
