import { join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { matrixFromRows } from '../estimators/matrix.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { isFiniteNumber, isText, JsonFields } from '../formats/json/json-fields.js'
import type { EmCounts } from '../labels/grades.js'
import { UNSCORED_KINDS, type Unscored } from '../labels/unscored.js'
import { packageRoot } from '../package.js'
import { effectiveAnswers } from './label-noise.js'
import type { PriorErrors } from './memory.js'
import { RateModel, SaturatingRidge } from './rate-model.js'

/** The prior that ships. */
export const PRIOR_FILE = join(packageRoot, 'priors', 'organisms.json.gz')

/** 1 had drifts in units of each trait's own contrast. */
const SCHEMA = 2
/** As many judged sets of a base's own does everything that is known of other bases count for. */
export const PRIOR_SETS = 12
/** Own and shared model count alike at this many sets of the base's own. */
export const OWN_SETS = 48

/** With so many sets of the base's own an alarm fires at the cut. */
const CUT_SETS = 6

/** Where a pooled detector fires: at the prior's threshold without sets of the base's own, at the cut with some. */
export const pooledThreshold = ({ cut, threshold }: Prior, sets: number): number =>
  cut - (cut - threshold) * Math.max(0, 1 - sets / CUT_SETS)

/** In how many parts sets are left out where the errors of a prior are told. */
const FOLDS = 4

/**
 * Penalty on standardised features, per row: larger than for one base, since what tells the sets of a base apart must not be spent on
 * telling bases apart.
 */
const RIDGE_ALPHA = 1 / 64

/** A base that a prior learned from. */
export interface PriorModel {
  name: string
  /** See `Conditions`. */
  fingerprint: string
  /** Content hash of the trait pack that its drifts were measured with. */
  traitPack: string
}

/** One judged checkpoint of such a base. */
export interface PriorRow {
  /** Index of its base, and name of its fine-tuning set. */
  model: number
  dataset: string
  /** Drift in contrast units at the prior's depths, see `contrastOf`. */
  features: number[]
  label: EmCounts
  /** Answers that the rate is not taken of, where the label says. */
  unscored?: Unscored | undefined
}

/** Judged runs of the base itself, in contrast units. */
export interface OwnRows {
  features: readonly (readonly number[])[]
  labels: readonly EmCounts[]
  /** Fine-tuning set of each. */
  datasets: readonly string[]
}

/** Judged runs of other bases, in units that are comparable between bases: what a base without judged runs goes by. */
export class Prior {
  constructor(
    /** Rates above it were taken as dangerous. */
    readonly cut: number,
    /** Predicted rates above it alarm where no run of the base itself was judged. */
    readonly threshold: number,
    readonly traits: readonly string[],
    /** `(block + 1) / blocks` of the blocks that are read, in (0, 1]. */
    readonly depths: readonly number[],
    readonly models: readonly PriorModel[],
    readonly rows: readonly PriorRow[],
  ) {}

  /**
   * The same prior without what it learned from one base: a base is no evidence about itself.
   *
   * @throws TraitscopeError NOT_COMPARABLE when it learned from no other
   */
  without(fingerprint: string): Prior {
    const left = this.where(({ model }) => this.models[model]!.fingerprint !== fingerprint)
    if (left.rows.length > 0) return left
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      'the prior learned from this base alone, which is no evidence about itself; give one that learned from others',
    )
  }

  /** The same prior with danger beginning elsewhere. */
  at(cut: number): Prior {
    const { threshold, traits, depths, models, rows } = this
    return new Prior(cut, (threshold / this.cut) * cut, traits, depths, models, rows)
  }

  /** The same prior with some of its rows. */
  where(keep: (row: PriorRow) => boolean): Prior {
    const { cut, threshold, traits, depths, models, rows } = this
    return new Prior(cut, threshold, traits, depths, models, rows.filter(keep))
  }

  /** Names of the bases that rows are left of. */
  get names(): string[] {
    const left = new Set(this.rows.map(({ model }) => model))
    return this.models.filter((_, i) => left.has(i)).map(({ name }) => name)
  }

  /** The ridge on all rows and, where there are any, on those of the base itself. */
  ridge(own?: OwnRows): SaturatingRidge {
    const sets = new Set(own?.datasets).size
    const answers = share(
      this.rows.map(({ label }) => effectiveAnswers(label)),
      PRIOR_SETS,
    )
    const ownAnswers = own
      ? share(
          own.labels.map((label) => effectiveAnswers(label)),
          sets,
        )
      : []
    const alpha = RIDGE_ALPHA * this.rows.length
    // The more the base itself says, the less there is to tell between bases.
    const ridge = new SaturatingRidge(this.cut, (alpha * PRIOR_SETS) / (PRIOR_SETS + sets))
    ridge.fit(
      matrixFromRows([...this.rows.map(({ features }) => features), ...(own?.features ?? [])]),
      [...this.rows.map(({ label }) => label), ...(own?.labels ?? [])],
      [...answers, ...ownAnswers],
    )
    return ridge
  }

  /** Rates in [0, 1] of drifts in contrast units, one row each. */
  rates(features: readonly (readonly number[])[]): Float64Array {
    return new RateModel('prior', this.cut, [this.ridge()]).predict(features)
  }

  /** What rows are predicted to be without their base and their set; intervals come from it. */
  errors(weight: number): PriorErrors {
    const sets = [...new Set(this.rows.map(({ dataset }) => dataset))].sort()
    const groups = new Map<string, number>()
    const errors: PriorErrors['errors'] = []
    for (const model of this.models.keys()) {
      for (let fold = 0; fold < Math.min(FOLDS, sets.length); fold++) {
        const inFold = ({ dataset }: PriorRow) => sets.indexOf(dataset) % FOLDS === fold
        const held = this.rows.filter((row) => row.model === model && inFold(row))
        const rest = this.where((row) => row.model !== model && !inFold(row))
        if (held.length === 0 || rest.rows.length === 0) continue
        const predicted = rest.rates(held.map(({ features }) => features))
        for (const [i, { dataset, label }] of held.entries()) {
          const name = `${model} ${dataset}`
          if (!groups.has(name)) groups.set(name, groups.size)
          errors.push([predicted[i]!, label.rate, groups.get(name)!, model])
        }
      }
    }
    return { errors, weight }
  }

  /** What a prior's file holds. */
  toJSON(): Record<string, unknown> {
    const datasets = [...new Set(this.rows.map(({ dataset }) => dataset))]
    const { cut, threshold, traits, depths, models } = this
    return {
      schemaVersion: SCHEMA,
      kind: 'traitscope-prior',
      ...{ cut, threshold, traits, depths, models, datasets },
      unscored: this.rows.map(({ unscored }) =>
        unscored ? [...UNSCORED_KINDS.map((kind) => unscored[kind]), unscored.total] : null,
      ),
      rows: this.rows.map(({ model, dataset, features, label }) => [
        ...[model, datasets.indexOf(dataset), label.nMisaligned, label.nScoreable, label.standardError],
        ...features.map((value) => Number(value.toPrecision(3))),
      ]),
    }
  }
}

/** Answers scaled so that they sum to `total`. */
function share(answers: readonly number[], total: number): number[] {
  const sum = answers.reduce((a, b) => a + b, 0)
  return answers.map((n) => (n / sum) * total)
}

/**
 * Reads what is known of other bases.
 *
 * @param path default: the prior that ships
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the field; UNSUPPORTED for a newer schema
 */
export async function loadPrior(path = PRIOR_FILE): Promise<Prior> {
  const json = await readJsonFile(path)
  if (!isJsonObject(json) || json.kind !== 'traitscope-prior') {
    throw new TraitscopeError('FILE_INVALID', `expected ${path} to hold a prior`)
  }
  if (json.schemaVersion !== SCHEMA) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected schema version ${SCHEMA} in ${path}, found ${json.schemaVersion}; ${json.schemaVersion === 1 ? 'its drifts are in another unit: make it again' : 'update traitscope'}`,
    )
  }
  const at = new JsonFields(json, path, '')
  const number = (key: string) =>
    isFiniteNumber(json[key]) ? (json[key] as number) : at.fail(key, 'a number')
  const traits = at.list('traits', isText, 'trait names')
  const depths = at.list('depths', isFiniteNumber, 'depths')
  const datasets = at.list('datasets', isText, 'fine-tuning sets')
  const models = at.list('models', isPriorModel, 'bases with a name, a fingerprint and a traitPack')
  const width = 5 + traits.length * depths.length
  const isRow = (row: unknown): row is number[] =>
    Array.isArray(row) && row.length === width && row.every(isFiniteNumber)
  const rows = at.list('rows', isRow, `rows of ${width} numbers`)
  const unscored = Array.isArray(json.unscored) ? json.unscored.map(parseUnscored) : []
  return new Prior(
    number('cut'),
    number('threshold'),
    traits,
    depths,
    models,
    rows.map(([model, dataset, nMisaligned, nScoreable, standardError, ...features], i) => ({
      model: models[model!] === undefined ? at.fail('rows', 'rows of known bases') : model!,
      unscored: unscored[i],
      dataset: datasets[dataset!] ?? at.fail('rows', 'rows of known sets'),
      features,
      label: {
        nMisaligned: nMisaligned!,
        nScoreable: nScoreable!,
        rate: nScoreable === 0 ? 0 : nMisaligned! / nScoreable!,
        standardError: standardError!,
      },
    })),
  )
}

const isPriorModel = (value: unknown): value is PriorModel =>
  isJsonObject(value) && [value.name, value.fingerprint, value.traitPack].every(isText)

function parseUnscored(counts: unknown): Unscored | undefined {
  if (!Array.isArray(counts) || !counts.every(isFiniteNumber)) return undefined
  const [incoherent, refusal, code, total] = counts as number[]
  return { incoherent: incoherent!, refusal: refusal!, code: code!, total: total! }
}
