import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  type CheckpointKernels,
  type EngineConditions,
  engineConditions,
  engineMismatches,
  engineRemarks,
  notRecorded,
  parseEngine,
} from '../../lib/conditions/engine.js'
import { loadBundle } from '../../lib/detector/bundle.js'
import { JsonFields } from '../../lib/formats/json/json-fields.js'
import type { Model } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'

const model = (original?: number) =>
  ({
    limits: {
      longest: 4096,
      reason: '',
      ...(original ? { longRope: { original, shortContext: original } } : {}),
    },
    options: { repack: true },
    placement: { onDevice: 0 },
  }) as unknown as Model
const prompts = (...lengths: number[]) => lengths.map((length) => ({ length }))
const engine: EngineConditions = engineConditions(model(), prompts(3))

describe('the conditions of the engine', () => {
  it.each([
    [[3, 256], 'short'],
    [[257, 300], 'long'],
    [[3, 257], 'both'],
  ] as const)('should say by which factors prompts of %j rotate: %s', (lengths, longRope) => {
    expect(engineConditions(model(256), prompts(...lengths)).longRope).toBe(longRope)
  })

  it.each([
    [{ cache: 'F16' }, /cached keys and values is F16/],
    [{ flashAttention: true }, /flash attention is true/],
    [{ longRope: 'long' as const }, /rotation \(LongRoPE\) is long/],
  ])('should not be comparable when they differ in %j', (change, message) => {
    expect(engineMismatches(engine, { ...engine, ...change }).join()).toMatch(message)
    expect(engineRemarks(engine, { ...engine, ...change })).toEqual([])
  })

  it.each([
    [{ llamaCpp: 'v9' }, /llama\.cpp v9, not v0/],
    [{ system: 'AVX2 = 1' }, /another processor/],
    [{ repack: false }, /not repacked/],
    [{ gpuLayers: 12 }, /12 blocks on the GPU/],
  ])('should be said when they differ in %j', (change, message) => {
    expect(engineMismatches(engine, { ...engine, ...change })).toEqual([])
    expect(engineRemarks(engine, { ...engine, ...change }).join()).toMatch(message)
  })

  it.each<[CheckpointKernels[] | undefined, CheckpointKernels[] | undefined, string[]]>([
    [['attach'], ['attach'], []],
    [['attach', 'merge'], ['merge'], []],
    [['attach'], ['attach', 'merge'], ['adapters merged into a copy of the base']],
    [['merge'], ['attach'], ['adapters beside the weights']],
    [['attach'], ['convert'], ['whole models']],
    [undefined, ['merge'], []],
    [['attach'], undefined, []],
  ])('should say that calibration runs met the base as %j and these as %j', (calibrated, measured, what) => {
    const met = (checkpoints?: CheckpointKernels[]) => ({ ...engine, ...(checkpoints && { checkpoints }) })
    expect(engineMismatches(met(calibrated), met(measured))).toEqual([])
    expect(engineRemarks(met(calibrated), met(measured))).toEqual(
      what.map((one) => `measured with other kernels than the calibration runs: ${one}`),
    )
  })

  it('should say what a bundle did not record', () => {
    expect(notRecorded(undefined)).toEqual(['how states were computed'])
    expect(notRecorded(engine)).toEqual(['whether adapters were attached or merged'])
    expect(notRecorded({ ...engine, checkpoints: ['attach'] })).toEqual([])
  })

  it('should compare nothing that one of the two does not say', () => {
    expect(engineMismatches(undefined, { ...engine, cache: 'F16' })).toEqual([])
    expect(engineRemarks(engine, undefined)).toEqual([])
  })

  it('should come back from a file, and be absent in older ones', async () => {
    const at = (json: object) => new JsonFields(json as Record<string, unknown>, 'file', '')
    expect(parseEngine(at({ engine: JSON.parse(JSON.stringify(engine)) }))).toEqual(engine)
    expect(parseEngine(at({}))).toBeUndefined()
    const met = { ...engine, checkpoints: ['attach', 'merge'] }
    expect(parseEngine(at({ engine: JSON.parse(JSON.stringify(met)) }))).toEqual(met)
    expect(() => parseEngine(at({ engine: { ...engine, checkpoints: ['glued'] } }))).toThrow(
      /checkpoints.*attach, convert, merge/,
    )
    expect(() => parseEngine(at({ engine: { ...engine, longRope: 'twisted' } }))).toThrow(
      /longRope.*short, long/,
    )
    const shipped = await loadBundle(join(packageRoot, 'organisms/bundles/gemma2'))
    expect(shipped.calibratedFor.engine).toBeUndefined()
  })
})
