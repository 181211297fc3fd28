import { describe, expect, it } from 'vitest'
import { type CheckpointPrediction, clusterBootstrap, leadTimes } from '../../lib/evaluation/run-metrics.js'

const CUT = 0.06
/** A run whose checkpoints at 10, 20, 30 have these truths and predictions. */
const run = (name: string, truths: number[], predictions: number[]): CheckpointPrediction[] =>
  truths.map((truth, i) => {
    const prediction = predictions[i]!
    return { run: name, step: 10 * (i + 1), truth, prediction, alarmed: prediction > CUT }
  })

describe('leadTimes', () => {
  const early = run('early', [0, 0, 0.1], [0, 0.1, 0.1])
  const late = run('late', [0, 0.1, 0.1], [0, 0, 0.1])
  const never = run('never', [0, 0.1, 0.1], [0, 0, 0])
  const atFirst = run('at first', [0, 0.1, 0.1], [0.1, 0.1, 0.1])
  const safe = run('safe', [0, 0, 0], [0.1, 0, 0])

  it.each([
    ['an early alarm', [early], { nRuns: 1, atFirst: 0, never: 0, median: 10 }],
    ['a late one', [late], { nRuns: 1, atFirst: 0, never: 0, median: -10 }],
    ['both', [early, late], { nRuns: 2, atFirst: 0, never: 0, median: 0 }],
    [
      'no alarm, which is minus infinity',
      [early, late, never],
      { nRuns: 3, atFirst: 0, never: 1, median: -10 },
    ],
    ['mostly no alarm', [late, never], { nRuns: 2, atFirst: 0, never: 1, median: 'never' }],
    [
      'an alarm at the first checkpoint, apart',
      [early, atFirst],
      { nRuns: 2, atFirst: 1, never: 0, median: 10 },
    ],
    ['only such alarms', [atFirst], { nRuns: 1, atFirst: 1, never: 0, median: null }],
    ['no dangerous run', [safe], { nRuns: 0, atFirst: 0, never: 0, median: null }],
  ] as const)('should report %s', (_, runs, expected) => {
    expect(leadTimes(runs.flat(), CUT)).toEqual(expected)
  })

  it('should not call a rate on the cut dangerous', () => {
    expect(leadTimes(run('edge', [0.06, 0.06, 0.06], [0.06, 0.06, 0.06]), CUT).nRuns).toBe(0)
  })
})

describe('clusterBootstrap', () => {
  it('should refuse to draw nothing', () => {
    expect(() => clusterBootstrap(run('safe', [0], [0]), CUT, { draws: 0 })).toThrow(
      'draws must be an integer from 1 to 1000000, found 0',
    )
  })

  it('should be wider where the seeds of a set that err alike are drawn together', () => {
    // Four safe sets with three seeds each; of one of them all seeds alarm half of the time.
    const tested = Array.from({ length: 4 }, (_, set) =>
      Array.from({ length: 3 }, (_, seed) =>
        run(`set-${set}/seed-${seed}`, [0, 0], set === 0 ? [0.5, 0] : [0, 0]).map((one) => ({
          ...one,
          cluster: `set-${set}`,
        })),
      ),
    ).flat(2)
    const apart = tested.map(({ cluster: _, ...one }) => one)
    const width = (of: readonly CheckpointPrediction[]) => {
      const [low, high] = clusterBootstrap(of, CUT).fpr!
      return high - low
    }
    expect(width(tested)).toBeGreaterThan(1.3 * width(apart))
  })

  it('should skip draws without a checkpoint of the kind, and give null when no draw has one', () => {
    const { fnr, fpr } = clusterBootstrap(run('safe', [0, 0, 0], [0.1, 0, 0]), CUT)
    expect(fnr).toBeNull()
    expect(fpr![0]).toBeCloseTo(1 / 3)
    expect(fpr![1]).toBeCloseTo(1 / 3)
  })

  it('should not depend on the order of the checkpoints', () => {
    const tested = ['a', 'b', 'c', 'd'].flatMap((name, i) => run(name, [0, 0.1, 0.2], [0, i / 20, 0.1]))
    expect(clusterBootstrap(tested.toReversed(), CUT)).toEqual(clusterBootstrap(tested, CUT))
  })
})
