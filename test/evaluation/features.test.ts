import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { dot, norm } from '../../lib/estimators/linalg.js'
import { matrixFromRows, row } from '../../lib/estimators/matrix.js'
import {
  basisFeatures,
  firstAxis,
  lastCheckpoints,
  randomBases,
  sparseFeatures,
  traitDrift,
} from '../../lib/evaluation/features.js'
import { readPersona } from '../../lib/evaluation/persona.js'
import { readSparseEncoder } from '../../lib/evaluation/sparse-encoder.js'
import { encodeSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { models, TRAITS } from './synthetic-checkpoints.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-features-'))
afterAll(() => rmSync(folder, { recursive: true }))
const [alpha] = models
const [one] = alpha!.calibration
const rate = () => 0

const f32 = (name: string, shape: number[], values: number[]) => ({
  name,
  dtype: 'F32' as const,
  shape,
  data: Float32Array.from(values),
})
function encoderFile(name: string, tensors: ReturnType<typeof f32>[], metadata: Record<string, string> = {}) {
  const path = join(folder, name)
  writeFileSync(path, encodeSafetensors(tensors, metadata))
  return path
}
// Two features of a state of width 3.
const WEIGHT = [1, 0, -1, 0, 2, 0]
const TRANSPOSED = [1, 0, 0, 2, -1, 0]

describe('readSparseEncoder', () => {
  const state = [3, -1, 1]
  it('should read encoder.weight and encoder.bias: ReLU(W h + b)', async () => {
    const path = encoderFile('plain.safetensors', [
      f32('encoder.weight', [2, 3], WEIGHT),
      f32('encoder.bias', [2], [0.5, 1]),
    ])
    expect([...(await readSparseEncoder(path, 2)).encode(state)]).toEqual([2.5, 0])
  })

  it("should read SAELens' names, its decoder bias taken from the input unless the file says no", async () => {
    const tensors = [
      f32('W_enc', [3, 2], TRANSPOSED),
      f32('b_enc', [2], [0.5, 1]),
      f32('b_dec', [3], [1, -2, 0]),
      f32('W_dec', [2, 3], WEIGHT),
    ]
    const applied = await readSparseEncoder(encoderFile('lens.safetensors', tensors), 2)
    expect([...applied.encode(state)]).toEqual([1.5, 3])
    const metadata = { apply_b_dec_to_input: 'false' }
    const not = await readSparseEncoder(encoderFile('lens-not.safetensors', tensors, metadata), 2)
    expect([...not.encode(state)]).toEqual([2.5, 0])
  })

  it.each<[string, ReturnType<typeof f32>[]]>([
    ['no encoder', [f32('weight', [2, 3], WEIGHT)]],
    [
      'a bias of another length',
      [f32('encoder.weight', [2, 3], WEIGHT), f32('encoder.bias', [3], [0, 0, 0])],
    ],
    ['a vector as weight', [f32('encoder.weight', [6], WEIGHT), f32('encoder.bias', [2], [0, 0])]],
    ['no bias', [f32('W_enc', [3, 2], TRANSPOSED)]],
    [
      'a decoder bias of another length',
      [f32('W_enc', [3, 2], TRANSPOSED), f32('b_enc', [2], [0, 0]), f32('b_dec', [2], [0, 0])],
    ],
  ])('should refuse %s', async (name, tensors) => {
    const path = encoderFile(`${name}.safetensors`, tensors)
    await expect(readSparseEncoder(path, 2)).rejects.toMatchObject({ code: 'FILE_INVALID' })
  })
})

describe('readPersona', () => {
  it('should scale the direction to unit length, and take it at its own layer or where it names none', async () => {
    const tensors = [f32('persona', [3], [0, -3, 4])]
    const persona = await readPersona(encoderFile('persona.safetensors', tensors), 2)
    expect(persona).toEqual(matrixFromRows([[0, -0.6, 0.8]]))
    const placed = encoderFile('placed.safetensors', tensors, { layer: '2' })
    expect(await readPersona(placed, 2)).toEqual(persona)
    expect(await readPersona(placed, null)).toEqual(persona)
  })

  it.each<[string, ReturnType<typeof f32>[]]>([
    ['another name', [f32('evil', [3], [0, -3, 4])]],
    ['a matrix', [f32('persona', [1, 3], [0, -3, 4])]],
    ['zeros', [f32('persona', [3], [0, 0, 0])]],
  ])('should refuse %s', async (name, tensors) => {
    const path = encoderFile(`persona ${name}.safetensors`, tensors)
    await expect(readPersona(path, 2)).rejects.toMatchObject({ code: 'FILE_INVALID' })
  })

  it('should refuse what was made at another layer, as the sparse encoder does', async () => {
    const other = { code: 'NOT_COMPARABLE', message: expect.stringMatching(/at layer 3, found 2/) }
    const persona = encoderFile('persona-2.safetensors', [f32('persona', [3], [1, 0, 0])], { layer: '2' })
    await expect(readPersona(persona, 3)).rejects.toMatchObject(other)
    const encoder = [f32('encoder.weight', [2, 3], WEIGHT), f32('encoder.bias', [2], [0, 0])]
    const sparse = encoderFile('sparse-2.safetensors', encoder, { layer: '2' })
    await expect(readSparseEncoder(sparse, 3)).rejects.toMatchObject(other)
  })
})

describe('sparseFeatures', () => {
  it('should give (z(h_s) - z(h_0)) / N, and say when the widths differ', async () => {
    const weight = [...Array.from({ length: 24 }, (_, i) => Math.sin(i))]
    const path = encoderFile('wide.safetensors', [
      f32('encoder.weight', [2, 12], weight),
      f32('encoder.bias', [2], [1, 9]),
    ])
    const encoder = await readSparseEncoder(path, null)
    const set = sparseFeatures(new Map([['alpha', encoder]]))
    expect(set.name).toBe('SAE K=2')
    const state = one!.origin!.map((value, c) => value + 8 * one!.activation![c]!)
    const expected = [0, 1].map((k) => (encoder.encode(state)[k]! - encoder.encode(one!.origin!)[k]!) / 8)
    const found = set.fit([], [], rate)(one!)
    expect(found[0]).toBeCloseTo(expected[0]!, 12)
    expect(found[1]).toBeCloseTo(expected[1]!, 12)
    expect(norm(found)).toBeGreaterThan(0)
    expect(set.lacks(one!)).toBeUndefined()
    expect(set.lacks({ ...one!, activation: null })).toBe('activations')
    expect(set.lacks(models[1]!.calibration[0]!)).toMatch(/autoencoder/)
  })
})

describe('basisFeatures', () => {
  it('should project the activation drift on every direction', () => {
    const basis = matrixFromRows([new Array(12).fill(0.5), [1, ...new Array(11).fill(0)]])
    const set = basisFeatures('control', new Map([['alpha', basis]]))
    const { activation } = one!
    expect(set.fit([], [], rate)(one!)).toEqual([dot(row(basis, 0), activation!), activation![0]])
    expect(set.lacks(models[1]!.calibration[0]!)).toMatch(/directions/)
  })
})

describe('randomBases', () => {
  it('should draw unit vectors per model, the same again, others per basis', () => {
    const widths = new Map([['alpha', 12]])
    const features = randomBases(widths, { bases: 2, vectors: 3 }).map((set) => set.fit([], [], rate))
    const again = randomBases(widths, { bases: 2, vectors: 3 }).map((set) => set.fit([], [], rate))
    const unit = { ...one!, activation: Float64Array.from({ length: 12 }, (_, c) => (c === 0 ? 1 : 0)) }
    expect(features.map((of) => of(unit))).toEqual(again.map((of) => of(unit)))
    expect(features[0]!(unit)).not.toEqual(features[1]!(unit))
    const lengths = Array.from({ length: 12 }, (_, c) =>
      features[0]!({ ...unit, activation: Float64Array.from({ length: 12 }, (_, i) => (i === c ? 1 : 0)) }),
    )
    for (const k of [0, 1, 2]) expect(norm(lengths.map((values) => values[k]!))).toBeCloseTo(1, 12)
  })
})

describe('traitDrift', () => {
  it('should keep the named traits in the given order', () => {
    const set = traitDrift('two', TRAITS, ['harmlessness', 'honesty'])
    expect(set.fit([], [], rate)(one!)).toEqual([one!.drift[2], one!.drift[0]])
  })
})

describe('firstAxis', () => {
  it('should rest on the last checkpoint of every run, with harmlessness upwards', () => {
    const { calibration } = alpha!
    expect(lastCheckpoints(calibration).map(({ row }) => row.step)).toEqual(new Array(6).fill(50))
    const axis = firstAxis(calibration, TRAITS)
    expect(axis[2]).toBeGreaterThan(0)
    expect(firstAxis(calibration.toReversed(), TRAITS)).toEqual(
      axis.map((value) => expect.closeTo(value, 12)),
    )
    const early = calibration.map((x) => (x.row.step === 50 ? x : { ...x, drift: x.drift.map(() => 99) }))
    expect(firstAxis(early, TRAITS)).toEqual(axis)
  })
})
