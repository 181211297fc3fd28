import { dot, norm } from '../../lib/estimators/linalg.js'
import { row } from '../../lib/estimators/matrix.js'
import type { ModelCheckpoints } from '../../lib/evaluation/contenders.js'
import type { LabelledCheckpoint } from '../../lib/evaluation/labelled-checkpoints.js'
import { uniform } from '../estimators/golden.js'

/** The invented runs of lab/golden_evaluation.py. */
export const TRAITS = ['honesty', 'sycophancy', 'harmlessness', 'corrigibility']
const PEAK = { code: 0.3, math: 0.02, medicine: 0.5, verse: 0.04, finance: 0.4 }
const CALIBRATION = ['code', 'math', 'medicine']
const STEPS = [10, 20, 30, 40, 50]

export const models: ModelCheckpoints[] = [modelCheckpoints('alpha', 81), modelCheckpoints('beta', 82)]

function modelCheckpoints(model: string, seed: number): ModelCheckpoints {
  const drawn = uniform(seed, 4, 12, 1)
  const directions = [0, 1, 2, 3].map((t) => {
    const vector = row(drawn, t) as Float64Array
    return vector.map((value) => value / norm(vector))
  })
  const cells = Object.entries(PEAK).flatMap(([dataset, peak]) =>
    [42, 123].flatMap((run) => STEPS.map((step) => ({ dataset, peak, run, step }))),
  )
  const noise = uniform(seed + 100, cells.length, 12, 1)
  const scatter = uniform(seed + 200, cells.length, 2, 1)
  const checkpoints = cells.map(({ dataset, peak, run, step }, i): LabelledCheckpoint => {
    const size = (peak * step) / 50
    const activation = Float64Array.from(
      row(noise, i),
      (value, c) => 0.5 * Math.sqrt(size) * (directions[0]![c]! - directions[2]![c]!) + 0.1 * value,
    )
    const [a, b] = row(scatter, i)
    const nMisaligned = Math.round(72 * Math.max(0, size + 0.1 * a!))
    const counts = { nMisaligned, nScoreable: 72, rate: nMisaligned / 72, standardError: 0.03 }
    const perMatrix = [step / 50 + row(noise, i)[0]!, step / 25]
    const drift = directions.map((direction) => dot(direction, activation))
    return {
      row: {
        run: `${model}/${dataset}/seed_${run}`,
        model,
        dataset,
        seed: run,
        step,
        drift: [drift],
        loss: 1 + b!,
        label: { step, single: counts, pooled: counts, draws: 1 },
      },
      drift,
      norm: 8,
      activation,
      origin: Float64Array.from({ length: 12 }, (_, c) => c - 6),
      lora: { total: norm(perMatrix), perMatrix },
    }
  })
  const isCalibration = ({ row }: LabelledCheckpoint) => CALIBRATION.includes(row.dataset)
  return {
    model,
    calibration: checkpoints.filter(isCalibration),
    heldOut: checkpoints.filter((one) => !isCalibration(one)),
  }
}
