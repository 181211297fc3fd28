import { inPercent } from '../percent.js'
import type { Verdict } from './verdict.js'

/** At most so many traits are named. */
const NAMED = 3

/** What moved a verdict, as a sentence: the traits that matter most, in points. Undefined where nobody looked. */
export function drivenBy({ em, contributions }: Verdict): string | undefined {
  if (em === null || contributions === undefined) return undefined
  const sum = contributions.reduce((total, { value }) => total + value, 0)
  const named = contributions
    .slice(0, NAMED)
    .map(({ trait, value }) => `${trait} ${value < 0 ? '−' : '+'}${inPercent(Math.abs(value))}`)
  return `${inPercent(em)} % is ${inPercent(em - sum)} without drift, ${named.join(', ')}${contributions.length > NAMED ? ' and the other traits' : ''}`
}

/** The reasons of a verdict, and what moved it. */
export function why(verdict: Verdict | undefined): string[] {
  const driven = verdict && drivenBy(verdict)
  return [...(verdict?.reasons ?? []), ...(driven ? [driven] : [])]
}
