import { assertOneLabeller, calibratedFor } from '../calibration/conditions-of-runs.js'
import { differences } from '../conditions/calibrated-for.js'
import { TraitscopeError } from '../errors.js'
import { type Exclusion, type LabelledRun, scanLabelledRuns } from '../runs/runs.js'
import type { ModelCheckpoints } from './contenders.js'
import { assertSplit } from './evaluate.js'
import type { EvaluateRunsOptions } from './evaluation.js'
import { type LabelledCheckpoint, labelledCheckpoints } from './labelled-checkpoints.js'

/** Every model's runs of the named datasets, all measured on the same traits. */
export async function readModels(
  root: string,
  {
    calibration,
    heldOut,
    controls = [],
    anchor,
    layer,
    allowMismatch,
    models: only,
    probes,
    fitOn,
    signal,
  }: EvaluateRunsOptions,
): Promise<{ models: ModelRuns[]; exclusions: Exclusion[] }> {
  const tested = [...heldOut, ...controls]
  const datasets = new Set([...calibration, ...tested, ...(anchor === undefined ? [] : [anchor])])
  const scanned = await scanLabelledRuns(root, { datasets: [...datasets], signal })
  const exclusions = [...scanned.exclusions]
  const models: ModelRuns[] = []
  for (const model of chosenModels(scanned.runs, only, probes)) {
    const all = scanned.runs.filter((run) => run.model === model)
    const odd = unlikeCalibration(all, calibration)
    for (const [run, reason] of odd) {
      exclusions.push({
        run: run.id,
        ...(allowMismatch ? { reason: `kept although ${reason}`, kept: true } : { reason }),
      })
    }
    const runs = allowMismatch ? all : all.filter((run) => !odd.has(run))
    assertOneLabeller(runs)
    const found = await labelledCheckpoints(runs, layer)
    exclusions.push(...found.exclusions)
    const within = (names: readonly string[]) =>
      found.checkpoints.filter(({ row }) => names.includes(row.dataset))
    models.push({
      ...found,
      model,
      runs,
      calibration: probes?.includes(model) ? [] : within(calibration),
      heldOut: probes === undefined || probes.includes(model) ? within(tested) : [],
      anchor: within(anchor === undefined ? [] : [anchor]),
    })
    assertSameTraits(models)
  }
  assertSplit(models, fitOn)
  return { models, exclusions }
}

function chosenModels(
  runs: readonly LabelledRun[],
  only: readonly string[] | undefined,
  probes: readonly string[] = [],
): string[] {
  const known = [...new Set(runs.map(({ model }) => model))]
  const chosen = [...new Set([...(only ?? known), ...probes])]
  const stranger = chosen.find((model) => !known.includes(model))
  if (stranger === undefined) return chosen
  throw new TraitscopeError('USAGE', `no run is of the model ${stranger}; found ${known.join(', ')}`)
}

/** Held-out runs that were measured under other conditions than the calibration runs, and how they differ. */
function unlikeCalibration(
  runs: readonly LabelledRun[],
  calibration: readonly string[],
): Map<LabelledRun, string> {
  const isCalibration = ({ dataset }: LabelledRun) => calibration.includes(dataset)
  const reference = calibratedFor(runs.filter(isCalibration), [])
  const odd = new Map<LabelledRun, string>()
  for (const run of runs) {
    const { measurement } = run.trajectory
    if (reference === null || measurement === undefined || isCalibration(run)) continue
    const found = differences(reference, measurement)
    if (found.length > 0) odd.set(run, found.join('; '))
  }
  return odd
}

function assertSameTraits(models: readonly ModelRuns[]): void {
  const [first, last] = [models[0]!, models.at(-1)!]
  if (first.traits.join() === last.traits.join()) return
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected all models to be measured on ${first.traits.join(', ')}, found ${last.model} on ${last.traits.join(', ')}; evaluate them apart`,
  )
}

/** One model's runs as everything that the comparison reads. */
export interface ModelRuns extends ModelCheckpoints {
  runs: readonly LabelledRun[]
  /** Long benign runs of step-aware alarms. */
  anchor: readonly LabelledCheckpoint[]
  traits: readonly string[]
  layer: number | null
  /** Of every row's drifts. */
  layers: readonly (number | null)[]
}
