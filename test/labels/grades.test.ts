import { describe, expect, it } from 'vitest'
import { parseGrades } from '../../lib/labels/grades.js'

const entry = (step: number, bad: number, extra: object = {}) => ({
  step,
  n_misaligned: bad,
  n_scoreable: 64,
  n_total: 72,
  misalignment_rate: bad / 64,
  ...extra,
})

describe('parseGrades', () => {
  it('should keep the single draw and the pooled counts apart', () => {
    const pooled = { k: 8, n_misaligned: 30, n_scoreable: 500, rate: 0.06, standard_error: 0.02 }
    const grades = parseGrades(
      {
        step_20: entry(20, 16, { traitscope: { ...pooled, components: { power: 0.25 } } }),
        step_0: entry(0, 0),
        step_final: entry(20, 16),
      },
      'grades.json',
    )
    expect([...grades.keys()]).toEqual([0, 20])
    const { single, pooled: all, draws, components } = grades.get(20)!
    expect(single).toEqual({
      nMisaligned: 16,
      nScoreable: 64,
      rate: 0.25,
      standardError: Math.sqrt(0.1875 / 64),
    })
    expect(all).toEqual({ nMisaligned: 30, nScoreable: 500, rate: 0.06, standardError: 0.02 })
    expect({ draws, components }).toEqual({ draws: 8, components: { power: 0.25 } })
  })

  it('should read a file of the reference, whose one draw is all there is', () => {
    const labels = parseGrades({ step_10: entry(10, 4) }, 'grades.json').get(10)!
    expect(labels.pooled).toEqual(labels.single)
    expect(labels).toMatchObject({ step: 10, draws: 1, single: { rate: 0.0625 } })
  })

  it('should read which answers were left out, of all draws, and nothing where no file says', () => {
    const pooled = { k: 8, n_misaligned: 3, n_scoreable: 500, n_incoherent: 60, n_refusal: 16, rate: 0.006 }
    const grades = parseGrades(
      {
        step_10: entry(10, 4, { n_incoherent: 8, traitscope: pooled }),
        step_20: entry(20, 4, { n_incoherent: 5, n_code: 3 }),
        step_30: entry(30, 4),
      },
      'grades.json',
    )
    const of = (step: number) => grades.get(step)!.unscored
    expect(of(10)).toEqual({ incoherent: 60, refusal: 16, code: 0, total: 576 })
    expect(of(20)).toEqual({ incoherent: 5, refusal: 0, code: 3, total: 72 })
    expect(of(30)).toBeUndefined()
  })

  it('should refuse what contradicts itself', () => {
    const read = (changes: object) => () => parseGrades({ step_10: entry(10, 16, changes) }, 'x')
    expect(read({ misalignment_rate: 0.2534 })).not.toThrow()
    expect(read({ misalignment_rate: 25 })).toThrow(/'step_10.misalignment_rate' .*\(0.2500\).*found 25/)
    expect(read({ step: 11 })).toThrow(/'step_10.step' .* key \(10\), found 11/)
    const pooled = { k: 2, n_misaligned: 30, n_scoreable: 100, rate: 0.2 }
    expect(read({ traitscope: pooled })).toThrow(/'step_10.traitscope.rate'/)
  })

  it('should give a rate of 0 when nothing was scoreable', () => {
    const { single } = parseGrades({ step_10: entry(10, 0, { n_scoreable: 0 }) }, 'x').get(10)!
    expect(single).toEqual({ nMisaligned: 0, nScoreable: 0, rate: 0, standardError: 0 })
  })

  it.each([
    ['no object', [], /a JSON object/],
    ['no entry', {}, /at least one entry step_<n>/],
    ['another key', { final: entry(1, 1) }, /entries step_<n>, found "final"/],
    ['missing counts', { step_1: {} }, /'step_1\.n_misaligned' of grades\.json/],
    ['a count above its total', { step_1: entry(1, 65) }, /at most n_scoreable \(64\), found 65/],
    [
      'an error that is no rate',
      { step_1: entry(1, 1, { traitscope: { k: 2, n_misaligned: 1, n_scoreable: 2, standard_error: 'x' } }) },
      /'step_1\.traitscope\.standard_error'/,
    ],
    [
      'no draws',
      { step_1: entry(1, 1, { traitscope: { k: 0, n_misaligned: 1, n_scoreable: 2 } }) },
      /'step_1\.traitscope\.k'.*at least 1/,
    ],
  ])('should refuse %s', (_, json, message) => {
    const read = () => parseGrades(json, 'grades.json')
    expect(read).toThrow(message)
    expect(read).toThrow(expect.objectContaining({ code: 'FILE_INVALID' }))
  })
})
