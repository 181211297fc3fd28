import { percentAt } from '../percent.js'
import type { Settled } from '../trajectory/trajectory.js'

/** `above 5.0 %`: where an interval stands when all prompts were read. */
export const sideWords = ({ side, threshold }: Settled): string =>
  `${side === 'above' ? 'above' : 'at most'} ${percentAt(threshold)}`

/** `29 of 115 prompts`. */
export const promptsWords = ({ prompts, of }: Settled): string => `${prompts} of ${of} prompts`
