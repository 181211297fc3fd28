import type { Step } from './trajectory.js'

const MOST = 10

/** `10, 20, 30`; of many the first ones, and how many there are beside them: a sentence on each of thousands would name all others. */
export function stepsText(steps: readonly Step[]): string {
  const more = steps.length - MOST
  return more <= 0 ? steps.join(', ') : `${steps.slice(0, MOST).join(', ')} and ${more} more`
}
