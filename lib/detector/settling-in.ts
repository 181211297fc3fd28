import { TraitscopeError } from '../errors.js'
import type { MeasuredBase, StopRule } from '../trajectory/stopping.js'
import type { Prior } from './prior.js'
import { priorVerdictSource } from './prior-detector.js'
import type { VerdictSource } from './run-verdicts.js'
import { assertError, assertSettles, type SettledBy, settling } from './settling.js'

/**
 * Stops reading the prompts of a checkpoint when it is settled on which side of the threshold the predicted rate of all of them lies: it
 * errs in at most `error` of checkpoints. For `settle` of `measureRun`.
 *
 * @throws TraitscopeError USAGE without a detector, and for directions at other layers; UNSUPPORTED
 */
export function settlingIn(
  { directions, base }: MeasuredBase,
  by: SettledBy | undefined,
  error: number,
): StopRule {
  if (by === undefined) throw nothingToSettle()
  const { layers, traits } = by.detector
  if (directions.layers.join() !== layers.join() || directions.traits.join() !== traits.join()) {
    throw new TraitscopeError(
      'USAGE',
      `expected directions at layer ${layers.join(', ')}, which the detector reads, found layer ${directions.layers.join(', ')}; measure with the bundle's own`,
    )
  }
  return settling(
    by,
    error,
    base.map(({ projections }) => projections),
  )
}

/** What a prior says where a run is measured. @throws as `priorVerdictSource` */
export const measuredPrior = (prior: Prior, { directions, measured, base }: MeasuredBase): VerdictSource =>
  priorVerdictSource(prior, directions, measured, base)

/** Refuses before the work what {@link settlingIn} would refuse once step 0 is known. */
export function refuseSettling(
  { bundle, prior }: { bundle?: SettledBy | undefined; prior?: Pick<Prior, 'models'> | undefined },
  traitPack: string,
  error: number,
): void {
  assertError(error)
  if (bundle) assertSettles(bundle)
  else if (!prior) throw nothingToSettle()
  else if (!prior.models.some((model) => model.traitPack === traitPack)) assertSettles({ orderOnly: true })
}

const nothingToSettle = () =>
  new TraitscopeError(
    'USAGE',
    'expected a bundle, or a prior that speaks, whose verdicts a part of the prompts can settle, found neither; measure without --settle',
  )
