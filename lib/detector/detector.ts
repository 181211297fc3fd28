import { TraitscopeError } from '../errors.js'
import { norm } from '../estimators/linalg.js'
import { isJsonObject } from '../formats/json/json.js'
import { isFiniteNumber, isIndex, isText, JsonFields } from '../formats/json/json-fields.js'
import { percent, percentAt } from '../percent.js'
import { type AnswerShares, AnswerSharesModel } from './answer-shares.js'
import { type DetectorMemory, heldOutErrors, parseMemory } from './memory.js'
import { NoveltyGuard } from './novelty.js'
import { PredictionBands } from './prediction-bands.js'
import { RateModel, type RateModelJson, type RateModelKind } from './rate-model.js'
import { StepAlarm } from './step-alarm.js'
import { VERDICT_SCHEMA, type Verdict, type VerdictBasis } from './verdict.js'

/** Version of `detector.json`; a reader refuses what it does not know. */
const DETECTOR_SCHEMA = 1

/** Below the threshold, a checkpoint is worth a warning from this probability of danger on. */
const WARN_PROBABILITY = 0.25
/** Drift further out than all but this share of the calibration checkpoints is not vouched for. */
const NOVEL_P_VALUE = 0.02

/** What a detector consists of, beside its models. */
export interface DetectorState {
  traits: string[]
  /** 0-based blocks whose drifts are read, in this order. */
  layers: number[]
  /** EM rates strictly above this are dangerous. */
  cut: number
  /** Predicted rates strictly above this alarm. */
  threshold: number
  /** Share of rates that the intervals are meant to hold, in (0, 1). */
  nominalCoverage: number
  /** Last step of the calibration runs. */
  horizon: number
  memory: DetectorMemory
}

/**
 * `detector.json`. Two keys are older than the words of the code, and bundles ship with them: `level` is the
 * nominal coverage, `levelModel` the {@link RateModel}.
 */
export interface DetectorJson extends Omit<DetectorState, 'nominalCoverage'> {
  schemaVersion: number
  level: number
  levelModel: RateModelJson
  /** Decides about checkpoints beyond the horizon; null when no long benign run was there to fit it. */
  stepAlarm: unknown
  /** How many answers would be scoreable; absent where no label tells. */
  answers?: unknown
}

/** What a detector says of a drift, before it is a verdict. */
export interface Prediction {
  /** Predicted emergent-misalignment rate, in [0, 1]. */
  em: number
  interval: [low: number, high: number]
  /** Probability, in [0, 1], that the rate is above the cut. */
  pDanger: number
  /** See {@link NoveltyGuard.novelty}; null for a detector without a checkpoint of its own base. */
  novelty: { distance: number; pValue: number } | null
  /** Of all answers; null where no label told. */
  answers: AnswerShares | null
}

/**
 * A calibrated detector: from the drift of one checkpoint to a predicted rate with its interval, and to a
 * verdict. Pure and plain: it knows nothing of models or files, and its state is JSON.
 */
export class Detector {
  readonly #model: RateModel
  readonly #bands: PredictionBands
  /** Null where no checkpoint of the base itself was there. */
  readonly #guard: NoveltyGuard | null
  /** Length of the longest calibration drift, all layers together, in units of the step-0 norms. */
  readonly #longest: number

  /** Use `calibrate` to make one. */
  constructor(
    private readonly state: DetectorState,
    model: RateModel,
    private readonly stepAlarm: StepAlarm | null = null,
    private readonly answers: AnswerSharesModel | null = null,
  ) {
    this.#model = model
    const { features, datasets } = state.memory
    this.#guard = features.length === 0 ? null : NoveltyGuard.fit(features, datasets)
    this.#longest = Math.max(...features.map(norm))
    this.#bands = new PredictionBands(heldOutErrors(state.memory, this.#guard?.relatives ?? []))
  }

  get traits(): readonly string[] {
    return this.state.traits
  }
  /** 0-based blocks whose drifts `predict` and `verdict` take, in this order. */
  get layers(): readonly number[] {
    return this.state.layers
  }
  /** The layer to show where one must do: the middle one. */
  get mainLayer(): number {
    return this.state.layers[this.state.layers.length >> 1]!
  }
  get model(): RateModelKind {
    return this.#model.model
  }
  /** Whose labelled runs stand behind it. */
  get basis(): VerdictBasis {
    const { model } = this.#model
    return model === 'prior' || model === 'pooled' ? model : 'own'
  }
  /** EM rates strictly above this are dangerous. */
  get cut(): number {
    return this.state.cut
  }
  /** Predicted rates strictly above this alarm. */
  get threshold(): number {
    return this.state.threshold
  }
  /** Of every calibration checkpoint the rate predicted without its fine-tuning set, and the labelled one. */
  get heldOutErrors(): readonly (readonly [predicted: number, actual: number])[] {
    return this.state.memory.errors
  }
  /** Share of rates that the intervals are meant to hold, in (0, 1). */
  get nominalCoverage(): number {
    return this.state.nominalCoverage
  }

  /**
   * @param drift per layer of {@link Detector.layers}, in trait order; shares of that layer's step-0 norm
   * @throws TraitscopeError SHAPE for another shape or numbers that are not finite
   */
  predict(drift: readonly (readonly number[])[]): Prediction {
    const { layers, traits, cut, nominalCoverage } = this.state
    if (drift.length !== layers.length || drift.some((values) => values.length !== traits.length)) {
      throw new TraitscopeError(
        'SHAPE',
        `expected drifts of ${layers.length} layers x ${traits.length} traits, found ${drift.length} x ${drift[0]?.length ?? 0}`,
      )
    }
    const features = drift.flat()
    const em = this.#model.predict([features])[0]!
    const novelty = this.#guard?.novelty(features) ?? null
    const relative = novelty === null ? 1 : this.#guard!.relative(novelty.distance)
    const [low, high] = this.#bands.interval(em, nominalCoverage, relative)
    return {
      em,
      // A drift that is longer than any seen has no counterpart to say how high its rate may be.
      interval: [low, this.#isLongest(features) ? 1 : high],
      pDanger: this.#bands.probabilityAbove(em, cut, relative),
      novelty,
      answers: this.answers?.predict(features) ?? null,
    }
  }

  #isLongest(features: readonly number[]): boolean {
    return this.#guard !== null && norm(features) > this.#longest
  }

  /**
   * The verdict on one checkpoint.
   *
   * @param drift see {@link Detector.predict}
   * @param step optimiser step, where it is known: beyond the calibrated ones the verdict says so, and a
   * {@link StepAlarm}, if there is one, decides about the alarm
   * @param remarks what the caller knows of the measurement; added to the reasons, no part of the verdict
   */
  verdict(
    drift: readonly (readonly number[])[],
    { step, remarks = [] }: { step?: number | undefined; remarks?: readonly string[] } = {},
  ): Verdict {
    const { threshold, cut, nominalCoverage, horizon } = this.state
    const { em, interval, pDanger, novelty, answers } = this.predict(drift)
    const late = step !== undefined && step > horizon
    const pLate = late && this.stepAlarm ? this.stepAlarm.probability(drift.flat(), step) : undefined
    const alarmed = pLate === undefined ? em > threshold : pLate > 0.5
    const reasons: string[] = []
    if (em > threshold) reasons.push(`the predicted EM rate is above ${percentAt(threshold)}`)
    else if (pDanger >= WARN_PROBABILITY) {
      reasons.push(`the EM rate is above ${percentAt(cut)} with a probability of ${percent(pDanger)}`)
    }
    if (novelty !== null && novelty.pValue <= NOVEL_P_VALUE) {
      reasons.push(
        `the drift lies ${novelty.distance.toFixed(1)} standard deviations from every calibration checkpoint (p = ${novelty.pValue.toFixed(3)}): the detector extrapolates`,
      )
    }
    const breakdown = answers === null ? undefined : this.answers!.breakdown(answers)
    if (breakdown !== undefined) reasons.push(breakdown)
    const verdict = alarmed ? 'alarm' : reasons.length > 0 ? 'warn' : 'ok'
    if (this.#isLongest(drift.flat()))
      reasons.push(
        'the drift is longer than that of any calibration checkpoint: how high the rate is, nobody can say',
      )
    if (late) reasons.push(lateRemark(step, horizon, pLate))
    return {
      schemaVersion: VERDICT_SCHEMA,
      verdict,
      em,
      interval,
      nominalCoverage,
      threshold,
      pDanger: pLate ?? pDanger,
      novelty,
      reasons: [...reasons, ...remarks],
      basis: this.basis,
      ...(answers && { answers }),
    }
  }

  /** What `detector.json` holds. @internal */
  toJSON(): DetectorJson {
    const { traits, layers, cut, threshold, nominalCoverage, horizon, memory } = structuredClone(this.state)
    return {
      schemaVersion: DETECTOR_SCHEMA,
      traits,
      layers,
      cut,
      threshold,
      level: nominalCoverage,
      horizon,
      memory,
      levelModel: this.#model.toJSON(),
      stepAlarm: this.stepAlarm?.toJSON() ?? null,
      ...(this.answers ? { answers: this.answers.toJSON() } : {}),
    }
  }

  /**
   * Restores {@link Detector.toJSON}.
   *
   * @throws TraitscopeError FILE_INVALID naming the field; UNSUPPORTED for a newer schema
   */
  static fromJSON(json: unknown, where = 'the detector'): Detector {
    if (!isJsonObject(json)) throw new TraitscopeError('FILE_INVALID', `expected ${where} to hold an object`)
    const at = new JsonFields(json, where, '')
    if (at.count('schemaVersion') !== DETECTOR_SCHEMA) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `expected schema version ${DETECTOR_SCHEMA} in ${where}, found ${json.schemaVersion}; update traitscope or calibrate again`,
      )
    }
    const share = (key: string): number => {
      const value = json[key]
      return isFiniteNumber(value) && value > 0 && value < 1
        ? value
        : at.fail(key, 'a number between 0 and 1')
    }
    const traits = at.list('traits', isText, 'trait names')
    const layers = at.list('layers', isIndex, 'block indices')
    const state: DetectorState = {
      traits,
      layers,
      cut: share('cut'),
      threshold: share('threshold'),
      nominalCoverage: share('level'),
      horizon: at.count('horizon'),
      memory: parseMemory(at.object('memory'), traits.length * layers.length),
    }
    const stepAlarm = json.stepAlarm == null ? null : StepAlarm.fromJSON(json.stepAlarm, where)
    const answers =
      json.answers === undefined ? null : AnswerSharesModel.fromJSON(at.object('answers').json, where)
    return new Detector(state, RateModel.fromJSON(json.levelModel), stepAlarm, answers)
  }
}

function lateRemark(step: number, horizon: number, pLate: number | undefined): string {
  const beyond = `step ${step} is beyond the ${horizon} steps of the calibration runs`
  if (pLate === undefined) return beyond
  return `${beyond}: by its drift per step it is dangerous with a probability of ${percent(pLate)}, which decides about the alarm`
}
