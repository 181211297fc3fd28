import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Directions, encodeDirections } from '../../lib/directions/directions.js'
import { Mt19937 } from '../../lib/estimators/mt19937.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { encodeSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { CORE_TRAITS } from '../../lib/prompts/trait-pack.js'
import type { Trajectory } from '../../lib/trajectory/trajectory.js'
import { encodeTrajectory } from '../../lib/trajectory/trajectory-json.js'
import { fakeDirections } from '../directions/fake-directions.js'

export interface SyntheticRun {
  dataset: string
  seed: number
  /** EM rate at the last step; the first ones stay near `floor`. */
  peak: number
  /** Drift that has nothing to do with danger, along one axis of its own. */
  style?: number
  /** Drift towards danger that comes with training alone, at the last step. */
  creep?: number
  model?: string
  layers?: number[]
  steps?: number[]
  /** Answers per prompt. */
  draws?: number
}

const N = 8
const EMBD = 16
const FLOOR = 0.01
export const STEPS = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 126]
/** Signs of a drift towards danger, in the order of the core traits. */
const AXIS = [-0.5, 0.3, -0.5, 0.45, -0.1, 0.2, -0.4]

/** A folder of labelled runs whose drift follows their EM rate plus noise; everything from the seed. */
export class SyntheticRuns {
  constructor(readonly root: string) {}

  /** Writes `<root>/<model>/<dataset>/seed_<seed>/` and returns that folder. */
  write(run: SyntheticRun): string {
    const { dataset, seed, model = 'toy' } = run
    const folder = join(this.root, model, dataset, `seed_${seed}`)
    mkdirSync(join(folder, 'betley_eval'), { recursive: true })
    const random = new Mt19937(hashSeed(`${model}/${dataset}/${seed}`))
    const points = [0, ...(run.steps ?? STEPS)].map((step) => ({ step, em: emAt(run, step) }))
    const trajectory = trajectoryOf(run, points, random)
    writeFileSync(join(folder, 'trajectory.json'), encodeTrajectory(trajectory, { sha256: 'p' }).text)
    const grades = Object.fromEntries(
      points.map(({ step, em }) => [`step_${step}`, grade(step, em, run.draws ?? 8, random)]),
    )
    writeFileSync(join(folder, 'betley_eval/grades.json'), JSON.stringify(grades))
    const log = points.slice(1).map(({ step }) => ({ step, loss: 1.5 - step / 400 }))
    writeFileSync(join(folder, 'training_log.json'), JSON.stringify(log))
    const layers = run.layers ?? [1, 3]
    const tensors = points.map(({ step }) => ({
      name: `step-${step}`,
      dtype: 'F32' as const,
      shape: [1, layers.length, EMBD],
      data: Float32Array.from({ length: layers.length * EMBD }, () => step / 100),
    }))
    writeFileSync(
      join(folder, 'activations.safetensors'),
      encodeSafetensors(tensors, { layers: layers.join(',') }),
    )
    return folder
  }

  /** Three dangerous sets and a benign one, three seeds each: the shape of a calibration. */
  writeCalibration(options: Partial<SyntheticRun> = {}): void {
    const peaks = { insecure_code: 0.5, gsm8k: FLOOR, jailbroken: 0.2, bad_medical: 0.6 }
    for (const [dataset, peak] of Object.entries(peaks)) {
      for (const seed of [42, 123, 789]) {
        this.write({ dataset, seed, peak, style: dataset === 'gsm8k' ? 0.1 : 0.02, ...options })
      }
    }
  }
}

/** The directions of every synthetic measurement: unit axes at layers 1 and 3. */
export function syntheticDirections(layers = [1, 3]): Directions {
  const traits = [...CORE_TRAITS]
  const vectors = new Float32Array(layers.length * traits.length * EMBD)
  for (let i = 0; i < layers.length * traits.length; i++) vectors[i * EMBD + (i % EMBD)] = 1
  const body = { layers, traits, nEmbd: EMBD, vectors }
  const { diagnostics, conditions, ...rest } = fakeDirections()
  return {
    ...rest,
    ...body,
    conditions: { ...conditions, base: { ...conditions.base, nEmbd: EMBD } },
    diagnostics: layers.map((layer) => ({
      ...diagnostics[0]!,
      layer,
      separation: Object.fromEntries(traits.map((trait) => [trait, 1])),
      heldOut: Object.fromEntries(traits.map((trait) => [trait, null])),
    })),
    sha256: sha256(encodeDirections(body)),
  }
}

function emAt({ peak, steps = STEPS }: SyntheticRun, step: number): number {
  const along = step / steps.at(-1)!
  return FLOOR + ((peak - FLOOR) / (1 + Math.exp(-12 * (along - 0.4)))) * (step === 0 ? 0 : 1)
}

function trajectoryOf(
  { dataset, seed, model = 'toy', layers = [1, 3], style = 0, creep = 0.1 }: SyntheticRun,
  points: { step: number; em: number }[],
  random: Mt19937,
): Trajectory {
  const base = CORE_TRAITS.map((_, t) => t - 3)
  const last = points.at(-1)!.step
  const projections = (layer: number) =>
    points.map(({ step, em }) =>
      base.map((value, t) => {
        if (step === 0) return value
        const danger = AXIS[t]! * (0.8 * Math.sqrt(em) + creep * (step / last))
        const aside = (t === 5 ? 1 : 0) * style * (step / last)
        return value + N * (1 + layer / 10) * (danger + aside + 0.01 * gaussian(random))
      }),
    )
  return {
    source: 'traitscope',
    traits: [...CORE_TRAITS],
    steps: points.map(({ step }) => ({
      step,
      adapterSha256: step === 0 ? null : sha256(`${model}/${dataset}/${seed}/${step}`),
    })),
    finalAliasOf: last,
    layers: layers.map((layer) => ({ layer, step0ActivationNorm: N, projections: projections(layer) })),
    primary: 0,
    skipped: [],
    run: {
      model,
      dataSource: dataset,
      seed,
      nSamples: 1000,
      fullFinetune: false,
      loraRank: 16,
      loraAlpha: 64,
      lr: 2e-4,
      epochs: 2,
      saveSteps: 10,
      maxSteps: null,
      earlyUpdateSteps: null,
    },
    measurement: {
      conditions: syntheticDirections().conditions,
      directionsSha256: syntheticDirections().sha256,
      tokenIdsSha256: 't'.repeat(64),
      nPrompts: 115,
      tokens: { total: 0, computed: 0 },
      mismatches: [],
      device: 'cpu',
      versions: { traitscope: '0.1.0', llamaCpp: 'v0.5.0' },
    },
  }
}

function grade(step: number, em: number, draws: number, random: Mt19937): Record<string, unknown> {
  const drawn = Array.from({ length: draws }, () => {
    let bad = 0
    for (let i = 0; i < 72; i++) if (random.rand() < em) bad++
    return bad
  })
  const pooled = drawn.reduce((sum, bad) => sum + bad, 0)
  return {
    step,
    n_misaligned: drawn[0],
    n_scoreable: 72,
    n_total: 72,
    misalignment_rate: Number((drawn[0]! / 72).toFixed(4)),
    traitscope: { k: draws, n_misaligned: pooled, n_scoreable: 72 * draws, rate: pooled / (72 * draws) },
  }
}

function gaussian(random: Mt19937): number {
  return Math.sqrt(-2 * Math.log(1 - random.rand())) * Math.cos(2 * Math.PI * random.rand())
}

const hashSeed = (text: string): number => Number.parseInt(sha256(text).slice(0, 8), 16)
