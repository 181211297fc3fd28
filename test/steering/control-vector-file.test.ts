import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { encodeGguf, type GgufInput, readGguf } from '../../lib/formats/gguf/gguf.js'
import { inspectPath } from '../../lib/inspect/inspect.js'
import { packageRoot } from '../../lib/package.js'
import { readControlVector, writeControlVector } from '../../lib/steering/control-vector-file.js'
import { fitRemarks, steeringVector } from '../../lib/steering/steering-vector.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-vector-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const DIRECTIONS = join(packageRoot, 'organisms/models/gemma2/directions')
const length = (vector: Float32Array) => Math.hypot(...vector)

/** A file of somebody else's: vectors 1, 2 and 3 hold their own number. */
function foreign(name: string, countType: 'i32' | 'u32', change: Partial<GgufInput> = {}): string {
  const path = join(folder, name)
  const input: GgufInput = {
    metadata: [
      ['general.architecture', 'string', 'controlvector'],
      ['controlvector.model_hint', 'string', 'llama'],
      ['controlvector.layer_count', countType, 3],
    ],
    tensors: [1, 2, 3].map((layer) => ({
      name: `direction.${layer}`,
      shape: [4],
      type: 'F32' as const,
      data: new Float32Array(4).fill(layer),
    })),
    ...change,
  }
  writeFileSync(path, encodeGguf(input))
  return path
}

describe('a control-vector file of ours', () => {
  it("should be llama.cpp's form, as long as a mean state, and come back as it was", async () => {
    const directions = await loadDirections(DIRECTIONS)
    const vector = steeringVector(directions, 'honesty', [2, 1])
    expect(length(vector.vectors.get(2)!)).toBeCloseTo(directions.diagnostics[2]!.activationNorm, 3)
    const path = join(folder, 'honesty.gguf')
    await writeControlVector(vector, path)
    const { metadata, tensors, types } = await readGguf(path)
    expect([...tensors.keys()]).toEqual(['direction.1', 'direction.2'])
    expect(metadata.get('general.architecture')).toBe('controlvector')
    expect(metadata.get('controlvector.model_hint')).toBe('gemma2')
    expect(metadata.get('traitscope.directions_sha256')).toBe(directions.sha256)
    expect(types.get('controlvector.layer_count')).toBe('u32')
    const back = await readControlVector(path)
    expect(back).toMatchObject({ name: 'honesty', unit: 'norm', remarks: [] })
    expect(back.origin).toMatchObject({ directionsSha256: directions.sha256, architecture: 'gemma2' })
    expect([...back.vectors]).toEqual([...vector.vectors].sort(([a], [b]) => a - b))
  })

  it('should be told apart from a model by inspect', async () => {
    const { kind, facts, remarks } = await inspectPath(join(folder, 'honesty.gguf'))
    expect(kind).toBe('control-vector')
    expect(Object.fromEntries(facts)).toMatchObject({ name: 'honesty', layers: '1, 2', 'hidden size': '128' })
    expect(remarks).toBeUndefined()
    const theirs = await inspectPath(foreign('inspected.gguf', 'i32'))
    expect(Object.fromEntries(theirs.facts)).toMatchObject({
      layers: '0, 1, 2',
      'dose 1': 'the vector as it is',
    })
    expect(theirs.remarks).toHaveLength(1)
  })

  it('should have no block 0, which the form cannot name, and no trait or layer that is not there', async () => {
    const directions = await loadDirections(DIRECTIONS)
    const first = steeringVector(directions, 'honesty', [0])
    await expect(writeControlVector(first, join(folder, 'no.gguf'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    })
    expect(() => steeringVector(directions, 'humour')).toThrow('expected a trait of the directions (honesty,')
    expect(() => steeringVector(directions, 'honesty', [9])).toThrow('not at 9')
    expect(() => steeringVector(directions, 'honesty', [])).toThrow('at least one')
  })
})

describe('writeControlVector', () => {
  it('should refuse numbers that nobody can steer by, and write nothing', async () => {
    const vector = steeringVector(await loadDirections(DIRECTIONS), 'honesty', [1])
    const path = join(folder, 'nan.gguf')
    vector.vectors.get(1)![3] = Number.NaN
    await expect(writeControlVector(vector, path)).rejects.toMatchObject({ code: 'SHAPE' })
    expect(existsSync(path)).toBe(false)
  })
})

describe("a file of somebody else's", () => {
  it('should be added where its names say, and that should be said', async () => {
    const { vectors, unit, name, origin, remarks } = await readControlVector(foreign('theirs.gguf', 'u32'))
    expect([...vectors].map(([layer, [value]]) => [layer, value])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ])
    expect([unit, name, origin.writtenBy]).toEqual(['file', 'theirs', 'unknown'])
    expect(remarks).toEqual([
      expect.stringContaining('at the block that it is named after (the file does not say'),
    ])
  })

  it("should be moved down by a block where llama.cpp's generator wrote it, unless told otherwise", async () => {
    const path = foreign('generator.gguf', 'i32')
    const { vectors, origin, remarks } = await readControlVector(path)
    expect([...vectors].map(([layer, [value]]) => [layer, value])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ])
    expect(origin.writtenBy).toBe("llama.cpp's generator")
    expect(remarks).toEqual([expect.stringContaining('one block before the one that it is named after')])
    const asked = await readControlVector(path, { shift: 0 })
    expect([...asked.vectors.keys()]).toEqual([1, 2, 3])
    expect(asked.remarks).toEqual([expect.stringContaining('(as asked)')])
  })

  it.each<[string, Partial<GgufInput>, string]>([
    [
      'a model',
      { metadata: [['general.architecture', 'string', 'llama']] },
      'the architecture controlvector',
    ],
    ['nothing', { tensors: [] }, 'at least one tensor'],
    [
      'a name that is none',
      { tensors: [{ name: 'direction.0', shape: [1], type: 'F32', data: new Float32Array(1) }] },
      'direction.0',
    ],
    [
      'NaN',
      { tensors: [{ name: 'direction.1', shape: [1], type: 'F32', data: Float32Array.of(Number.NaN) }] },
      'finite numbers',
    ],
    [
      'another type',
      { tensors: [{ name: 'direction.1', shape: [2], type: 'F16', data: new Uint16Array(2) }] },
      'to be F32',
    ],
  ])('should be refused with %s', async (what, change, words) => {
    const error = await readControlVector(foreign(`${what}.gguf`, 'u32', change)).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ code: 'FILE_INVALID', message: expect.stringContaining(words) })
  })

  it('should fit the model, and say where it was made on another file', async () => {
    const vector = await readControlVector(foreign('fit.gguf', 'u32'))
    const model = {
      info: { nEmbd: 4, nLayer: 4, architecture: 'llama' },
      fingerprint: 'f'.repeat(64),
    } as Parameters<typeof fitRemarks>[0]
    expect(fitRemarks(model, vector)).toEqual([])
    const made = { ...vector, origin: { ...vector.origin, baseFingerprint: 'e'.repeat(64) } }
    expect(fitRemarks(model, made)).toEqual([expect.stringContaining('made on another file (eeeeeeeeeeee)')])
    const other = { ...model, info: { ...model.info, architecture: 'qwen2' } }
    expect(fitRemarks(other, vector)).toEqual([
      expect.stringContaining('for a llama model, and this one is qwen2'),
    ])
    const narrow = { ...model, info: { ...model.info, nEmbd: 5 } }
    expect(() => fitRemarks(narrow, vector)).toThrow('has 4 values, but this model has 4 layers of 5')
    const shallow = { ...model, info: { ...model.info, nLayer: 3 } }
    expect(() => fitRemarks(shallow, vector)).toThrow('at layer 3')
  })
})
