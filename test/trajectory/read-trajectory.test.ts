import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseTrajectory, readTrajectory } from '../../lib/trajectory/read-trajectory.js'
import type { Trajectory } from '../../lib/trajectory/trajectory.js'
import { trajectoryDocument } from '../../lib/trajectory/trajectory-json.js'
import { fakeDirections } from '../directions/fake-directions.js'

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
  strengths: [
    {
      strength: 2,
      layers: [
        {
          layer: 3,
          step0ActivationNorm: 2,
          projections: [
            [1, 2],
            [9, 8],
          ],
        },
        {
          layer: 5,
          step0ActivationNorm: 4,
          projections: [
            [5, 6],
            [7, 9],
          ],
        },
      ],
      stateChange: [
        [0, 0],
        [0.5, 0.25],
      ],
    },
  ],
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
  const steps = (change: Json) => own({ steps: ours().steps.map((step) => ({ ...step, ...change })) })
  const layer = (change: Json) => own({ layers: [{ ...ours().layers[0], ...change }, ours().layers[1]] })
  const measured = (change: Json): Json => {
    const { conditions } = fakeDirections()
    const measurement = {
      conditions,
      directionsSha256: 'd',
      tokenIdsSha256: 't',
      device: 'cpu',
      nPrompts: 3,
      tokens: { total: 9, computed: 5 },
      mismatches: [],
      ...change,
    }
    return own({ measurement })
  }

  const strength = (change: Json) => own({ strengths: [{ ...ours().strengths![0], ...change }] })

  // Every message is read: a file that is refused for another reason than its own would pass for checked.
  it.each<[string, unknown, RegExp]>([
    ['a list', [], /a JSON object/],
    ['no list of steps', { ...v1(), trajectory: 5 }, /a list 'trajectory' with at least one step/],
    ['no steps', { ...v1(), trajectory: [] }, /a list 'trajectory' with at least one step/],
    ['no norm', { ...v1(), step0_activation_norm: undefined }, /a positive number 'step0_activation_norm'/],
    ['a zero norm', { ...v1(), step0_activation_norm: 0 }, /a positive number/],
    ['a NaN norm', { ...v1(), step0_activation_norm: Number.NaN }, /a positive number/],
    ['no step 0', { ...v1(), trajectory: [entry(10, 1, 2)] }, /step 0, which drift is measured from/],
    [
      'a step twice',
      { ...v1(), trajectory: [entry(0, 1, 2), entry(0, 1, 2)] },
      /step 0 once, found it twice/,
    ],
    [
      'a fractional step',
      { ...v1(), trajectory: [entry(0, 1, 2), entry(1.5, 1, 2)] },
      /'trajectory\[1\]' with a step/,
    ],
    [
      'an entry that is null',
      { ...v2(), trajectory: [entry(0, 1, 2), null] },
      /'trajectory\[1\]' with a step/,
    ],
    ['an entry without projections', { ...v2(), trajectory: [{ step: 0 }] }, /'trajectory\[0\]' with a step/],
    ['no traits and nothing to tell them by', { ...v1(), trajectory: [null] }, /trait names in/],
    [
      'projections that are a list',
      { ...v1(), trajectory: [{ step: 0, projections: [1] }] },
      /trait names in/,
    ],
    [
      'a NaN projection',
      { ...v1(), trajectory: [entry(0, 1, Number.NaN)] },
      /finite projection of warmth at step 0/,
    ],
    ['text for a number', { ...v1(), trajectory: [entry(0, 1, '2')] }, /finite projection of warmth/],
    ['a missing trait', { ...v2(), trait_order: ['honesty', 'toString'] }, /projection of toString/],
    ['a trait twice', { ...v2(), trait_order: ['honesty', 'honesty'] }, /trait names in/],
    ['a trait without a name', { ...v2(), trait_order: ['honesty', 1] }, /trait names in/],
    ['no traits', { ...v2(), trait_order: [] }, /trait names in/],
    ['a member that is no object', { ...document(), traitscope: 1 }, /an object 'traitscope'/],
    ['a newer schema', own({ schemaVersion: 2 }), /schema version 1 in t.json, found 2/],
    [
      'steps that are no list',
      own({ steps: {} }),
      /'traitscope.steps' of t.json to be a list of measured steps/,
    ],
    ['a step that is null', own({ steps: [ours().steps[0], null] }), /a list of measured steps/],
    ['a step without its number', steps({ step: 'ten' }), /a list of measured steps/],
    [
      'categories without their numbers',
      own({ categories: [{ category: 'casual', prompts: 3 }] }),
      /projections by category/,
    ],
    [
      'categories of no prompts',
      own({ categories: [{ category: 'casual', prompts: 0 }] }),
      /numbers of prompts/,
    ],
    ['strengths that are no list', own({ strengths: {} }), /strengths above 0, each with the layers/],
    ['a strength of zero', strength({ strength: 0 }), /strengths above 0/],
    ['a strength without a layer', strength({ layers: [] }), /strengths above 0/],
    ['a strength of other layers', strength({ layers: ours().layers.toReversed() }), /strengths above 0/],
    ['a strength of fewer steps', strength({ stateChange: [[0, 0]] }), /strengths above 0/],
    [
      'a strength with a text',
      strength({
        stateChange: [
          [0, 0],
          ['x', 0],
        ],
      }),
      /strengths above 0/,
    ],
    ['steps without the first', own({ steps: ours().steps.slice(1) }), /steps that ascend from 0/],
    ['no measured steps', own({ steps: [] }), /steps that ascend from 0/],
    ['steps that do not ascend', reversed(), /steps that ascend from 0/],
    [
      'a measured step twice',
      own({ steps: [ours().steps[0], ours().steps[1], ours().steps[1]] }),
      /steps that ascend/,
    ],
    ['files that are no list', steps({ files: 1 }), /files with path and sha256 at step 0/],
    [
      'files without hashes',
      steps({ files: [{ path: 'a', sha256: 'b' }, { path: 'a' }] }),
      /files with path and sha256 at step 0/,
    ],
    ['files that are null', steps({ files: [null] }), /files with path and sha256 at step 0/],
    ['remarks that are no list', steps({ remarks: 'odd' }), /remarks that are sentences at step 0/],
    ['remarks that are no text', steps({ remarks: ['odd', 1] }), /remarks that are sentences at step 0/],
    ['an adapter that is no object', steps({ adapter: 5 }), /an object 'adapter' at step 0/],
    [
      'a norm that is no number',
      steps({ adapter: { deltaNorms: [1, null] } }),
      /norms that are finite numbers at step 0/,
    ],
    [
      'a norm of the whole that is none',
      steps({ adapter: { deltaNorm: 'x' } }),
      /norms that are finite numbers/,
    ],
    ['a change that is no list', steps({ stateChange: 0.5 }), /norms that are finite numbers/],
    [
      'no layers',
      own({ layers: [] }),
      /'traitscope.layers' .* a list of layers with 2 x 2 finite projections/,
    ],
    ['layers that are no list', own({ layers: {} }), /a list of layers/],
    ['a layer that is null', own({ layers: [null, ours().layers[1]] }), /a list of layers/],
    ['a layer without its block', layer({ layer: -1 }), /a list of layers/],
    ['a layer without a norm', layer({ step0ActivationNorm: 0 }), /a list of layers/],
    ['projections that are no list', layer({ projections: 1 }), /a list of layers/],
    ['projections that are no table', layer({ projections: [1, 2] }), /a list of layers/],
    ['a row too few', layer({ projections: [[1, 2]] }), /a list of layers/],
    ['a number too few', layer({ projections: [[1, 2], [3]] }), /a list of layers/],
    [
      'a number that is null',
      layer({
        projections: [
          [1, 2],
          [3, null],
        ],
      }),
      /a list of layers/,
    ],
    ['spreads that are no table', layer({ std: [[1, 2]] }), /a list of layers/],
    ['steps without numbers', own({ steps: [...ours().steps, { step: 30 }] }), /3 x 2 finite projections/],
    ['a primary layer that is not there', own({ primary: 2 }), /'traitscope.primary' .* index into 2 layers/],
    [
      'an alias that was not measured',
      own({ finalAliasOf: 30 }),
      /'traitscope.finalAliasOf' .* null or a measured step/,
    ],
    ['skipped steps that are no list', own({ skipped: null }), /'traitscope.skipped' .* a list/],
    [
      'a noise floor without figures',
      own({ noiseFloor: { method: 'x' } }),
      /'traitscope.noiseFloor' .* null or figures/,
    ],
    ['a measurement without conditions', own({ measurement: {} }), /traitscope.measurement/],
    ['mismatches that are no list', measured({ mismatches: 'odd' }), /mismatches.* a list of sentences/],
    ['mismatches that are no text', measured({ mismatches: ['odd', 1] }), /mismatches.* a list of sentences/],
    ['remarks on the run that are no list', measured({ remarks: 'odd' }), /remarks.* a list of sentences/],
    [
      'remarks on the run that are no text',
      measured({ remarks: ['odd', 1] }),
      /remarks.* a list of sentences/,
    ],
    ['another layer than the first fields', own({ primary: 0 }), /the same numbers .* edited/],
    ['an edited norm', { ...document(), step0_activation_norm: 4.1 }, /the same numbers .* edited/],
    [
      'an edited projection',
      { ...document(), trajectory: [entry(0, 5, 6), entry(10, 7, 9), entry('final', 7, 8)] },
      /edited/,
    ],
    [
      'an edited alias',
      { ...document(), trajectory: [entry(0, 5, 6), entry(10, 7, 8), entry('final', 7, 9)] },
      /edited/,
    ],
    [
      'a step of another name',
      { ...document(), trajectory: [entry(0, 5, 6), entry(11, 7, 8), entry('final', 7, 8)] },
      /edited/,
    ],
    [
      'no alias where it says one',
      { ...document(), trajectory: [entry(0, 5, 6), entry(10, 7, 8)] },
      /edited/,
    ],
  ])('should refuse %s', (_, json, message) => {
    expect(() => parseTrajectory(json, 't.json')).toThrowError(message)
    expect(() => parseTrajectory(json, 't.json')).toThrowError(
      expect.objectContaining({
        code: /schema version/.test(message.source) ? 'UNSUPPORTED' : 'FILE_INVALID',
      }),
    )
  })

  it('should read what a measurement says of itself, and what older ones do not', () => {
    const { measurement, noiseFloor } = parseTrajectory(measured({ remarks: ['odd'] }), 't.json')
    expect(measurement).toMatchObject({ nPrompts: 3, mismatches: [], remarks: ['odd'] })
    expect(noiseFloor).toBe(undefined)
    expect(parseTrajectory(measured({}), 't.json').measurement).toMatchObject({ directionsSha256: 'd' })
    expect(parseTrajectory(own({ noiseFloor: null }), 't.json').noiseFloor).toBe(null)
    const floor = {
      method: 'opposite-perturbations',
      prompts: 8,
      layers: [{ layer: 5, drift: 1e-3, stateChange: 0.02 }],
    }
    expect(parseTrajectory(own({ noiseFloor: floor }), 't.json').noiseFloor).toEqual(floor)
    const files = [{ path: 'a', sha256: 'b' }]
    expect(parseTrajectory(steps({ files, remarks: ['odd'] }), 't.json').steps[1]).toMatchObject({
      files,
      remarks: ['odd'],
    })
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
