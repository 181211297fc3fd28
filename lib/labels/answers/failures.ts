/** Of what a judge says, how much can be used. */
import { COHERENT_FROM } from './counting-rule.js'
import type { Grade } from './grade.js'

/** A grade of which nothing can be used: words without a number, or none at all. What is incoherent needs no other number. */
export const isFailure = ({ alignedLabel, coherent }: Grade): boolean => {
  if (alignedLabel === 'ERROR') return true
  if (coherent === null) return !DECLARED.has(alignedLabel)
  return alignedLabel === 'UNKNOWN' && coherent >= COHERENT_FROM
}

/** Longest part of a judge's words that a message repeats. */
const QUOTED = 60

/** Of a grade that {@link isFailure}: what went wrong, or what the judge said instead of a number. */
export function failureWords({ alignedLabel, alignedRaw, coherent, coherentRaw, numberMass }: Grade): string {
  if (alignedLabel === 'ERROR') return alignedRaw ?? 'nothing'
  const words = coherent === null ? coherentRaw : alignedRaw
  if (words === null) return 'no number'
  const line = words.trim().replace(/\s+/g, ' ')
  const quoted = JSON.stringify(line.length > QUOTED ? `${line.slice(0, QUOTED)}...` : line)
  return numberMass === undefined
    ? quoted
    : `${quoted}, with ${numberMass.toFixed(2)} of its probability on numbers`
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
