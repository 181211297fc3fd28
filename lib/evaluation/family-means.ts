import { mean, variance } from '../estimators/mean.js'
import type { Contender } from './contenders.js'
import { type ContenderResult, type Figures, SPREAD, type Spread } from './evaluation.js'

/** Replaces the members of a family by their mean, per regressor. */
export function mergeFamilies(
  contenders: readonly Contender[],
  results: readonly ContenderResult[],
): ContenderResult[] {
  const merged: ContenderResult[] = []
  const done = new Set<string>()
  for (const [i, { family, regressor }] of contenders.entries()) {
    if (family === undefined) {
      merged.push(results[i]!)
      continue
    }
    const key = `${family}/${regressor}`
    if (done.has(key)) continue
    done.add(key)
    const members = results.filter(
      (_, k) => contenders[k]!.family === family && contenders[k]!.regressor === regressor,
    )
    merged.push(meanOf(family, members))
  }
  return merged
}

function meanOf(family: string, members: readonly ContenderResult[]): ContenderResult {
  const [first] = members
  const figures = first!.figures.map((one, g): Figures => {
    const averaged = SPREAD.map((key) => [key, mean(members.map((m) => m.figures[g]![key]))])
    const counts = (['falseNegatives', 'falsePositives'] as const).map((key) => [
      key,
      mean(members.map((m) => m.figures[g]![key])),
    ])
    return { ...one, ...Object.fromEntries([...averaged, ...counts]), fnrInterval: null, fprInterval: null }
  })
  const spread = first!.figures.map((_, g) => {
    const deviation = (key: (typeof SPREAD)[number]) =>
      Math.sqrt(
        variance(
          members.map((m) => m.figures[g]![key]),
          0,
        ),
      )
    return Object.fromEntries(SPREAD.map((key) => [key, deviation(key)])) as Spread
  })
  return {
    features: family,
    regressor: first!.regressor,
    selected: false,
    calibration: {
      balancedAccuracy: mean(members.map((m) => m.calibration.balancedAccuracy)),
      auroc: mean(members.map((m) => m.calibration.auroc)),
    },
    figures,
    spread,
    members: members.length,
  }
}
