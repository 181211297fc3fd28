import { writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { columnMeans } from '../estimators/matrix.js'
import { sha256 } from '../formats/files/hash.js'
import { encodeSafetensors, type SafetensorsInput } from '../formats/safetensors/safetensors.js'
import type { MeasurementPlan } from './measurement-plan.js'
import { TRAJECTORY_FILE } from './read-trajectory.js'
import { runManifest } from './run-manifest.js'
import type { Trajectory } from './trajectory.js'
import { encodeTrajectory } from './trajectory-json.js'

const MANIFEST_FILE = 'run_manifest.json'

export const ACTIVATIONS = ['prompts', 'means', 'none'] as const
export type ActivationKind = (typeof ACTIVATIONS)[number]

/** A measured run, before it is written. */
export interface MeasuredSteps {
  trajectory: Trajectory
  activations: SafetensorsInput[]
}

/** The states of one step as they are kept. */
export function kept(
  kind: Exclude<ActivationKind, 'none'>,
  states: Float32Array,
  shape: readonly [number, number, number],
): Omit<SafetensorsInput, 'name'> {
  if (kind === 'prompts') return { dtype: 'F32', shape, data: states }
  const [rows, ...rest] = shape
  const data = Float32Array.from(columnMeans({ data: states, rows, cols: rest[0] * rest[1] }))
  return { dtype: 'F32', shape: [1, ...rest], data }
}

/** Writes the files of a measurement into a folder that nobody sees yet. */
export async function writeOutputs(
  folder: string,
  plan: MeasurementPlan,
  run: MeasuredSteps,
  further: readonly [name: string, content: string][],
): Promise<void> {
  const { text, sha256: trajectorySha256 } = encodeTrajectory(run.trajectory, plan.pack)
  const files: [name: string, content: string | Uint8Array][] = [...further]
  if (run.activations.length > 0) {
    const layers = plan.directions.layers.join(',')
    // By step, so that the states alone say what they are of.
    const read = run.trajectory.steps.map(({ step, files = [] }) => [step, files])
    const metadata = { layers, files: JSON.stringify(Object.fromEntries(read)) }
    files.push(['activations.safetensors', encodeSafetensors(run.activations, metadata)])
  }
  refuseNames(files.map(([name]) => name))
  const hashes = Object.fromEntries(files.map(([name, content]) => [name, sha256(content)]))
  const manifest = runManifest(run.trajectory, plan.pack, { [TRAJECTORY_FILE]: trajectorySha256, ...hashes })
  await writeFile(join(folder, TRAJECTORY_FILE), text)
  for (const [name, content] of files) await writeFile(join(folder, name), content)
  await writeFile(join(folder, MANIFEST_FILE), `${JSON.stringify(manifest, null, 1)}\n`)
}

/** Further files lie beside ours, under names of their own. */
function refuseNames(names: readonly string[]): void {
  const all = [TRAJECTORY_FILE, MANIFEST_FILE, ...names]
  const odd = names.find(
    (name) => basename(name) !== name || /^\.*$/.test(name) || all.indexOf(name) !== all.lastIndexOf(name),
  )
  if (odd === undefined) return
  throw new TraitscopeError(
    'USAGE',
    `expected alsoWrite to name files of the folder, each once and none that a measurement has, found ${odd}; give it a plain name of its own`,
  )
}
