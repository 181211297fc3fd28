import { describe, expect, it } from 'vitest'
import { calibratedFor } from '../../lib/calibration/conditions-of-runs.js'
import type { CheckpointKernels, EngineConditions } from '../../lib/conditions/engine.js'
import type { LabelledRun } from '../../lib/runs/runs.js'

const engine: EngineConditions = {
  llamaCpp: 'v1',
  system: '',
  repack: true,
  gpuLayers: 0,
  cache: 'F32',
  flashAttention: false,
  longRope: null,
}

/** A run whose checkpoints met the base in these ways; undefined for a measurement that does not say. */
const run = (checkpoints: CheckpointKernels[] | undefined, says = true) =>
  ({
    trajectory: {
      run: {},
      steps: [],
      measurement: {
        device: 'cpu',
        ...(says && { engine: { ...engine, ...(checkpoints && { checkpoints }) } }),
      },
      layers: [{ layer: 3, step0ActivationNorm: 2, projections: [[1, 2]] }],
    },
  }) as unknown as LabelledRun

describe('calibratedFor', () => {
  it('should hold every way in which checkpoints met the base', () => {
    const { engine: found, base } = calibratedFor([run(['merge']), run(['attach', 'merge'])], [3])!
    expect(found).toEqual({ ...engine, checkpoints: ['attach', 'merge'] })
    expect(base).toEqual([{ layer: 3, activationNorm: 2, projections: [1, 2] }])
  })

  it('should not say what one of its runs does not say', () => {
    expect(calibratedFor([run(['attach']), run(undefined)], [3])!.engine).toEqual(engine)
    expect(calibratedFor([run(['attach'], false)], [3])).not.toHaveProperty('engine')
  })
})
