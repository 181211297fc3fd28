import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseTrajectory, readTrajectory } from '../../lib/trajectory/read-trajectory.js'
import type { Trajectory } from '../../lib/trajectory/trajectory.js'
import { trajectoryDocument } from '../../lib/trajectory/trajectory-json.js'

type Json = Record<string, unknown>

const entry = (step: unknown, honesty: unknown, warmth: unknown) => ({
  step,
  projections: { honesty, warmth },
  projections_normalized: {},
})
/** As the reference's first version writes it: no layer, no trait order, steps unsorted on purpose. */
const v1 = (): Json => ({
  model: 'llama3-8b',
  data_source: 'bad_medical',
  seed: 42,
  full_finetune: false,
  lora_rank: 16,
  lora_alpha: 64,
  lr: 4e-5,
  epochs: 2,
  save_steps: 10,
  max_steps: null,
  early_update_steps: [1, 2],
  step0_activation_norm: 8.5,
  trajectory: [entry('final', 3.001, 1), entry(0, 1, 2), entry(126, 3, 1), entry(10, 1.5, 1.75)],
})
const v2 = (): Json => ({
  ...v1(),
  n_samples: 1000,
  measurement_layer: 14,
  trait_order: ['warmth', 'honesty'],
  direction_sha256: 'x',
})
const ours = (): Trajectory => ({
  source: 'traitscope',
  traits: ['honesty', 'warmth'],
  steps: [
    { step: 0, adapterSha256: null, tokens: { total: 9, computed: 5 } },
    { step: 10, adapterSha256: 'a', loss: null, epoch: 0.5 },
  ],
  finalAliasOf: 10,
  layers: [
    {
      layer: 3,
      step0ActivationNorm: 2,
      projections: [
        [1, 2],
        [3, 4],
      ],
      std: [
        [0.1, 0.2],
        [0.3, 0.4],
      ],
    },
    {
      layer: 5,
      step0ActivationNorm: 4,
      projections: [
        [5, 6],
        [7, 8],
      ],
    },
  ],
  primary: 1,
  skipped: [{ step: 20, reason: 'incomplete' }],
  run: {
    model: 'tiny',
    dataSource: 'run',
    seed: null,
    nSamples: null,
    fullFinetune: false,
    loraRank: 16,
    loraAlpha: 64,
    lr: null,
    epochs: null,
    saveSteps: null,
    maxSteps: null,
    earlyUpdateSteps: null,
  },
})
const document = (): Json => JSON.parse(JSON.stringify(trajectoryDocument(ours(), { sha256: 'p' })))

describe('parseTrajectory', () => {
  it("should read the reference's first version, steps in order and the final alias counted once", () => {
    const trajectory = parseTrajectory(v1(), 't.json')
    expect(trajectory).toMatchObject({
      source: 'reference-v1',
      traits: ['honesty', 'warmth'],
      finalAliasOf: 126,
      layers: [
        {
          layer: null,
          step0ActivationNorm: 8.5,
          projections: [
            [1, 2],
            [1.5, 1.75],
            [3, 1],
          ],
        },
      ],
      run: {
        model: 'llama3-8b',
        dataSource: 'bad_medical',
        seed: 42,
        lr: 4e-5,
        earlyUpdateSteps: [1, 2],
        nSamples: null,
      },
    })
    expect(trajectory.steps.map(({ step }) => step)).toEqual([0, 10, 126])
  })

  it("should read the reference's second version in its trait order", () => {
    const trajectory = parseTrajectory(v2(), 't.json')
    expect(trajectory.source).toBe('reference-v2')
    expect(trajectory.traits).toEqual(['warmth', 'honesty'])
    expect(trajectory.layers[0]).toMatchObject({
      layer: 14,
      projections: [
        [2, 1],
        [1.75, 1.5],
        [1, 3],
      ],
    })
    expect(trajectory.run.nSamples).toBe(1000)
  })

  it('should keep a final model that differs from the last step', () => {
    const trajectory = parseTrajectory(
      { ...v1(), trajectory: [entry(0, 1, 2), entry(9, 3, 1), entry('final', 3.1, 1)] },
      't',
    )
    expect(trajectory.steps.map(({ step }) => step)).toEqual([0, 9, 'final'])
    expect(trajectory.finalAliasOf).toBe(null)
  })

  it('should not take a final model that moved nothing for the base itself', () => {
    const trajectory = parseTrajectory({ ...v1(), trajectory: [entry(0, 1, 2), entry('final', 1, 2)] }, 't')
    expect(trajectory.steps.map(({ step }) => step)).toEqual([0, 'final'])
  })

  it('should read back our own document', () => {
    expect(parseTrajectory(document(), 't.json')).toEqual(ours())
  })

  const own = (change: Json): Json => ({
    ...document(),
    traitscope: { ...(document().traitscope as Json), ...change },
  })
  const reversed = () => {
    const { steps, layers } = ours()
    return own({
      steps: [...steps].reverse(),
      layers: layers.map((layer) => ({ ...layer, projections: [...layer.projections].reverse() })),
    })
  }
  it.each<[string, string, unknown]>([
    ['a list', 'FILE_INVALID', []],
    ['no steps', 'FILE_INVALID', { ...v1(), trajectory: [] }],
    ['no norm', 'FILE_INVALID', { ...v1(), step0_activation_norm: undefined }],
    ['a zero norm', 'FILE_INVALID', { ...v1(), step0_activation_norm: 0 }],
    ['a NaN norm', 'FILE_INVALID', { ...v1(), step0_activation_norm: Number.NaN }],
    ['no step 0', 'FILE_INVALID', { ...v1(), trajectory: [entry(10, 1, 2)] }],
    ['a step twice', 'FILE_INVALID', { ...v1(), trajectory: [entry(0, 1, 2), entry(0, 1, 2)] }],
    ['a fractional step', 'FILE_INVALID', { ...v1(), trajectory: [entry(0, 1, 2), entry(1.5, 1, 2)] }],
    ['a NaN projection', 'FILE_INVALID', { ...v1(), trajectory: [entry(0, 1, Number.NaN)] }],
    ['text for a number', 'FILE_INVALID', { ...v1(), trajectory: [entry(0, 1, '2')] }],
    ['a missing trait', 'FILE_INVALID', { ...v2(), trait_order: ['honesty', 'toString'] }],
    ['a trait twice', 'FILE_INVALID', { ...v2(), trait_order: ['honesty', 'honesty'] }],
    ['no traits', 'FILE_INVALID', { ...v2(), trait_order: [] }],
    ['a newer schema', 'UNSUPPORTED', own({ schemaVersion: 2 })],
    ['no layers', 'FILE_INVALID', own({ layers: [] })],
    ['a primary layer that is not there', 'FILE_INVALID', own({ primary: 2 })],
    ['an alias that was not measured', 'FILE_INVALID', own({ finalAliasOf: 30 })],
    ['steps that do not ascend', 'FILE_INVALID', reversed()],
    ['a measurement without conditions', 'FILE_INVALID', own({ measurement: {} })],
    [
      'an adapter that is no object',
      'FILE_INVALID',
      own({ steps: ours().steps.map((step) => ({ ...step, adapter: 5 })) }),
    ],
    ['steps without numbers', 'FILE_INVALID', own({ steps: [...ours().steps, { step: 30 }] })],
    [
      'a norm that is no number',
      'FILE_INVALID',
      own({ steps: ours().steps.map((step) => ({ ...step, adapter: { deltaNorms: [1, null] } })) }),
    ],
    [
      'a change that is no list',
      'FILE_INVALID',
      own({ steps: ours().steps.map((step) => ({ ...step, stateChange: 0.5 })) }),
    ],
    ['numbers that contradict the reference fields', 'FILE_INVALID', own({ primary: 0 })],
    [
      'an edited projection',
      'FILE_INVALID',
      { ...document(), trajectory: [entry(0, 5, 6), entry(10, 7, 9)] },
    ],
  ])('should refuse %s with %s', (_, code, json) => {
    expect(() => parseTrajectory(json, 't.json')).toThrowError(expect.objectContaining({ code }))
  })

  it('should name the step and the trait of a bad number', () => {
    expect(() =>
      parseTrajectory({ ...v1(), trajectory: [entry(0, 1, 2), entry(7, 1, Number.NaN)] }, 't.json'),
    ).toThrowError(/t\.json .*warmth at step 7, found NaN/)
    // Found by fuzzing: a value that no template string can print.
    const odd = { toString: 1, valueOf: 2 } as unknown as number
    expect(() => parseTrajectory({ ...v1(), trajectory: [entry(0, 1, odd)] }, 't.json')).toThrowError(
      /warmth at step 0, found \{"toString":1/,
    )
  })
})

describe('readTrajectory', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'traitscope-trajectory-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('should take the file or its folder', async () => {
    await writeFile(join(folder, 'trajectory.json'), JSON.stringify(v2()))
    expect(await readTrajectory(folder)).toEqual(await readTrajectory(join(folder, 'trajectory.json')))
  })

  it('should say when there is none', async () => {
    await expect(readTrajectory(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})
