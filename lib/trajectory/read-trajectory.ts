import { join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { isFolder } from '../formats/files/file-stats.js'
import { plainOrGzip } from '../formats/files/gzip.js'
import { checkNamed } from '../formats/files/named-path.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { isFiniteNumber, isIndex, isNumbers, type Json } from '../formats/json/json-fields.js'
import { shown } from '../formats/json/json-scan.js'
import { isPositive, isStep, parseOwn } from './own-trajectory.js'
import { stepOrder } from './step-order.js'
import type { RunDescription, Trajectory, TrajectoryStep } from './trajectory.js'

export const TRAJECTORY_FILE = 'trajectory.json'

/**
 * Reference files carry about three digits, so a repeated final adapter may differ from its step in the last
 * of them.
 */
const ALIAS_TOLERANCE = 1e-3

/**
 * Reads a `trajectory.json` (or `.json.gz`), ours or either version of the reference's, or the one in a folder.
 *
 * @throws TraitscopeError FILE_NOT_FOUND, FILE_INVALID naming the field or the step and trait, UNSUPPORTED (a
 * newer schema)
 */
export async function readTrajectory(path: string): Promise<Trajectory> {
  checkNamed(path, 'a trajectory')
  const inside = join(path, TRAJECTORY_FILE)
  const file = (await isFolder(path)) ? ((await plainOrGzip(inside)) ?? inside) : path
  return parseTrajectory(await readJsonFile(file), file)
}

/** {@link readTrajectory} of parsed JSON; `where` names it in errors. */
export function parseTrajectory(json: unknown, where: string): Trajectory {
  const invalid = (what: string): never => {
    throw new TraitscopeError('FILE_INVALID', `expected ${where} to hold ${what}`)
  }
  if (!isJsonObject(json)) return invalid('a JSON object')
  const entries = json.trajectory
  if (!Array.isArray(entries) || entries.length === 0)
    return invalid("a list 'trajectory' with at least one step")
  const norm = json.step0_activation_norm
  if (!isPositive(norm)) return invalid("a positive number 'step0_activation_norm'")
  const traits =
    traitOrder(json, entries) ?? invalid("trait names in 'trait_order' or in the first 'projections'")

  const points = entries.map((entry: unknown, i) => {
    if (!isJsonObject(entry) || !isStep(entry.step) || !isJsonObject(entry.projections)) {
      return invalid(`'trajectory[${i}]' with a step (an integer or "final") and projections`)
    }
    const { step, projections } = entry
    const values = traits.map((trait) => {
      const value = Object.hasOwn(projections, trait) ? projections[trait] : undefined
      return isFiniteNumber(value)
        ? value
        : invalid(`a finite projection of ${trait} at step ${step}, found ${shown(value)}`)
    })
    return { step, values }
  })
  points.sort((a, b) => stepOrder(a.step) - stepOrder(b.step))
  for (const [i, { step }] of points.entries()) {
    if (i > 0 && points[i - 1]!.step === step) invalid(`step ${step} once, found it twice`)
  }
  if (points[0]!.step !== 0) invalid('step 0, which drift is measured from')

  const own = json.traitscope
  if (own !== undefined) {
    if (!isJsonObject(own)) return invalid("an object 'traitscope'")
    return parseOwn(own, { traits, points, norm, run: runDescription(json) }, where)
  }
  const layer = isIndex(json.measurement_layer) ? json.measurement_layer : null
  const last = points.at(-1)!
  const before = points.at(-2)
  const repeats =
    last.step === 'final' &&
    before !== undefined &&
    before.step !== 0 &&
    last.values.every((value, t) => Math.abs(value - before.values[t]!) <= ALIAS_TOLERANCE * norm)
  const kept = repeats ? points.slice(0, -1) : points
  return {
    source: json.trait_order === undefined ? 'reference-v1' : 'reference-v2',
    traits,
    steps: kept.map(({ step }): TrajectoryStep => ({ step, adapterSha256: null })),
    finalAliasOf: repeats ? (before.step as number) : null,
    layers: [{ layer, step0ActivationNorm: norm, projections: kept.map(({ values }) => values) }],
    primary: 0,
    skipped: [],
    run: runDescription(json),
  }
}

function runDescription(json: Json): RunDescription {
  const number = (key: string) => (isFiniteNumber(json[key]) ? (json[key] as number) : null)
  const text = (key: string) => (typeof json[key] === 'string' ? (json[key] as string) : null)
  const early = json.early_update_steps
  return {
    model: text('model'),
    dataSource: text('data_source'),
    seed: number('seed'),
    nSamples: number('n_samples'),
    fullFinetune: json.full_finetune === true,
    loraRank: number('lora_rank'),
    loraAlpha: number('lora_alpha'),
    lr: number('lr'),
    epochs: number('epochs'),
    saveSteps: number('save_steps'),
    maxSteps: number('max_steps'),
    earlyUpdateSteps: isNumbers(early) ? early : null,
  }
}

/** Version 2 says the order; version 1 has it as the order of keys. */
function traitOrder(json: Json, entries: unknown[]): string[] | undefined {
  const [first] = entries
  const keys = isJsonObject(first) && isJsonObject(first.projections) ? Object.keys(first.projections) : []
  const names: unknown = json.trait_order ?? keys
  if (!Array.isArray(names) || names.length === 0 || !names.every((name) => typeof name === 'string'))
    return undefined
  return new Set(names).size === names.length ? names : undefined
}
