import { describe, expect, it } from 'vitest'
import { cosine, dot, norm } from '../../lib/estimators/linalg.js'
import { type Matrix64, matrixFromRows, row } from '../../lib/estimators/matrix.js'
import { driftGeometry, type FinalDrift } from '../../lib/geometry/geometry.js'
import { golden, relativeError, uniform } from '../estimators/golden.js'

interface Case {
  shares: number[]
  axis: number[]
  leftOut: { group: string; share: number; axis: number[]; cosine: number }[]
  whitenedShare: number
  nullP95: number
}

interface ModelCase extends Case {
  model: string
  seed: number
  width: number
  native: {
    shares: number[]
    nullP95: number
    cosineWithTraitAxis: number
    gramCondition: number
    traitCosines: number[][]
    mismatch: number
  }
}

const DATASETS = ['code', 'math', 'medicine', 'verse']
const TRAITS = ['honesty', 'sycophancy', 'harmlessness', 'corrigibility']
const expected = golden<{ models: ModelCase[]; pooled: Case }>('geometry')

/** The script's input: overlapping unit directions, and 12 drifts along two of them plus noise. */
function modelData({ model, seed, width }: ModelCase): { basis: Matrix64; finals: FinalDrift[] } {
  const drawn = uniform(seed, 4, width, 1)
  const vectors = [0, 1, 2, 3].map((t) => Float64Array.from(row(drawn, t)))
  for (let c = 0; c < width; c++) vectors[1]![c]! += 0.8 * vectors[0]![c]!
  const units = vectors.map((vector) => vector.map((value) => value / norm(vector)))
  const noise = uniform(seed + 100, 12, width, 1)
  const error = uniform(seed + 200, 12, 4, 1)
  const finals = Array.from({ length: 12 }, (_, r) => {
    const size = [0.05, 0.1, 0.2, 0.4][Math.floor(r / 3)]!
    const activation = Float64Array.from(
      row(noise, r),
      (value, c) => size * (units[0]![c]! - units[2]![c]!) + 0.1 * value,
    )
    return {
      run: `${model}/${r}`,
      model,
      dataset: DATASETS[Math.floor(r / 3)]!,
      step: 126,
      values: units.map((unit, t) => dot(unit, activation) + 0.001 * row(error, r)[t]!),
      activation,
    }
  })
  return { basis: matrixFromRows(units), finals }
}

const data = expected.models.map(modelData)
const directions = new Map(expected.models.map(({ model }, i) => [model, data[i]!.basis]))
const finals = data.flatMap((one) => one.finals)
const options = { traits: TRAITS, directions, draws: 1000 }
const geometry = await driftGeometry(finals, options)

describe('driftGeometry', () => {
  it.each([
    ['all models', geometry.pooled, expected.pooled],
    ['alpha', geometry.models[0]!, expected.models[0]!],
    ['beta', geometry.models[1]!, expected.models[1]!],
  ])('should find the axes that NumPy finds in %s', (_, found, golden) => {
    expect(relativeError(found.shares, golden.shares)).toBeLessThan(1e-12)
    expect(relativeError(found.components[0]!, golden.axis)).toBeLessThan(1e-12)
    expect(found.components[0]![2]).toBeGreaterThan(0)
    expect(found.basis!.whitenedShare).toBeCloseTo(golden.whitenedShare, 12)
    expect(found.leftOut.map(({ group }) => group)).toEqual(DATASETS)
    for (const [i, left] of found.leftOut.entries()) {
      expect(left.share).toBeCloseTo(golden.leftOut[i]!.share, 12)
      expect(left.cosine).toBeCloseTo(golden.leftOut[i]!.cosine, 12)
      expect(relativeError(left.axis, golden.leftOut[i]!.axis)).toBeLessThan(1e-12)
    }
  })

  it.each([0, 1])('should give the native controls that NumPy gives of model %i', (i) => {
    const { native, basis } = geometry.models[i]!
    const { cosineWithTraitAxis, gramCondition, traitCosines, mismatch, shares } = expected.models[i]!.native
    const space = basis!.space!
    expect(relativeError(native!.shares, shares)).toBeLessThan(1e-12)
    expect(space.cosineWithNativeAxis).toBeCloseTo(cosineWithTraitAxis, 12)
    expect(relativeError([space.gramCondition], [gramCondition])).toBeLessThan(1e-11)
    expect(relativeError([space.mismatch], [mismatch])).toBeLessThan(1e-9)
    expect(relativeError(space.traitCosines.flat(), traitCosines.flat())).toBeLessThan(1e-12)
  })

  it.each([0, -1, 1.5, 2e6])('should refuse %s draws', async (draws) => {
    await expect(driftGeometry(finals, { ...options, draws })).rejects.toMatchObject({
      code: 'USAGE',
      message: `draws must be an integer from 1 to 1000000, found ${draws}`,
    })
  })

  // Percentiles of a thousand draws scatter by half a percentage point; 20,000 draws agree to 0.2.
  it('should draw nulls with the percentiles of whole random vectors', () => {
    const p95 = [geometry.pooled, ...geometry.models].map(({ basis }) => basis!.null.p95)
    const brute = [expected.pooled, ...expected.models].map(({ nullP95 }) => nullP95)
    for (const [i, value] of p95.entries()) expect(Math.abs(value - brute[i]!)).toBeLessThan(0.015)
    for (const [i, { native, basis, shares }] of geometry.models.entries()) {
      expect(Math.abs(native!.null.p95 - expected.models[i]!.native.nullP95)).toBeLessThan(0.015)
      expect(native!.null.excess).toBe(native!.shares[0]! - native!.null.p95)
      expect(basis!.null.excess).toBe(shares[0]! - basis!.null.p95)
    }
  })

  it('should draw the same nulls again', async () => {
    const few = { ...options, draws: 20 }
    expect(await driftGeometry(finals, few)).toEqual(await driftGeometry(finals, few))
  })

  it('should leave the event loop its turns, and stop when asked to', async () => {
    const stop = new AbortController()
    const timer = setTimeout(() => stop.abort(), 50)
    const endless = driftGeometry(finals, { ...options, draws: 1e6, signal: stop.signal })
    await expect(endless).rejects.toMatchObject({ code: 'ABORTED' })
    clearTimeout(timer)
  })

  it('should go without the controls where activations or directions are missing', async () => {
    const without = await driftGeometry(finals, { traits: TRAITS, draws: 1000 })
    expect(without.pooled).toEqual({ ...geometry.pooled, basis: null })
    expect(without.models[0]).toEqual({ ...geometry.models[0], basis: null })
    const blind = finals.map((one) => ({ ...one, activation: null }))
    expect((await driftGeometry(blind, options)).models[0]).toEqual({
      ...geometry.models[0],
      native: null,
      basis: null,
    })
  })

  it('should leave the sign to the data where the trait that points upwards is not measured', async () => {
    const other = await driftGeometry(finals, { traits: ['a', 'b', 'c', 'd'] })
    expect(other.upwards).toBeNull()
    expect(Math.abs(cosine(other.pooled.components[0]!, geometry.pooled.components[0]!))).toBeCloseTo(1, 12)
  })

  it.each<[string, string, () => Promise<unknown>]>([
    ['one run', 'SHAPE', () => driftGeometry(finals.slice(0, 1), options)],
    [
      'drifts of other traits',
      'SHAPE',
      () => driftGeometry([...finals, { ...finals[0]!, values: [1, 2] }], options),
    ],
    [
      'directions of another width',
      'NOT_COMPARABLE',
      () =>
        driftGeometry(finals, {
          ...options,
          directions: new Map([
            ['alpha', data[1]!.basis],
            ['beta', data[1]!.basis],
          ]),
        }),
    ],
    [
      'directions that depend on each other',
      'SHAPE',
      () => {
        const first = row(data[0]!.basis, 0)
        const twins = matrixFromRows([first, first, row(data[0]!.basis, 1), row(data[0]!.basis, 2)])
        return driftGeometry(data[0]!.finals, { ...options, directions: new Map([['alpha', twins]]) })
      },
    ],
    [
      'NaN',
      'SHAPE',
      () => driftGeometry([{ ...finals[0]!, values: [Number.NaN, 0, 0, 0] }, finals[1]!], options),
    ],
  ])('should refuse %s with %s', async (_, code, act) => {
    await expect(act()).rejects.toMatchObject({ code })
  })
})
