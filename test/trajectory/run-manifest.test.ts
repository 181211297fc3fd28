import { describe, expect, it } from 'vitest'
import { runManifest } from '../../lib/trajectory/run-manifest.js'
import type { Trajectory } from '../../lib/trajectory/trajectory.js'
import { fakeDirections } from '../directions/fake-directions.js'

const pack = { name: 'p', sha256: 's', contentHash: 'c' }
const { conditions } = fakeDirections()
const trajectory = (measurement?: object): Trajectory =>
  ({
    traits: ['a'],
    steps: [
      { step: 0, adapterSha256: null },
      { step: 10, adapterSha256: 'x', files: [{ path: 'f', sha256: 'y' }], remarks: ['odd'] },
      { step: 20, adapterSha256: 'z', adapter: { targets: ['q_proj'] } },
    ],
    layers: [{ layer: 7 }],
    primary: 0,
    run: { model: 'm' },
    measurement,
  }) as unknown as Trajectory

// biome-ignore lint/suspicious/noExplicitAny: arbitrary JSON
const of = (measurement?: object) => runManifest(trajectory(measurement), pack, { f: 'h' }) as any

describe('runManifest', () => {
  it('should hold the hashes of all that was read and written', () => {
    const engine = { llamaCpp: 'v0' }
    const manifest = of({
      conditions,
      directionsSha256: 'd',
      tokenIdsSha256: 't',
      versions: { llamaCpp: 'v0' },
      engine,
      remarks: ['left'],
    })
    expect(manifest).toMatchObject({
      model: 'm',
      measurement_layer: 7,
      direction_bundle_sha256: 'd',
      direction_sha256: 'd',
      eval_prompt_config_sha256: 's',
      training: { lora_target_modules: ['q_proj'] },
      software: { traitscope: expect.stringMatching(/^\d/), 'llama.cpp': 'v0' },
    })
    expect(manifest.traitscope).toEqual({
      inputs: {
        base: conditions.base,
        template: conditions.template,
        traitPack: pack,
        directions: 'd',
        tokenIds: 't',
        engine,
        adapters: [
          { step: 10, sha256: 'x', files: [{ path: 'f', sha256: 'y' }], remarks: ['odd'] },
          { step: 20, sha256: 'z', files: [], remarks: [] },
        ],
        remarks: ['left'],
      },
      outputs: { f: 'h' },
    })
  })

  it('should say null for what a measurement from outside cannot know', () => {
    const manifest = of()
    const { adapters: _, traitPack: __, ...inputs } = manifest.traitscope.inputs
    const nothing = {
      base: null,
      template: null,
      directions: null,
      tokenIds: null,
      engine: null,
      remarks: [],
    }
    expect(inputs).toEqual(nothing)
    expect(manifest).toMatchObject({ direction_sha256: null, direction_bundle_sha256: null })
    expect(manifest.software['llama.cpp']).toBe(null)
  })
})
