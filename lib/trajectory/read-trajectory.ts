import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseConditions } from '../conditions/conditions-json.js'
import { parseEngine } from '../conditions/engine.js'
import { TraitscopeError } from '../errors.js'
import { plainOrGzip } from '../formats/files/gzip.js'
import { checkNamed } from '../formats/files/named-path.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { isFiniteNumber, isIndex, isText, type Json, JsonFields } from '../formats/json/json-fields.js'
import { shown } from '../formats/json/json-scan.js'
import { areContexts } from './context-trajectories.js'
import { isMargin } from './margin-trajectory.js'
import { isNoiseFloor } from './noise-floor.js'
import type {
  LayerTrajectory,
  PromptCategory,
  RunDescription,
  Step,
  StrengthTrajectory,
  Trajectory,
  TrajectoryStep,
} from './trajectory.js'
import { TRAJECTORY_SCHEMA } from './trajectory-json.js'

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
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
  const inside = join(path, TRAJECTORY_FILE)
  const file = isFolder ? ((await plainOrGzip(inside)) ?? inside) : path
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
  points.sort((a, b) => order(a.step) - order(b.step))
  for (const [i, { step }] of points.entries()) {
    if (i > 0 && points[i - 1]!.step === step) invalid(`step ${step} once, found it twice`)
  }
  if (points[0]!.step !== 0) invalid('step 0, which drift is measured from')

  const own = json.traitscope
  if (own !== undefined) {
    if (!isJsonObject(own)) return invalid("an object 'traitscope'")
    return parseOwn(json, own, { traits, points, norm }, where)
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

/** Our own member repeats the primary layer of the reference's fields; both must say the same. */
function parseOwn(
  json: Json,
  own: Json,
  reference: { traits: string[]; points: { step: Step; values: number[] }[]; norm: number },
  where: string,
): Trajectory {
  if (own.schemaVersion !== TRAJECTORY_SCHEMA) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected schema version ${TRAJECTORY_SCHEMA} in ${where}, found ${JSON.stringify(own.schemaVersion)}; update traitscope`,
    )
  }
  const invalid = (field: string, what: string): never => {
    throw new TraitscopeError('FILE_INVALID', `expected 'traitscope.${field}' of ${where} to be ${what}`)
  }
  const { traits, points, norm } = reference
  const { steps, layers, primary, categories, strengths, contexts } = own as unknown as Trajectory
  const { finalAliasOf, margin, skipped, noiseFloor, measurement } = own as unknown as Trajectory
  if (!Array.isArray(steps) || !steps.every((one) => isJsonObject(one) && isStep(one.step))) {
    invalid('steps', 'a list of measured steps')
  }
  if (
    steps[0]?.step !== 0 ||
    steps.some(({ step }, i) => i > 0 && order(step) <= order(steps[i - 1]!.step))
  ) {
    invalid('steps', 'steps that ascend from 0')
  }
  for (const { step, adapter, stateChange, files, remarks, settled } of steps) {
    if (settled !== undefined && !isSettled(settled))
      invalid('steps', `a side, threshold, error and numbers of prompts in 'settled' at step ${step}`)
    if (files !== undefined && !(Array.isArray(files) && files.every(isFileHash)))
      invalid('steps', `files with path and sha256 at step ${step}`)
    if (remarks !== undefined && !(Array.isArray(remarks) && remarks.every(isText)))
      invalid('steps', `remarks that are sentences at step ${step}`)
    if (adapter !== undefined && !isJsonObject(adapter))
      invalid('steps', `an object 'adapter' at step ${step}`)
    const numbers: unknown[] = [adapter?.deltaNorms, stateChange]
    if (adapter?.deltaNorm !== undefined) numbers.push([adapter.deltaNorm])
    if (numbers.some((list) => list !== undefined && !(Array.isArray(list) && list.every(isFiniteNumber)))) {
      invalid('steps', `norms that are finite numbers at step ${step}`)
    }
  }
  const table = (rows: unknown) =>
    Array.isArray(rows) &&
    rows.length === steps.length &&
    rows.every((row) => Array.isArray(row) && row.length === traits.length && row.every(isFiniteNumber))
  const isLayer = (one: LayerTrajectory) =>
    isJsonObject(one) &&
    isIndex(one.layer) &&
    isPositive(one.step0ActivationNorm) &&
    table(one.projections) &&
    (one.std === undefined || table(one.std))
  if (!Array.isArray(layers) || layers.length === 0 || !layers.every(isLayer)) {
    invalid('layers', `a list of layers with ${steps.length} x ${traits.length} finite projections each`)
  }
  if (categories !== undefined) checkCategories(categories, layers, steps.length, traits.length, invalid)
  if (strengths !== undefined) {
    const isStrength = (one: StrengthTrajectory) =>
      isJsonObject(one) &&
      isPositive(one.strength) &&
      Array.isArray(one.layers) &&
      one.layers.map((at) => at?.layer).join() === layers.map(({ layer }) => layer).join() &&
      one.layers.every(isLayer) &&
      Array.isArray(one.stateChange) &&
      one.stateChange.length === steps.length &&
      one.stateChange.every(
        (row) => Array.isArray(row) && row.length === layers.length && row.every(isFiniteNumber),
      )
    if (!Array.isArray(strengths) || !strengths.every(isStrength))
      invalid('strengths', 'a list of strengths above 0, each with the layers and steps of the trajectory')
  }
  if (contexts !== undefined && !areContexts(contexts, layers, isLayer))
    invalid('contexts', 'a list of contexts by name, each with the layers and steps of the trajectory')
  if (margin !== undefined && !isMargin(margin, steps.length))
    invalid('margin', 'the log-probabilities of pairs of answers, for every pair at every step')
  const first = layers[primary]
  if (!first) return invalid('primary', `an index into ${layers.length} layers`)
  if (finalAliasOf !== null && !steps.some(({ step }) => step === finalAliasOf)) {
    invalid('finalAliasOf', 'null or a measured step')
  }
  if (!Array.isArray(skipped)) invalid('skipped', 'a list')
  if (noiseFloor != null && !isNoiseFloor(noiseFloor)) invalid('noiseFloor', 'null or figures per layer')

  if (measurement != null) checkMeasurement(new JsonFields(own, where, 'traitscope.').object('measurement'))

  const stepOf = (step: Step) => (step === 'final' && finalAliasOf !== null ? finalAliasOf : step)
  const agrees =
    first.step0ActivationNorm === norm &&
    points.length === steps.length + (finalAliasOf === null ? 0 : 1) &&
    points.every(({ step, values }) => {
      const row = first.projections[steps.findIndex((one) => one.step === stepOf(step))]
      return row !== undefined && values.every((value, t) => value === row[t])
    })
  if (!agrees)
    invalid('layers', "the same numbers as 'trajectory' has for the primary layer; the file was edited")
  return {
    source: 'traitscope',
    traits,
    steps,
    finalAliasOf,
    layers,
    primary,
    skipped,
    run: runDescription(json),
    ...(categories === undefined ? {} : { categories }),
    ...(strengths === undefined ? {} : { strengths }),
    ...(contexts === undefined ? {} : { contexts }),
    ...(margin === undefined ? {} : { margin }),
    ...(noiseFloor === undefined ? {} : { noiseFloor }),
    ...(measurement == null ? {} : { measurement }),
  }
}

function checkCategories(
  categories: readonly PromptCategory[],
  layers: readonly LayerTrajectory[],
  steps: number,
  traits: number,
  invalid: (field: string, what: string) => never,
): void {
  const isCategory = (one: unknown) =>
    isJsonObject(one) && isText(one.category) && isIndex(one.prompts) && one.prompts > 0
  if (!Array.isArray(categories) || !categories.every(isCategory))
    invalid('categories', 'a list of names with their numbers of prompts')
  const isTable = (rows: unknown, length: number, each: (row: unknown) => boolean) =>
    Array.isArray(rows) && rows.length === length && rows.every(each)
  const fits = ({ categories: of }: LayerTrajectory) =>
    isTable(of, steps, (step) =>
      isTable(step, categories.length, (row) => isTable(row, traits, isFiniteNumber)),
    )
  if (!layers.every(fits))
    invalid('layers', `layers with ${steps} x ${categories.length} x ${traits} projections by category`)
}

/** What later decides whether the numbers may be compared. */
function checkMeasurement(at: JsonFields): void {
  parseConditions(at.object('conditions'))
  at.text('directionsSha256')
  at.text('tokenIdsSha256')
  at.count('nPrompts')
  at.text('device')
  parseEngine(at)
  const { mismatches, remarks = [] } = at.json
  if (!Array.isArray(remarks) || !remarks.every(isText)) at.fail('remarks', 'a list of sentences')
  if (!Array.isArray(mismatches) || !mismatches.every(isText)) at.fail('mismatches', 'a list of sentences')
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
    earlyUpdateSteps: Array.isArray(early) && early.every(isFiniteNumber) ? early : null,
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

const order = (step: Step): number => (step === 'final' ? Number.POSITIVE_INFINITY : step)
const isFileHash = (value: unknown): boolean =>
  isJsonObject(value) && isText(value.path) && isText(value.sha256)
const isSettled = (value: unknown): boolean =>
  isJsonObject(value) &&
  (value.side === 'above' || value.side === 'below') &&
  [value.threshold, value.error].every(isFiniteNumber) &&
  isIndex(value.prompts) &&
  isIndex(value.of) &&
  value.prompts < value.of &&
  isText(value.by)
const isPositive = (value: unknown): value is number => isFiniteNumber(value) && value > 0
const isStep = (value: unknown): value is Step => value === 'final' || isIndex(value)
