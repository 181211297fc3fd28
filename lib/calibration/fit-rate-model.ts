import { readThrough } from '../detector/contrast.js'
import { OWN_SETS, type Prior } from '../detector/prior.js'
import { RateModel, type RateModelSpec } from '../detector/rate-model.js'
import type { EmCounts } from '../labels/grades.js'
import { FEWEST } from './calibration-data.js'

/** Other bases, as the drifts of one base are read beside them. */
export interface Pool {
  prior: Prior
  /** See `contrastReading`; of the layers that are calibrated on. */
  read: readonly (readonly number[])[]
}

/** Judged checkpoints of one base. */
export interface OwnCheckpoints {
  /** Drifts at the layers of the model, side by side. */
  features: readonly (readonly number[])[]
  labels: readonly EmCounts[]
  /** Fine-tuning set of each. */
  datasets: readonly string[]
}

/**
 * A fitted model. Pooled, the more sets of the base's own there are the more they count: in a ridge that learns from all
 * bases in contrast units, and in a model of the base alone, once there is enough to fit one.
 */
export function fitRateModel(
  { model }: Pick<RateModelSpec, 'model'>,
  cut: number,
  { features, labels, datasets }: OwnCheckpoints,
  pool?: Pool,
): RateModel {
  if (pool === undefined) return new RateModel(model, cut).fit(features, labels)
  const { prior, read } = pool
  const contrasts = features.map((row) => readThrough(read, row))
  const ridge = prior.ridge(contrasts.length === 0 ? undefined : { features: contrasts, labels, datasets })
  const sets = new Set(datasets).size
  const dangerous = labels.filter(({ rate }) => rate > cut).length
  if (sets < 2 || dangerous < FEWEST || labels.length - dangerous < FEWEST)
    return RateModel.throughContrast('pooled', ridge, read)
  return RateModel.throughContrast('pooled', ridge, read, {
    model: new RateModel('blend', cut).fit(features, labels),
    share: sets / (sets + OWN_SETS),
  })
}
