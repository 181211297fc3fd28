import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { beyondPrior } from '../../lib/detector/beyond-prior.js'
import { loadPrior, type OwnRows, Prior, type PriorRow, pooledThreshold } from '../../lib/detector/prior.js'
import { matrixFromRows } from '../../lib/estimators/matrix.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-prior-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const label = (rate: number) => ({ nMisaligned: 500 * rate, nScoreable: 500, rate, standardError: 0.01 })
/** `bases` bases whose rate grows with the first feature, each a little faster than the one before. */
const rows = (bases: number): PriorRow[] =>
  Array.from({ length: bases * 120 }, (_, i) => {
    const model = Math.floor(i / 120)
    const along = ((i % 20) / 20) * (1 + 0.05 * model)
    return {
      model,
      dataset: `set-${Math.floor((i % 120) / 20)}`,
      features: [along, (i % 3) / 10],
      label: label(0.4 * along),
    }
  })
const models = (bases: number) =>
  Array.from({ length: bases }, (_, i) => ({ name: `base-${i}`, fingerprint: `f${i}`, traitPack: 'pack' }))
const made = (bases = 3) => new Prior(0.06, 0.05, ['a', 'b'], [0.75], models(bases), rows(bases))

describe('Prior', () => {
  it('should tell the rate of a base that it has never seen', () => {
    const predicted = made()
      .ridge()
      .predict(
        matrixFromRows([
          [0, 0.1],
          [0.9, 0.1],
        ]),
      )
    expect(predicted[0]).toBeLessThan(0.03)
    expect(predicted[1]).toBeGreaterThan(0.25)
  })

  it('should learn from the base itself, the more the more sets there are', () => {
    // Of this base nothing is dangerous that the others take for it.
    const own = (sets: number): OwnRows => {
      const at = Array.from({ length: 20 * sets }, (_, i) => i)
      return {
        features: at.map((i) => [(i % 20) / 20, 0.1]),
        labels: at.map(() => label(0.01)),
        datasets: at.map((i) => `own-${Math.floor(i / 20)}`),
      }
    }
    const of = (sets: number) =>
      made()
        .ridge(sets === 0 ? undefined : own(sets))
        .predict(matrixFromRows([[0.5, 0.1]]))[0]!
    expect([of(0), of(3), of(12), of(50)].every((rate, i, all) => i === 0 || rate < all[i - 1]!)).toBe(true)
  })

  it('should tell its errors without the base and the set of a checkpoint', () => {
    const { errors, weight } = made().errors(12)
    expect(weight).toBe(12)
    expect(errors).toHaveLength(360)
    expect(new Set(errors.map(([, , group]) => group)).size).toBe(18)
    expect(new Set(errors.map(([, , , base]) => base)).size).toBe(3)
    // One base alone leaves nobody to ask.
    expect(made(1).errors(12).errors).toEqual([])
  })

  it('should know nothing of a base that is left out', () => {
    const without = made().without('f1')
    expect(without.names).toEqual(['base-0', 'base-2'])
    expect(made().without('another').names).toHaveLength(3)
  })

  it('should fire early where few sets are known', () => {
    const at = (sets: number) => pooledThreshold(made(), sets)
    expect([at(0), at(3), at(6), at(36)]).toEqual([0.05, expect.closeTo(0.055, 12), 0.06, 0.06])
    expect(made().at(0.12).threshold).toBeCloseTo(0.1, 12)
  })
})

describe('beyondPrior', () => {
  // The others moved by 0 to 1.045 along the first trait and by 0 to 0.2 along the second; one unit of drift is two of contrast.
  const beyond = beyondPrior(made(), [
    [2, 0],
    [0, 2],
  ])

  it('should have nothing to say where the other models were, and a quarter of their span around', () => {
    expect(beyond([[0.5, 0.1]])).toBeUndefined()
    expect(beyond([[0.63, 0.1]])).toBeUndefined()
    expect(beyond([[0, -0.02]])).toBeUndefined()
  })

  it('should name the trait that is furthest out, and where', () => {
    expect(beyond([[0.7, 0.1]])).toMatch(
      /^the drift lies beyond all .* extrapolated .*: a moved by 1\.40 of the contrast at 75 % of the depth, theirs by 0\.00 to 1\.0[45]$/,
    )
    expect(beyond([[0.7, -0.3]])).toMatch(/: b moved by -0\.60 of the contrast/)
  })

  it('should see beyond a trait that moved in none of them', () => {
    const prior = made()
    const rows = prior.rows.map((row) => ({ ...row, features: [0.25, row.features[1]!] }))
    const still = beyondPrior({ ...prior, rows }, [
      [1, 0],
      [0, 1],
    ])
    expect(still([[0.25, 0.1]])).toBeUndefined()
    expect(still([[0.25, 0.9]])).toMatch(/: b moved by 0\.90/)
    expect(still([[0.3, 0.1]])).toMatch(/: a moved by 0\.30 .*, theirs by 0\.25 to 0\.25$/)
  })
})

describe('loadPrior', () => {
  const write = (edit: (json: Record<string, unknown>) => void): string => {
    const json = JSON.parse(JSON.stringify(made())) as Record<string, unknown>
    edit(json)
    const path = join(folder, 'prior.json')
    writeFileSync(path, JSON.stringify(json))
    return path
  }

  it('should read what was written, to three digits', async () => {
    const read = await loadPrior(write(() => {}))
    expect(read.rows).toHaveLength(360)
    const { rate, ...counts } = made().rows[7]!.label
    expect(read.rows[7]!.label).toEqual({ ...counts, rate: expect.closeTo(rate, 12) })
    expect(read.rows[7]!.features[0]).toBeCloseTo(made().rows[7]!.features[0]!, 3)
    expect([read.depths, read.threshold, read.names]).toEqual([[0.75], 0.05, made().names])
  })

  it.each([
    [
      'of another kind',
      (json: Record<string, unknown>) => {
        json.kind = 'x'
      },
      /to hold a prior/,
    ],
    [
      'of a later schema',
      (json: Record<string, unknown>) => {
        json.schemaVersion = 3
      },
      /expected schema version 2 .* found 3; update traitscope/,
    ],
    [
      'of the unit before',
      (json: Record<string, unknown>) => {
        json.schemaVersion = 1
      },
      /expected schema version 2 .* found 1; its drifts are in another unit: make it again/,
    ],
    [
      'with a short row',
      (json: Record<string, unknown>) => {
        ;(json.rows as number[][])[3]!.pop()
      },
      /'rows' of .* rows of 7 numbers/,
    ],
    [
      'with a set that it does not name',
      (json: Record<string, unknown>) => {
        ;(json.rows as number[][])[3]![1] = 99
      },
      /rows of known sets/,
    ],
    [
      'with a base that it does not name',
      (json: Record<string, unknown>) => {
        ;(json.rows as number[][])[3]![0] = 99
      },
      /rows of known bases/,
    ],
    [
      'with a base that has no fingerprint',
      (json: Record<string, unknown>) => {
        json.models = [{ name: 'base-0', traitPack: 'pack' }]
      },
      /'models' of .* bases with a name, a fingerprint and a traitPack/,
    ],
  ])('should refuse a file %s', async (_, edit, message) => {
    await expect(loadPrior(write(edit))).rejects.toThrow(message)
  })

  it('should hold ten bases in what ships', async () => {
    const prior = await loadPrior()
    expect(prior.names).toEqual([
      'llama',
      'mistral',
      'qwen2',
      'gemma2',
      'llama-deep',
      'qwen2-deep',
      'gemma3',
      'llama-small',
      'mistral-wide',
      'qwen3',
    ])
    expect(prior.depths.every((depth) => depth <= 0.75)).toBe(true)
  })
})
