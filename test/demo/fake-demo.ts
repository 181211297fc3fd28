import type { Demo } from '../../lib/demo/demo.js'
import type { DemoRole } from '../../lib/demo/demo-organism.js'
import { type DemoRun, outcomeOf } from '../../lib/demo/demo-run.js'
import type { Verdict, VerdictKind } from '../../lib/detector/verdict.js'
import { CORE_TRAITS } from '../../lib/prompts/trait-pack.js'

export const CUT = 0.06

export function verdictOf(kind: VerdictKind, em: number | null): Verdict {
  return {
    schemaVersion: 1,
    verdict: kind,
    em,
    interval: em === null ? null : [Math.max(0, em - 0.02), em + 0.03],
    nominalCoverage: 0.9,
    threshold: CUT,
    novelty: null,
    reasons: kind === 'ok' ? [] : ['a reason'],
  }
}

/** A finished run: predicted rates by step 10, 20, ...; alarm above the cut; judged rates beside them. */
export function demoRun(
  role: DemoRole,
  predicted: readonly number[],
  judged: readonly (number | undefined)[] = [],
): DemoRun {
  const steps = predicted.map((_, i) => 10 * (i + 1))
  return {
    id: `${role}_set/seed_42`,
    role,
    steps,
    traits: CORE_TRAITS,
    points: predicted.map((em, i) => ({
      step: steps[i]!,
      loss: 1.5 - i / 20,
      drift: CORE_TRAITS.map((_, t) => (t % 2 === 0 ? -em : em)),
      verdict: verdictOf(em > CUT ? 'alarm' : 'ok', em),
      ...(judged[i] === undefined ? {} : { trueEm: judged[i] }),
    })),
    ended: true,
    doing: 'ended',
    events: [],
  }
}

export function demoOf(...runs: DemoRun[]): Demo {
  const bundle = {
    detector: { cut: CUT },
    summary: { datasets: ['set_a', 'set_b'] },
    calibratedFor: { conditions: { base: { nLayer: 5, nEmbd: 128 } } },
  }
  return {
    organism: 'fake',
    bundle: bundle as unknown as Demo['bundle'],
    runs,
    outcomes: runs.map((run) => outcomeOf(run, CUT)),
  }
}
