import { parseConditions } from '../conditions/conditions-json.js'
import { parseEngine } from '../conditions/engine.js'
import { TraitscopeError } from '../errors.js'
import { isJsonObject } from '../formats/json/json.js'
import {
  isFiniteNumber,
  isIndex,
  isNumbers,
  isText,
  isTexts,
  type Json,
  JsonFields,
} from '../formats/json/json-fields.js'
import { areContexts } from './context-trajectories.js'
import { isMargin } from './margin-trajectory.js'
import { isNoiseFloor } from './noise-floor.js'
import { stepOrder } from './step-order.js'
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

type Invalid = (field: string, what: string) => never

/** What the reference's fields of the file say. */
export interface ReferenceFields {
  traits: string[]
  points: { step: Step; values: number[] }[]
  norm: number
  run: RunDescription
}

/**
 * A trajectory by our own member of the file, which repeats the primary layer of the reference's fields; both must say the same.
 *
 * @throws TraitscopeError FILE_INVALID naming the field, UNSUPPORTED (a newer schema)
 */
export function parseOwn(own: Json, reference: ReferenceFields, where: string): Trajectory {
  if (own.schemaVersion !== TRAJECTORY_SCHEMA) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected schema version ${TRAJECTORY_SCHEMA} in ${where}, found ${JSON.stringify(own.schemaVersion)}; update traitscope`,
    )
  }
  const invalid: Invalid = (field, what) => {
    throw new TraitscopeError('FILE_INVALID', `expected 'traitscope.${field}' of ${where} to be ${what}`)
  }
  const { traits, points, norm, run } = reference
  const { steps, layers, primary, categories, strengths, contexts } = own as unknown as Trajectory
  const { finalAliasOf, margin, skipped, noiseFloor, measurement } = own as unknown as Trajectory
  checkSteps(steps, invalid)
  const table = (rows: unknown) =>
    Array.isArray(rows) && rows.length === steps.length && rows.every((row) => isNumbers(row, traits.length))
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
  if (strengths !== undefined) checkStrengths(strengths, layers, isLayer, steps.length, invalid)
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
    run,
    ...(categories === undefined ? {} : { categories }),
    ...(strengths === undefined ? {} : { strengths }),
    ...(contexts === undefined ? {} : { contexts }),
    ...(margin === undefined ? {} : { margin }),
    ...(noiseFloor === undefined ? {} : { noiseFloor }),
    ...(measurement == null ? {} : { measurement }),
  }
}

function checkSteps(steps: readonly TrajectoryStep[], invalid: Invalid): void {
  if (!Array.isArray(steps) || !steps.every((one) => isJsonObject(one) && isStep(one.step))) {
    invalid('steps', 'a list of measured steps')
  }
  if (
    steps[0]?.step !== 0 ||
    steps.some(({ step }, i) => i > 0 && stepOrder(step) <= stepOrder(steps[i - 1]!.step))
  ) {
    invalid('steps', 'steps that ascend from 0')
  }
  for (const { step, adapter, stateChange, files, remarks, settled } of steps) {
    if (settled !== undefined && !isSettled(settled))
      invalid('steps', `a side, threshold, error and numbers of prompts in 'settled' at step ${step}`)
    if (files !== undefined && !(Array.isArray(files) && files.every(isFileHash)))
      invalid('steps', `files with path and sha256 at step ${step}`)
    if (remarks !== undefined && !isTexts(remarks))
      invalid('steps', `remarks that are sentences at step ${step}`)
    if (adapter !== undefined && !isJsonObject(adapter))
      invalid('steps', `an object 'adapter' at step ${step}`)
    const numbers: unknown[] = [adapter?.deltaNorms, stateChange]
    if (adapter?.deltaNorm !== undefined) numbers.push([adapter.deltaNorm])
    if (numbers.some((list) => list !== undefined && !isNumbers(list))) {
      invalid('steps', `norms that are finite numbers at step ${step}`)
    }
  }
}

function checkStrengths(
  strengths: readonly StrengthTrajectory[],
  layers: readonly LayerTrajectory[],
  isLayer: (one: LayerTrajectory) => boolean,
  steps: number,
  invalid: Invalid,
): void {
  const isStrength = (one: StrengthTrajectory) =>
    isJsonObject(one) &&
    isPositive(one.strength) &&
    Array.isArray(one.layers) &&
    one.layers.map((at) => at?.layer).join() === layers.map(({ layer }) => layer).join() &&
    one.layers.every(isLayer) &&
    Array.isArray(one.stateChange) &&
    one.stateChange.length === steps &&
    one.stateChange.every((row) => isNumbers(row, layers.length))
  if (!Array.isArray(strengths) || !strengths.every(isStrength))
    invalid('strengths', 'a list of strengths above 0, each with the layers and steps of the trajectory')
}

function checkCategories(
  categories: readonly PromptCategory[],
  layers: readonly LayerTrajectory[],
  steps: number,
  traits: number,
  invalid: Invalid,
): void {
  const isCategory = (one: unknown) =>
    isJsonObject(one) && isText(one.category) && isIndex(one.prompts) && one.prompts > 0
  if (!Array.isArray(categories) || !categories.every(isCategory))
    invalid('categories', 'a list of names with their numbers of prompts')
  const isTable = (rows: unknown, length: number, each: (row: unknown) => boolean) =>
    Array.isArray(rows) && rows.length === length && rows.every(each)
  const fits = ({ categories: of }: LayerTrajectory) =>
    isTable(of, steps, (step) => isTable(step, categories.length, (row) => isNumbers(row, traits)))
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
  if (!isTexts(remarks)) at.fail('remarks', 'a list of sentences')
  if (!isTexts(mismatches)) at.fail('mismatches', 'a list of sentences')
}

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
export const isPositive = (value: unknown): value is number => isFiniteNumber(value) && value > 0
export const isStep = (value: unknown): value is Step => value === 'final' || isIndex(value)
