import { type Directions, encodeDirections } from '../../lib/directions/directions.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { TEMPLATE } from './fake-model.js'

/**
 * Unit axes: courage is axis 1, a/b is axis 2, shifted by the layer; made under the conditions of
 * fakeModel().
 */
export function fakeDirections(overrides: Partial<Directions> = {}): Directions {
  const layers = overrides.layers ?? [1, 3]
  const traits = ['courage', 'a/b']
  const nEmbd = 8
  const vectors = new Float32Array(layers.length * traits.length * nEmbd)
  for (const [l, layer] of layers.entries()) {
    for (const t of traits.keys()) vectors[(l * traits.length + t) * nEmbd + ((t + 1 + layer) % nEmbd)] = 1
  }
  const body = { layers, traits, nEmbd, vectors }
  return {
    ...body,
    method: 'mean-difference',
    conditions: {
      base: { fingerprint: 'f'.repeat(64), architecture: 'llama', name: 'fake', nLayer: 4, nEmbd },
      template: {
        sha256: sha256(TEMPLATE),
        systemRole: 'native',
        date: '2024-07-26',
        acknowledgement: 'Understood.',
      },
      traitPack: { name: 'fake', sha256: 'a'.repeat(64), contentHash: 'c'.repeat(64) },
      pool: 'last',
    },
    tokenIdsSha256: '1'.repeat(64),
    tokens: { total: 20, computed: 10 },
    diagnostics: layers.map((layer) => ({
      layer,
      activationNorm: 4,
      separation: { courage: 2, 'a/b': 1 },
      heldOut: {
        courage: {
          question: { auroc: 1, interval: [1, 1] },
          systemPrompt: { auroc: 0.75, interval: [0.5, 1] },
          both: { auroc: 0.25, interval: [0.125, 0.375] },
        },
        'a/b': { question: { auroc: 0.5, interval: [0.25, 0.75] }, systemPrompt: null, both: null },
      },
      probeAccuracy: { courage: 1, 'a/b': null },
      cosines: { 'courage_vs_a/b': 0 },
      averageCosine: 0,
    })),
    versions: { traitscope: '0.1.0', llamaCpp: 'v0.5.0' },
    sha256: sha256(encodeDirections(body)),
    ...overrides,
  }
}
