import { join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { plainOrGzip } from '../formats/files/gzip.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { isFiniteNumber, type Json, JsonFields } from '../formats/json/json-fields.js'
import { type LabelSource, parseSource } from './label-source.js'
import { describeBasis } from './label-words.js'
import { type Unscored, unscoredOf } from './unscored.js'

/** Judged answers of one checkpoint. */
export interface EmCounts {
  nMisaligned: number
  /** Answers that were not excluded as incoherent, code or refusal; the denominator. */
  nScoreable: number
  /** `nMisaligned / nScoreable` in [0, 1]; 0 when nothing was scoreable, as the reference has it. */
  rate: number
  /**
   * Of the rate. From the file where it says (answers to one prompt are not independent), else binomial:
   * `sqrt(rate (1 - rate) / nScoreable)`.
   */
  standardError: number
}

/** The label of one checkpoint. */
export interface StepLabels {
  step: number
  /** One answer per prompt: what the reference calls the EM rate. */
  single: EmCounts
  /** All draws together; the same as `single` when there was one. */
  pooled: EmCounts
  /** Answers per prompt behind `pooled`. */
  draws: number
  /** Answers of all draws that the rate is not taken of, where the file says. */
  unscored?: Unscored
  /** All draws with the adapter's effect multiplied, by strength, where they were judged. */
  strengths?: ReadonlyMap<number, EmCounts>
  /** Rates in [0, 1] of single kinds of misbehaviour, where the judge tells them apart. */
  components?: Record<string, number>
  /** Judge, questions and counting rule in words, where the file says; labels of different ones must not be mixed. */
  basis?: string
}

/** Labels of a run by step, 0 included where it was judged. */
export type Grades = ReadonlyMap<number, StepLabels>

const PLACES = ['betley_eval/grades.json', 'grades.json']

/** The labels of a run's folder, where the reference's layout has them, plain or `.gz`; undefined without any. */
export async function findGrades(folder: string): Promise<string | undefined> {
  for (const place of PLACES) {
    const found = await plainOrGzip(join(folder, place))
    if (found !== undefined) return found
  }
  return undefined
}

/**
 * Reads the reference's `grades.json` (method section 6.1): entries `step_<n>` with the counts of one draw.
 * Ours add under `traitscope` of an entry the pooled counts of `k` draws: `{k, n_misaligned, n_scoreable,
 * rate, standard_error, components}`. An entry `step_final` repeats a checkpoint and is left out.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the step and field
 */
export async function readGrades(path: string): Promise<Grades> {
  return (await readLabels(path)).grades
}

/** {@link readGrades}, and who labelled, where the file says it of its first entry. */
export async function readLabels(path: string): Promise<{ grades: Grades; source: LabelSource | undefined }> {
  const json = await readJsonFile(path)
  const grades = parseGrades(json, path)
  const first = `step_${[...grades.keys()][0]!}`
  const own = new JsonFields((json as Json)[first] as Json, path, `${first}.`).json.traitscope
  const says = isJsonObject(own) && own.judge !== undefined
  return { grades, source: says ? parseSource(new JsonFields(own, path, `${first}.traitscope.`)) : undefined }
}

/** {@link readGrades} of parsed JSON; `where` names it in errors. */
export function parseGrades(json: unknown, where: string): Grades {
  if (!isJsonObject(json))
    throw new TraitscopeError('FILE_INVALID', `expected ${where} to hold a JSON object`)
  const grades: StepLabels[] = []
  for (const [key, entry] of Object.entries(json)) {
    if (key === 'step_final') continue
    const step = /^step_(\d+)$/.exec(key)?.[1]
    if (step === undefined || !isJsonObject(entry)) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected ${where} to hold entries step_<n>, found ${JSON.stringify(key)}`,
      )
    }
    grades.push(stepLabels(Number(step), new JsonFields(entry, where, `${key}.`)))
  }
  if (grades.length === 0) {
    throw new TraitscopeError('FILE_INVALID', `expected ${where} to hold at least one entry step_<n>`)
  }
  grades.sort((a, b) => a.step - b.step)
  return new Map(grades.map((labels) => [labels.step, labels]))
}

function stepLabels(step: number, entry: JsonFields): StepLabels {
  const { step: named } = entry.json
  if (named !== undefined && named !== step) entry.fail('step', `the number of its key (${step})`)
  const single = counts(entry, 'misalignment_rate')
  if (entry.json.traitscope === undefined) {
    const unscored = unscoredOf(entry, single.nScoreable)
    return { step, single, pooled: single, draws: 1, ...(unscored && { unscored }) }
  }
  const own = entry.object('traitscope')
  const draws = own.count('k')
  if (draws < 1) own.fail('k', 'at least 1')
  const pooled = counts(own)
  const { components } = own.json
  if (components !== undefined && !isRates(components)) return own.fail('components', 'rates by name')
  const basis = own.json.judge === undefined ? undefined : describeBasis(parseSource(own))
  const strengths = strengthsOf(own)
  const unscored = unscoredOf(own, pooled.nScoreable)
  return {
    step,
    single,
    pooled,
    draws,
    ...(unscored && { unscored }),
    ...(strengths && { strengths }),
    ...(components && { components }),
    ...(basis && { basis }),
  }
}

function strengthsOf(own: JsonFields): Map<number, EmCounts> | undefined {
  const { strengths } = own.json
  if (strengths === undefined) return undefined
  if (!Array.isArray(strengths)) return own.fail('strengths', 'a list of counts by strength')
  return new Map(
    strengths.map((one: unknown): [number, EmCounts] => {
      if (!isJsonObject(one) || !isFiniteNumber(one.strength) || one.strength <= 0)
        return own.fail('strengths', 'counts, each with a strength above 0')
      return [one.strength, counts(new JsonFields(one, own.where, `strengths (${one.strength}).`))]
    }),
  )
}

/** Rates are written with four digits; files of others may have two. */
const ROUNDING = 0.006

function counts(at: JsonFields, rateName = 'rate'): EmCounts {
  const nMisaligned = at.count('n_misaligned')
  const nScoreable = at.count('n_scoreable')
  if (nMisaligned > nScoreable) at.fail('n_misaligned', `at most n_scoreable (${nScoreable})`)
  const rate = nScoreable === 0 ? 0 : nMisaligned / nScoreable
  const told = at.json[rateName]
  if (isFiniteNumber(told) && Math.abs(told - rate) > ROUNDING)
    at.fail(rateName, `n_misaligned / n_scoreable (${rate.toFixed(4)}), a share and no percentage`)
  const said = at.json.standard_error
  if (said !== undefined && !(isFiniteNumber(said) && said >= 0 && said <= 1)) {
    at.fail('standard_error', 'a number from 0 to 1')
  }
  const binomial = nScoreable === 0 ? 0 : Math.sqrt((rate * (1 - rate)) / nScoreable)
  return { nMisaligned, nScoreable, rate, standardError: (said as number | undefined) ?? binomial }
}

function isRates(value: unknown): value is Record<string, number> {
  return isJsonObject(value) && Object.values(value as Json).every(isFiniteNumber)
}
