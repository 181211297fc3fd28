import type { Verdict } from '../detector/verdict.js'
import { drift } from '../drift/drift.js'
import { fileFact } from '../formats/run/file-fact.js'
import type { Grades } from '../labels/grades.js'
import { pairsWords } from '../labels/margins/margin-words.js'
import { pairsRead } from '../labels/margins/pair-reading.js'
import { trajectoryMargins } from '../trajectory/margin-trajectory.js'
import { remarksOf } from '../trajectory/remarks.js'
import type { Step, Trajectory } from '../trajectory/trajectory.js'
import { type JudgedAnswer, type Point, type RunView, startRun } from './run-view.js'

/** A measured run as a report shows it. */
export interface ReportRun {
  name: string
  trajectory: Trajectory
  /** Of a calibrated detector, by step; without them there is no verdict and no predicted rate. */
  verdicts?: ReadonlyMap<Step, Verdict> | undefined
  /** Judged answers, where there are any. */
  labels?: Grades | undefined
  /** Those that the judge thought worst, worst first. */
  answers?: readonly JudgedAnswer[] | undefined
}

/** The view of a run that was measured as a whole. */
export function viewOfTrajectory({ name, trajectory, verdicts, labels, answers }: ReportRun): RunView {
  const { traits, layers, primary, steps } = trajectory
  const lengths = (trajectory.strengths ?? []).map(({ strength }) => ({
    strength,
    steps: drift(trajectory, { strength }),
  }))
  const remarks = remarksOf(trajectory)
  const margins = trajectoryMargins(trajectory)
  return {
    ...startRun(name),
    traits,
    layer: layers[primary]!.layer,
    layers: layers.flatMap(({ layer }) => layer ?? []),
    points: drift(trajectory).map(({ step, values, norm }, i): Point => {
      const { loss, files, remarks = [] } = steps[i]!
      const verdict = verdicts?.get(step)
      const judged = step === 'final' ? undefined : labels?.get(step)?.pooled
      return {
        step,
        ...(loss !== undefined && step !== 0 && { loss }),
        drift: values,
        length: norm,
        ...(verdict && { verdict }),
        ...(margins && step !== 0 && { margin: margins[i]! }),
        ...(judged && { judged: { rate: judged.rate, standardError: judged.standardError } }),
        ...(lengths.length > 0 && {
          strengths: lengths.map(({ strength, steps }) => ({ strength, length: steps[i]!.norm })),
        }),
        ...(files && { read: fileFact(files) }),
        remarks,
      }
    }),
    notes: [
      ...remarks.map((text) => ({ kind: 'note' as const, text })),
      ...trajectory.skipped.map(({ step, reason }) => ({
        kind: 'skipped' as const,
        step,
        text: `skipped: ${reason}`,
      })),
      ...[...(labels?.keys() ?? [])]
        .filter((step) => steps.every((one) => one.step !== step))
        .map((step) => ({
          kind: 'skipped' as const,
          step,
          text: 'labels are left out: the step was not measured',
        })),
    ],
    ...(answers && { answers }),
    facts: factsOf(trajectory),
  }
}

function factsOf(trajectory: Trajectory): (readonly [string, string])[] {
  const { layers, primary, margin, measurement } = trajectory
  const layer = layers[primary]!
  const facts: (readonly [string, string])[] = [
    ['layers measured', layers.map((one) => one.layer ?? 'unknown').join(', ')],
    ['step-0 norm', String(Number(layer.step0ActivationNorm.toPrecision(4)))],
    ...(margin ? [['margin', pairsWords(pairsRead(margin, margin.pass))] as const] : []),
  ]
  if (measurement === undefined) return facts
  const { base, traitPack, template, pool } = measurement.conditions
  return [
    ['base model', `${base.name ?? base.architecture} (${base.nLayer} blocks, ${base.nEmbd} wide)`],
    ['base fingerprint', base.fingerprint],
    ['trait pack', `${traitPack.name} (${traitPack.contentHash})`],
    ['prompts', `${measurement.nPrompts}, ${pool} pooling`],
    ['chat template', template.sha256],
    ['token ids', measurement.tokenIdsSha256],
    ['directions', measurement.directionsSha256],
    ...facts,
    ['device', measurement.device],
    ['versions', `traitscope ${measurement.versions.traitscope}, llama.cpp ${measurement.versions.llamaCpp}`],
    ...measurement.mismatches.map((text) => ['accepted mismatch', text] as const),
  ]
}
