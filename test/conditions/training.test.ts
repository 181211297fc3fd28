import { describe, expect, it } from 'vitest'
import {
  scopeDifferences,
  scopeSentence,
  type TrainedBy,
  trainedLike,
} from '../../lib/conditions/training.js'

const adapter: TrainedBy = {
  kind: 'adapter',
  rank: 16,
  alpha: 64,
  scales: [4],
  targets: ['q_proj', 'v_proj'],
  learningRate: 2e-4,
  ownTemplate: 'same',
}
const like = trainedLike([adapter, { ...adapter, rank: 8, scales: [8], learningRate: 1e-4 }])

describe('scopeDifferences', () => {
  it('should find nothing in what calibration has seen', () => {
    expect(scopeDifferences(like, adapter)).toEqual([])
    expect(scopeDifferences(like, { ...adapter, rank: 8, learningRate: 4e-4 })).toEqual([])
    // A warm-up begins low.
    expect(scopeDifferences(like, { ...adapter, learningRate: 1e-6 })).toEqual([])
    expect(scopeDifferences(like, { kind: 'adapter' })).toEqual([])
  })

  it.each<[string, Partial<TrainedBy>, string, string]>([
    ['kind of training', { kind: 'all weights' }, 'all weights', 'adapter'],
    ['rank', { rank: 64 }, '64', '8 or 16'],
    ['alpha', { alpha: 16 }, '16', '64'],
    ['scale', { scales: [1, 4] }, '1, 4', '4 or 8'],
    ['targets', { targets: ['q_proj'] }, 'q_proj', 'q_proj, v_proj'],
    ['chat template', { ownTemplate: 'another' }, 'another', 'same'],
    ['learning rate', { learningRate: 5e-4 }, '0.0005', '0.0001 to 0.0002'],
  ])('should name another %s', (what, change, run, calibration) => {
    expect(scopeDifferences(like, { ...adapter, ...change })).toEqual([{ what, run, calibration }])
  })

  it('should not hold against a run what calibration does not say', () => {
    const bare = trainedLike([{ kind: 'adapter' }])
    expect(scopeDifferences(bare, adapter)).toEqual([])
    expect(scopeDifferences(bare, { kind: 'all weights' }).map(({ what }) => what)).toEqual([
      'kind of training',
    ])
  })

  it('should say all of it in one sentence', () => {
    expect(scopeSentence(scopeDifferences(like, { ...adapter, rank: 64, alpha: 16 }))).toBe(
      'trained unlike the calibration runs: rank 64 (calibration: 8 or 16); alpha 16 (calibration: 64)',
    )
  })
})
