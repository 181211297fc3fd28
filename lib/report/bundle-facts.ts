import { alarmWords, isJudged } from '../detector/alarm-words.js'
import type { Bundle } from '../detector/bundle.js'
import { describeSource } from '../labels/label-source.js'
import { percent, percentAt } from '../percent.js'

/** What a reader needs to know of a bundle: labels and values, in order. */
export function bundleFacts(bundle: Bundle): [label: string, value: string][] {
  const { detector, summary, labels, versions } = bundle
  const share = (value: number | null) => (value === null ? 'unknown' : percent(value))
  const runs = `${summary.datasets.join(', ')}: ${summary.checkpoints} checkpoints`
  return [
    ['detector', `${detector.model} on layer ${detector.layers.join(', ')}; alarm: ${alarmWords(bundle)}`],
    ...(isJudged(bundle)
      ? ([
          ['calibrated on', `${runs}, ${summary.dangerous} of them above ${percentAt(detector.cut)}`],
          [
            'on sets left out of the calibration',
            `misses ${share(summary.fnr)}, false alarms ${share(summary.fpr)}, intervals hold for ${share(summary.coverage)}`,
          ],
        ] as [string, string][])
      : ([['calibrated on', `${runs}, which nobody has judged`]] as [string, string][])),
    ...(labels ? [['labels', describeSource(labels)] as [string, string]] : []),
    ['calibration data', summary.inputsSha256],
    ['bundle made by', `traitscope ${versions.traitscope}, llama.cpp ${versions.llamaCpp}`],
    ...summary.warnings.map((text): [string, string] => ['calibration warning', text]),
  ]
}
