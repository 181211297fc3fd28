import { signedNats } from '../labels/margins/margin-words.js'
import { percentAt } from '../percent.js'
import type { Bundle } from './bundle.js'
import { marginThreshold } from './margin-test.js'

/** Whether a bundle tells rates of sets that were judged; one of benign runs knows none. */
export const isJudged = ({ benign, marginTest }: Pick<Bundle, 'benign' | 'marginTest'>): boolean =>
  benign === undefined && marginTest === undefined

/** What a bundle alarms at. */
export function alarmWords({
  detector,
  benign,
  marginTest,
}: Pick<Bundle, 'detector' | 'benign' | 'marginTest'>): string {
  const among = ({ level, highest }: { level: number; highest: readonly number[] }) =>
    `of runs like its ${highest.length} benign ones at most ${percentAt(level)} alarm`
  if (marginTest)
    return `margin above ${signedNats(marginThreshold(marginTest))} nats per token: ${among(marginTest)}`
  if (benign) return `a predicted EM that few benign runs came up to: ${among(benign)}`
  return `predicted EM above ${percentAt(detector.threshold)}`
}
