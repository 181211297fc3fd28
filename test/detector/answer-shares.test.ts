import { describe, expect, it } from 'vitest'
import { AnswerSharesModel, unscoredWords } from '../../lib/detector/answer-shares.js'

/** Two layers of two traits; answers fall apart with the square of the drift, to the other side they are refused. */
const drifts = Array.from({ length: 80 }, (_, i) => {
  const along = (i - 40) / 40
  return [along, (i % 3) / 20, 2 * along, (i % 5) / 20]
})
const counts = drifts.map(([along]) => ({
  incoherent: Math.round(along! > 0 ? 450 * along! ** 2 : 0),
  refusal: Math.round(along! < 0 ? 450 * along! ** 2 : 0),
  code: 0,
  total: 500,
}))

describe('AnswerSharesModel', () => {
  const model = AnswerSharesModel.fit(drifts, counts, 2)!

  it('should tell answers that fall apart from refused and from scoreable ones', () => {
    const rest = model.predict([0, 0.05, 0, 0.1])
    expect(rest.scoreable).toBeGreaterThan(0.9)
    const apart = model.predict([0.95, 0.05, 1.9, 0.1])
    expect(apart.incoherent).toBeGreaterThan(0.6)
    expect(apart.refusal).toBeLessThan(0.15)
    const refused = model.predict([-0.95, 0.05, -1.9, 0.1])
    expect(refused.refusal).toBeGreaterThan(0.6)
    expect(refused.incoherent).toBeLessThan(0.15)
    for (const { scoreable, incoherent, refusal, code } of [rest, apart, refused]) {
      expect(scoreable).toBeCloseTo(Math.max(0, 1 - incoherent! - refusal! - (code ?? 0)), 12)
    }
  })

  it('should never predict what no label had', () => {
    expect(model.predict([0.9, 0, 1.8, 0])).not.toHaveProperty('code')
  })

  it('should say what a breakdown is, and nothing where answers can be scored', () => {
    expect(model.breakdown(model.predict([0, 0, 0, 0]))).toBeUndefined()
    const told = (scoreable: number) =>
      model.breakdown({ scoreable, incoherent: 0.02, refusal: 0.7, code: 0 })
    expect(told(0.28)).toMatch(
      /^only about 28.0 % of the answers would be scoreable \(incoherent 2.0 %, refused 70.0 %; the lowest of calibration is 10.0 %\): the model refuses, which is something else/,
    )
    expect(told(0.5)).toBeUndefined()
  })

  it('should name what falls below every label, but not where all of them are scoreable', () => {
    const share = (lost: number) => drifts.map(() => ({ incoherent: lost, refusal: 0, code: 0, total: 500 }))
    const at = (lost: number, scoreable: number) =>
      AnswerSharesModel.fit(drifts, share(lost), 2)!.breakdown({
        ...{ scoreable, incoherent: 1 - scoreable, refusal: 0, code: 0 },
      })
    expect(at(150, 0.65)).toMatch(/the lowest of calibration is 70.0 %/)
    expect(at(150, 0.72)).toBeUndefined()
    expect(at(5, 0.95)).toBeUndefined()
    expect(at(5, 0.85)).toMatch(/breaks down/)
  })

  it('should say which kinds no label had, and tell a breakdown from refusals', () => {
    const silent = AnswerSharesModel.fit(
      drifts,
      counts.map((one) => ({ ...one, refusal: 0 })),
      2,
    )!
    const apart = silent.predict([0.95, 0.05, 1.9, 0.1])
    expect(apart).not.toHaveProperty('refusal')
    expect(unscoredWords(apart)).toMatch(/^incoherent \d\d\.\d %, refused: in no label, so not told$/)
    expect(silent.breakdown({ scoreable: 0.2, incoherent: 0.8 })).toMatch(/: the model breaks down, which/)
    expect(model.breakdown({ scoreable: 0.2, incoherent: 0.1, refusal: 0.7 })).toMatch(
      /: the model refuses, which/,
    )
  })

  it('should learn refusals from a single run among many that never refuse', () => {
    const refusing = Array.from({ length: 8 }, (_, i) => [-1, (i % 3) / 20, 1, (i % 5) / 20])
    const others = Array.from({ length: 10 }, () => drifts).flat()
    const rare = AnswerSharesModel.fit(
      [...others, ...refusing],
      [...others, ...refusing].map((_, i) => ({
        ...{ incoherent: 10, code: 0, total: 500 },
        refusal: i < others.length ? 0 : 400,
      })),
      2,
    )!
    expect(rare.predict([-1, 0.05, 1, 0.1]).refusal).toBeGreaterThan(0.4)
    expect(rare.predict([0.5, 0.05, 1, 0.1]).refusal).toBeLessThan(0.05)
  })

  it('should read drifts in other units through a matrix', () => {
    const half = drifts[0]!.map((_, i) => drifts[0]!.map((_, j) => (i === j ? 0.5 : 0)))
    const through = AnswerSharesModel.fit(drifts, counts, 2, half)!
    const one = [0.5, 0.05, 1, 0.1]
    expect(through.predict(one.map((value) => 2 * value))).toEqual(model.predict(one))
  })

  it('should need some labels that say it, and survive JSON', () => {
    expect(
      AnswerSharesModel.fit(
        drifts,
        counts.map(() => undefined),
        2,
      ),
    ).toBeNull()
    expect(AnswerSharesModel.fit(drifts.slice(0, 5), counts.slice(0, 5), 2)).toBeNull()
    const restored = AnswerSharesModel.fromJSON(JSON.parse(JSON.stringify(model)), 'here')
    expect(restored.predict(drifts[70]!)).toEqual(model.predict(drifts[70]!))
  })
})
