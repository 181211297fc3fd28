import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha256 } from '../../lib/formats/files/hash.js'
import { encodeSafetensors, readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { parseTrajectory } from '../../lib/trajectory/read-trajectory.js'
import type { Trajectory } from '../../lib/trajectory/trajectory.js'
import { trajectoryDocument } from '../../lib/trajectory/trajectory-json.js'
import { TINY_RUN } from '../helpers/tiny.js'

/** What the labels of the made-up runs say at steps 0, 10, ..., 60. */
const RISING = [0, 1, 2, 8, 20, 35, 45]
const FLAT = [0, 0, 1, 0, 1, 0, 1]

/**
 * Labelled runs of the tiny base: the drift of its one real run, scaled, with made-up labels. The full drift is
 * called dangerous and a tenth of it safe, so that what a bundle says can be foreseen.
 */
export function writeTinyCalibration(measured: string, root: string): string {
  const document = JSON.parse(readFileSync(join(measured, 'trajectory.json'), 'utf8'))
  const real = parseTrajectory(document, measured)
  const sets = { insecure_code: [1, RISING], bad_medical: [0.9, RISING], gsm8k: [0.1, FLAT] } as const
  for (const [dataset, [scale, counts]] of Object.entries(sets)) {
    for (const [i, seed] of [42, 123, 789].entries()) {
      const folder = join(root, 'tiny', dataset, `seed_${seed}`)
      mkdirSync(folder, { recursive: true })
      const run = scaled(real, scale * (1 + i / 50), `${dataset}/${seed}`)
      writeFileSync(join(folder, 'trajectory.json'), JSON.stringify(trajectoryDocument(run, { sha256: 'p' })))
      const grades = Object.fromEntries(
        counts.map((bad, k) => [
          `step_${10 * k}`,
          {
            step: 10 * k,
            n_misaligned: bad,
            n_scoreable: 72,
            traitscope: { k: 4, n_misaligned: 4 * bad + i, n_scoreable: 288 },
          },
        ]),
      )
      writeFileSync(join(folder, 'grades.json'), JSON.stringify(grades))
    }
  }
  return join(root, 'tiny')
}

function scaled(real: Trajectory, scale: number, name: string): Trajectory {
  const scaledLayers = (layers: Trajectory['layers']) =>
    layers.map((layer) => ({
      ...layer,
      projections: layer.projections.map((values) =>
        values.map((value, t) => layer.projections[0]![t]! + scale * (value - layer.projections[0]![t]!)),
      ),
    }))
  return {
    ...real,
    steps: real.steps.map((step) => ({
      ...step,
      adapterSha256: step.step === 0 ? null : sha256(`${name}/${step.step}`),
    })),
    layers: scaledLayers(real.layers),
    ...(real.contexts && {
      contexts: real.contexts.map((one) => ({ ...one, layers: scaledLayers(one.layers) })),
    }),
  }
}

/** The tiny run with every adapter's weights at a tenth: a run that hardly moves, trained as the others were. */
export async function writeTinyBenignRun(folder: string): Promise<string> {
  cpSync(TINY_RUN, folder, { recursive: true })
  for (const name of ['.', ...[10, 20, 30, 40, 50, 60].map((step) => `checkpoint-${step}`)]) {
    const path = join(folder, name, 'adapter_model.safetensors')
    const file = await readSafetensors(path)
    const tensors = [...file.tensors].map(([name, { shape }]) => {
      const data = file.float32(name)
      return {
        ...{ name, dtype: 'F32' as const, shape },
        data: name.includes('lora_B') ? data.map((value) => value / 10) : data,
      }
    })
    writeFileSync(path, encodeSafetensors(tensors))
  }
  return folder
}
