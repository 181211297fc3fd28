import { describe, expect, it } from 'vitest'
import { alarmScore } from '../../lib/detector/alarm-score.js'
import { Detector } from '../../lib/detector/detector.js'
import { RateModel } from '../../lib/detector/rate-model.js'
import { settledVerdict, settling } from '../../lib/detector/settling.js'
import { linearScore } from '../../lib/estimators/grouped-ridge.js'
import { Mt19937 } from '../../lib/estimators/mt19937.js'
import { linearDetector, linearSource, PRIOR, READ } from './linear-detector.js'

const STEP0 = [[1, 2]]
const COUNT = 115

/** Drifts of prompts about a mean, in a random order. */
function prompts(about: number, spread: number, random: Mt19937): number[][] {
  const drifts = Array.from({ length: COUNT }, (_, i) => [
    about + spread * Math.sin(i),
    0.05 + 0.02 * Math.cos(i),
  ])
  return [...random.permutation(COUNT)].map((i) => drifts[i]!)
}

describe('alarmScore', () => {
  it('should lie above its bound exactly where the detector alarms', () => {
    for (const threshold of [0.03, 0.05, 0.08]) {
      const detector = linearDetector(threshold)
      const score = alarmScore(detector)
      const random = new Mt19937(5)
      let alarms = 0
      for (let i = 0; i < 400; i++) {
        const drift = [random.rand() * 0.3, random.rand() * 0.1]
        const { verdict } = detector.verdict([drift])
        if (verdict === 'alarm') alarms++
        expect(linearScore(drift, score) > score.boundOf(threshold), `${drift}`).toBe(verdict === 'alarm')
      }
      expect(alarms).toBeGreaterThan(50)
      expect(alarms).toBeLessThan(360)
    }
  })

  it('should be refused, with the reason, where several models tell the rate', () => {
    const { levelModel, ...rest } = linearDetector().toJSON()
    const forest = new RateModel('random-forest', 0.06).fit(
      [[0], [0.1], [0.2], [0.3]].map(([a]) => [a!, 0]),
      [0, 0.05, 0.1, 0.2].map((rate) => ({ nMisaligned: 0, nScoreable: 100, rate, standardError: 0 })),
    )
    expect(() => alarmScore(Detector.fromJSON({ ...rest, levelModel: forest.toJSON() }))).toThrow(
      /told by a forest, not by one that is linear in the drift; measure without --settle/,
    )
    const both = RateModel.throughContrast('pooled', PRIOR.ridge(), READ, { model: forest, share: 0.5 })
    expect(() => alarmScore(Detector.fromJSON({ ...rest, levelModel: both.toJSON() }))).toThrow(
      /a model of the base alone beside that of other bases/,
    )
    expect(levelModel.members).toHaveLength(1)
  })

  it('should be refused where another model tells rates as high as the threshold', () => {
    expect(() => alarmScore(linearDetector(0.12))).toThrow(/rates as high as its threshold/)
  })
})

describe('settling', () => {
  it('should stop early far from the threshold, on the side where all prompts lie', () => {
    const rule = settling(linearSource(), 0.01, STEP0)
    const random = new Mt19937(2)
    for (const [about, side] of [
      [0, 'below'],
      [0.3, 'above'],
    ] as const) {
      const stopping = rule.begin(COUNT)
      const drifts = prompts(about, 0.02, random)
      let read = 0
      let settled: ReturnType<typeof stopping.take>
      while (settled === undefined && read < COUNT) {
        settled = stopping.take(drifts.slice(read, read + 5))
        read += 5
      }
      expect(settled).toMatchObject({ side, threshold: 0.05, error: 0.01, of: COUNT })
      expect(settled!.prompts).toBe(read)
      expect(read).toBeLessThan(60)
    }
  })

  it('should err in no more than it says, and agree with all prompts where it never stops', () => {
    const source = linearSource()
    const rule = settling(source, 0.05, STEP0)
    const random = new Mt19937(9)
    let [stopped, errors] = [0, 0]
    const tries = 400
    for (let i = 0; i < tries; i++) {
      const drifts = prompts(0.04 + 0.06 * random.rand(), 0.1, random)
      const mean = [0, 1].map((t) => drifts.reduce((sum, drift) => sum + drift[t]!, 0) / COUNT)
      const truth = source.detector.verdict([mean]).verdict === 'alarm' ? 'above' : 'below'
      const stopping = rule.begin(COUNT)
      for (let read = 0; read < COUNT - 15; read += 15) {
        const settled = stopping.take(drifts.slice(read, read + 15))
        if (settled === undefined) continue
        stopped++
        if (settled.side !== truth) errors++
        break
      }
    }
    expect(stopped).toBeGreaterThan(50)
    expect(stopped).toBeLessThan(tries)
    expect(errors / tries).toBeLessThan(0.05)
  })

  it('should read on where the prompts that were read warn of something else', () => {
    const source = linearSource()
    const drifts = prompts(0, 0.02, new Mt19937(2))
    const with_ = settling({ ...source, extrapolates: () => 'far away' }, 0.01, STEP0).begin(COUNT)
    const without = settling(source, 0.01, STEP0).begin(COUNT)
    expect(without.take(drifts.slice(0, 60))?.side).toBe('below')
    expect(with_.take(drifts.slice(0, 60))).toBeUndefined()
  })

  it('should ask for rates well below the threshold where an alarm is to be cleared', () => {
    const rule = settling(linearSource(), 0.01, STEP0)
    const drifts = prompts(0.03, 0.01, new Mt19937(4))
    const atAll = rule.begin(COUNT).take(drifts.slice(0, 100))
    const calm = rule.begin(COUNT, 0.75).take(drifts.slice(0, 100))
    expect(atAll).toMatchObject({ side: 'below', threshold: 0.05 })
    if (calm) expect(calm.threshold).toBeCloseTo(0.0375, 12)
    const far = rule.begin(COUNT, 0.75).take(prompts(0, 0.01, new Mt19937(4)).slice(0, 100))
    expect(far?.threshold).toBeCloseTo(0.0375, 12)
  })

  it('should refuse what a part of the prompts does not settle', () => {
    const source = linearSource()
    const refused = (change: Partial<typeof source>) => () => settling({ ...source, ...change }, 0.01, STEP0)
    expect(refused({ benign: { level: 0.05, highest: [0.01] } })).toThrow(/benign runs is one of the highest/)
    expect(refused({ orderOnly: true })).toThrow(/raises no alarm; measure without --settle/)
    expect(() => settling(source, 0.01, [[5, 2]])).toThrow(/starts from another model/)
    expect(() => settling(source, 0.7, STEP0)).toThrow(/between 0 and 50 %/)
    const { levelModel, ...rest } = linearDetector().toJSON()
    const own = Detector.fromJSON({ ...rest, levelModel: { ...levelModel, model: 'pooled' } })
    expect(refused({ detector: own })).toThrow(/calibrate again on runs that were measured with the states/)
    expect(
      settling({ ...source, detector: own, promptScores: { low: -1, high: 2 } }, 0.01, STEP0).error,
    ).toBe(0.01)
  })
})

describe('settledVerdict', () => {
  it('should say what is settled and nothing that needs all prompts', () => {
    const settled = { side: 'above', threshold: 0.05, error: 0.01, prompts: 29, of: 115, by: 'b' } as const
    const whole = linearDetector(0.05, 100).verdict([[0.3, 0.05]], { step: 200, remarks: ['provisional'] })
    const verdict = settledVerdict(whole, settled, ['provisional'])
    expect(verdict).toMatchObject({ verdict: 'alarm', em: whole.em, interval: null, novelty: null, settled })
    expect(verdict.reasons).toEqual([
      expect.stringMatching(
        /^29 of 115 prompts were read: it is settled .* above 5\.0 %, with an error of at most 1\.0 %/,
      ),
      expect.stringMatching(/^step 200 is beyond/),
      'provisional',
    ])
    expect(verdict.notLookedAt).toEqual([expect.stringContaining('no interval')])
    for (const key of ['pDanger', 'answers', 'contributions']) expect(verdict).not.toHaveProperty(key)
  })
})
