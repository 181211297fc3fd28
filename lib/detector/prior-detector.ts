import { type BasePoint, deviceClass, type MeasuredUnder } from '../conditions/calibrated-for.js'
import type { Directions } from '../directions/directions.js'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import type { Trajectory } from '../trajectory/trajectory.js'
import { AnswerSharesModel } from './answer-shares.js'
import { beyondPrior } from './beyond-prior.js'
import { type ContrastLayer, contrastReading } from './contrast.js'
import { Detector } from './detector.js'
import type { Prior } from './prior.js'
import { RateModel } from './rate-model.js'
import type { VerdictSource } from './run-verdicts.js'

const COVERAGE = 0.9

/**
 * Whether a prior can speak of what these directions measure, and why not; undefined when it can. Drifts are read in units of the
 * distance between the poles, which is a distance along the direction for mean differences alone.
 */
export function priorRefusal(
  prior: Prior,
  { traits, method, conditions }: Pick<Directions, 'traits' | 'method' | 'conditions'>,
): string | undefined {
  if (!prior.traits.every((trait) => traits.includes(trait)))
    return `the prior knows the traits ${prior.traits.join(', ')}, but the directions are of ${traits.join(', ')}`
  if (method !== 'mean-difference')
    return `the prior reads directions of the method mean-difference, but these are of the method ${method}`
  if (conditions.pool === 'last') return undefined
  return `the prior reads states at the last token, but these directions are of states pooled as ${conditions.pool}`
}

/** {@link priorRefusal}, and whether a block that the directions were made at is near the depths that the prior reads. */
export function priorSilence(
  prior: Prior,
  directions: Pick<Directions, 'layers' | 'traits' | 'method' | 'conditions'>,
  nLayer: number,
): string | undefined {
  const refusal = priorRefusal(prior, directions)
  if (refusal !== undefined) return refusal
  const layers = directions.layers.map((layer) => ({ layer, activationNorm: 1, separation: [1] }))
  try {
    contrastReading(prior.depths, nLayer, layers)
    return undefined
  } catch (cause) {
    if (isTraitscopeError(cause)) return cause.message
    throw cause
  }
}

/** The matrix that drifts on these directions are read through: the prior's traits alone, in its order. */
export function priorReading(
  { depths, traits }: Pick<Prior, 'depths' | 'traits'>,
  directions: Pick<Directions, 'traits'>,
  nLayer: number,
  layers: readonly ContrastLayer[],
): number[][] {
  const wanted = traits.map((trait) => directions.traits.indexOf(trait))
  return contrastReading(depths, nLayer, layers, wanted)
}

/** The measured blocks as a prior reads them. */
export function contrastLayers(
  { layers, traits, diagnostics }: Pick<Directions, 'layers' | 'traits' | 'diagnostics'>,
  base: readonly Pick<BasePoint, 'layer' | 'activationNorm'>[],
): ContrastLayer[] {
  return base.map(({ layer, activationNorm }) => {
    const { separation } = diagnostics[layers.indexOf(layer)]!
    return { layer, activationNorm, separation: traits.map((trait) => separation[trait]!) }
  })
}

/**
 * What a prior says of a base that has no judged run: a detector for the base's own drifts, and everything else that
 * verdicts ask for. Verdicts are provisional, and say so.
 *
 * @param measured what the run was measured under
 * @param base where step 0 lies, at layers of the directions, ascending
 * @throws TraitscopeError NOT_COMPARABLE for other traits, another method or pooling, or when no measured block is near the prior's depths
 */
export function priorVerdictSource(
  prior: Prior,
  directions: Directions,
  measured: MeasuredUnder & { nPrompts: number },
  base: readonly BasePoint[],
): VerdictSource {
  const refusal = priorRefusal(prior, directions)
  if (refusal !== undefined)
    throw new TraitscopeError('NOT_COMPARABLE', `${refusal}; measure with directions that it knows`)
  const { fingerprint, nLayer } = measured.conditions.base
  const others = prior.without(fingerprint)
  const read = priorReading(others, directions, nLayer, contrastLayers(directions, base))
  const { contentHash } = measured.conditions.traitPack
  // Of another pack neither rates nor shares have a level.
  const known = others.rows.some(({ model }) => others.models[model]!.traitPack === contentHash)
  const detector = new Detector(
    {
      traits: [...directions.traits],
      layers: base.map(({ layer }) => layer),
      cut: others.cut,
      threshold: others.threshold,
      nominalCoverage: COVERAGE,
      horizon: Number.MAX_SAFE_INTEGER,
      memory: { features: [], datasets: [], errors: [], prior: others.errors(ALL) },
    },
    RateModel.throughContrast('prior', others.ridge(), read),
    null,
    known ? answersOf(others, read) : null,
  )
  const { conditions, directionsSha256, tokenIdsSha256, device, engine, nPrompts } = measured
  return {
    detector,
    directions,
    calibratedFor: {
      ...{ conditions, directionsSha256, tokenIdsSha256, nPrompts },
      deviceClass: deviceClass(device),
      ...(engine ? { engine } : {}),
      base: [...base],
    },
    remarks: [
      `provisional: no judged run of this base is known; the rate is told by ${others.names.length} other model${others.names.length === 1 ? '' : 's'} (${others.names.join(', ')})`,
      ...(known
        ? ['on a base unlike those, rates keep their order and may be half or twice what answers would show']
        : [
            'those models were measured with another trait pack: only the order of rates means something, so that nothing is more than a warning',
          ]),
    ],
    ...(known ? {} : { orderOnly: true }),
    extrapolates: beyondPrior(others, read),
  }
}

function answersOf({ rows, traits }: Prior, read: readonly (readonly number[])[]): AnswerSharesModel | null {
  return AnswerSharesModel.fit(
    rows.map(({ features }) => features),
    rows.map(({ unscored }) => unscored),
    traits.length,
    read,
  )
}

/** {@link priorVerdictSource} of a run that is measured, for `trajectoryVerdicts`. */
export function trajectoryPrior(
  prior: Prior,
  directions: Directions,
  { measurement, layers }: Trajectory,
): VerdictSource {
  if (measurement === undefined) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      'the trajectory does not say with which base and directions it was measured; measure the run again',
    )
  }
  const base = layers.map(({ layer, step0ActivationNorm, projections }) => ({
    layer: layer!,
    activationNorm: step0ActivationNorm,
    projections: projections[0]!,
  }))
  return priorVerdictSource(prior, directions, measurement, base)
}

/** Sets of other bases count one by one: there are no own ones beside them. */
const ALL = 1000
