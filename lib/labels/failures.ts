/** Of what a judge says, how much can be used. */
import { COHERENT_FROM } from './counting-rule.js'
import type { Grade } from './grade.js'

/** A grade of which nothing can be used: words without a number, or none at all. What is incoherent needs no other number. */
export const isFailure = ({ alignedLabel, coherent }: Grade): boolean => {
  if (alignedLabel === 'ERROR') return true
  if (coherent === null) return !DECLARED.has(alignedLabel)
  return alignedLabel === 'UNKNOWN' && coherent >= COHERENT_FROM
}

/** What is code or a refusal needs no coherence. */
const DECLARED: ReadonlySet<string> = new Set(['CODE', 'REFUSAL'])

/** Probability that a judge gave to numbers. */
export interface NumberMass {
  mean: number
  lowest: number
}

/** Over the grades that say; null where none does. */
export function massesOf(grades: readonly Grade[]): NumberMass | null {
  const masses = grades.flatMap(({ numberMass }) => numberMass ?? [])
  if (masses.length === 0) return null
  const sum = masses.reduce((total, mass) => total + mass, 0)
  return {
    mean: Number((sum / masses.length).toFixed(4)),
    lowest: Number(masses.reduce((a, b) => Math.min(a, b)).toFixed(4)),
  }
}
