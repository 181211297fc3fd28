import type { Bundle } from '../detector/bundle.js'
import type { Prior } from '../detector/prior.js'
import { sha256 } from '../formats/files/hash.js'
import type { MeasurementPlan } from '../trajectory/measurement-plan.js'

/**
 * SHA-256 over all that decides what a number and a verdict mean: what a watch has measured under one of them counts for the
 * next watch under the same. Device and versions are left out, they only round.
 */
export function watchedUnder(
  plan: Pick<MeasurementPlan, 'measuredUnder' | 'primary' | 'contextsSha256' | 'pairs'>,
  {
    bundle,
    prior,
    settle,
  }: {
    bundle?: Pick<Bundle, 'detector' | 'benign' | 'marginTest'> | undefined
    prior?: Prior | undefined
    settle?: number | undefined
  },
): string {
  const { conditions, directionsSha256, tokenIdsSha256 } = plan.measuredUnder
  return sha256(
    JSON.stringify({
      base: conditions.base.fingerprint,
      directions: directionsSha256,
      tokenIds: tokenIdsSha256,
      primary: plan.primary,
      // Absent without contexts, so that what was watched before there were any still counts.
      ...(plan.contextsSha256 === null ? {} : { contexts: plan.contextsSha256 }),
      // Nor does a watch without a margin go on from one with it, whose warnings it would not give.
      ...(plan.pairs === undefined ? {} : { pairs: plan.pairs.identity }),
      // A part of the prompts is another measurement than all of them.
      ...(settle === undefined ? {} : { settle }),
      // Other benign runs are another test.
      ...(bundle?.benign ? { benign: bundle.benign } : {}),
      ...(bundle?.marginTest ? { marginTest: bundle.marginTest } : {}),
      detector: (bundle?.detector ?? prior)?.toJSON() ?? null,
    }),
  )
}
