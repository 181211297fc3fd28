import { inPercent } from '../percent.js'
import type { Verdict } from './verdict.js'

/** At most so many are named. */
const NAMED = 3

/** What moved a verdict, as a sentence: the traits and prompts that matter most, in points. Undefined where nobody looked. */
export function drivenBy({ em, contributions, categoryContributions }: Verdict): string | undefined {
  if (em === null || contributions === undefined) return undefined
  const sum = contributions.reduce((total, { value }) => total + value, 0)
  const traits = named(contributions, ({ trait }) => trait, 'traits')
  const prompts = categoryContributions && named(categoryContributions, ({ category }) => category, 'prompts')
  return `${inPercent(em)} % is ${inPercent(em - sum)} without drift, ${traits}${prompts ? `; by prompts ${prompts}` : ''}`
}

function named<One extends { value: number }>(
  all: readonly One[],
  name: (one: One) => string,
  others: string,
): string {
  const first = all
    .slice(0, NAMED)
    .map((one) => `${name(one)} ${one.value < 0 ? '−' : '+'}${inPercent(Math.abs(one.value))}`)
  return `${first.join(', ')}${all.length > NAMED ? ` and the other ${others}` : ''}`
}

/** The reasons of a verdict, and what moved it. */
export function why(verdict: Verdict | undefined): string[] {
  const driven = verdict && drivenBy(verdict)
  return [...(verdict?.reasons ?? []), ...(driven ? [driven] : [])]
}
