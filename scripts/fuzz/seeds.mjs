import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { saveDirections } from '../../dist/lib/directions/directions-folder.js'
import { encodeSafetensors } from '../../dist/lib/formats/safetensors/safetensors.js'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const fixtures = join(root, 'test/fixtures')
const ADAPTER_FILES = ['adapter_config.json', 'adapter_model.safetensors']

/** Valid inputs that cases are made of. */
export async function loadSeeds() {
  const oracles = readdirSync(join(fixtures, 'oracles')).filter((name) =>
    isFolder(join(fixtures, 'oracles', name)),
  )
  const models = [
    join(fixtures, 'tiny/base.gguf'),
    // The wide model adds size, not structure.
    ...oracles
      .filter((name) => name !== 'llama-wide')
      .map((name) => join(fixtures, 'oracles', name, 'model.gguf')),
  ]
  const adapters = [
    { base: models[0], folder: join(fixtures, 'tiny/run/checkpoint-10') },
    ...['llama', 'phi3', 'gemma2'].flatMap((name) =>
      ['plain', 'patterns', 'rslora'].map((kind) => ({
        base: join(fixtures, 'oracles', name, 'model.gguf'),
        folder: join(fixtures, 'oracles', name, `adapter-${kind}`),
      })),
    ),
    {
      base: join(fixtures, 'oracles/llama/model.gguf'),
      folder: join(fixtures, 'attach/llama/adapter-embeddings'),
    },
  ]
  const oracle = join(fixtures, 'oracles/llama')
  const mergeAdapters = readdirSync(oracle)
    .filter((name) => name.startsWith('merge-') || name === 'adapter-plain')
    .map((name) => ({
      base: join(oracle, 'model.gguf'),
      files: readFolder(join(oracle, name), ADAPTER_FILES),
    }))
  const bundle = join(root, 'organisms/bundles/gemma2')
  // One for each way of writing a vocabulary; mistral's weights are sharded.
  const folders = ['llama', 'mistral', 'phi3'].map((name) => join(fixtures, 'convert', name, 'hf'))
  return {
    models: models.map((path) => ({ path, bytes: readFileSync(path) })),
    adapters: [
      ...adapters.map(({ base, folder }) => ({ base, files: readFolder(folder, ADAPTER_FILES) })),
      mlxAdapter(),
    ],
    mergeAdapters,
    bundle: unpacked(readFolder(bundle, readdirSync(bundle))),
    baselines: Object.fromEntries(
      ['sparse', 'persona'].map((kind) => [
        `${kind}.safetensors`,
        readFileSync(join(root, 'organisms/baselines', kind, 'gemma2.safetensors')),
      ]),
    ),
    templates: Object.values(
      JSON.parse(readFileSync(join(fixtures, 'prompts/chat-templates.json'))).templates,
    ).map(({ source }) => source),
    modelFolders: folders.map((folder) => readFolder(folder, readdirSync(folder))),
    safetensors: [
      readFileSync(join(fixtures, 'formats/mixed.safetensors')),
      readFileSync(join(fixtures, 'formats/adapter/adapter_model.safetensors')),
    ],
    checkpoint: readFolder(join(fixtures, 'tiny/run/checkpoint-10'), [
      ...ADAPTER_FILES,
      'trainer_state.json',
    ]),
    pack: readFileSync(join(fixtures, 'tiny/pack.yaml')),
    directions: await directionsFolder(),
    trajectory: Buffer.from(JSON.stringify(trajectory())),
  }
}

function isFolder(path) {
  return statSync(path).isDirectory()
}

function readFolder(folder, names) {
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))]))
}

/** Without the packing of some of a bundle's files. */
function unpacked(files) {
  return Object.fromEntries(
    Object.entries(files).map(([name, bytes]) =>
      name.endsWith('.gz') ? [name.slice(0, -3), gunzipSync(bytes)] : [name, bytes],
    ),
  )
}

/** What mlx-lm saves for the oracle llama, on q of two blocks. */
function mlxAdapter() {
  const tensors = [0, 1].flatMap((block) =>
    [
      ['lora_a', [32, 2]],
      ['lora_b', [2, 96]],
    ].map(([part, shape]) => ({
      name: `model.layers.${block}.self_attn.q_proj.${part}`,
      dtype: 'F32',
      shape,
      data: Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i)),
    })),
  )
  const config = {
    fine_tune_type: 'lora',
    num_layers: 2,
    lora_parameters: { rank: 2, scale: 1.5, dropout: 0 },
  }
  return {
    base: join(fixtures, 'oracles/llama/model.gguf'),
    files: {
      'adapter_config.json': Buffer.from(JSON.stringify(config)),
      'adapters.safetensors': Buffer.from(encodeSafetensors(tensors)),
    },
  }
}

/** Directions of two traits at blocks 1 and 2 of the tiny model, along axes. */
async function directionsFolder() {
  const layers = [1, 2]
  const traits = ['honesty', 'sycophancy']
  const nEmbd = 64
  const vectors = new Float32Array(layers.length * traits.length * nEmbd)
  for (let i = 0; i < layers.length * traits.length; i++) vectors[i * nEmbd + i] = 1
  const folder = mkdtempSync(join(tmpdir(), 'traitscope-fuzz-seed-'))
  try {
    await saveDirections(
      {
        layers,
        traits,
        nEmbd,
        vectors,
        method: 'mean-difference',
        conditions: {
          base: { fingerprint: 'f'.repeat(64), architecture: 'llama', name: 'tiny', nLayer: 4, nEmbd },
          template: {
            sha256: 'e'.repeat(64),
            systemRole: 'native',
            date: '2024-07-26',
            acknowledgement: 'Understood.',
          },
          traitPack: { name: 'tiny', sha256: 'a'.repeat(64), contentHash: 'c'.repeat(64) },
          pool: 'last',
        },
        tokenIdsSha256: '1'.repeat(64),
        tokens: { total: 20, computed: 10 },
        diagnostics: layers.map((layer) => ({
          layer,
          activationNorm: 4,
          separation: { honesty: 2, sycophancy: 1 },
          heldOut: {
            honesty: {
              question: { auroc: 1, interval: [1, 1] },
              systemPrompt: { auroc: 0.75, interval: [0.5, 1] },
              both: null,
            },
            sycophancy: null,
          },
          probeAccuracy: { honesty: 1, sycophancy: null },
          cosines: { honesty_vs_sycophancy: 0 },
          averageCosine: 0,
        })),
        versions: { traitscope: '0.1.0', llamaCpp: 'v0.5.0' },
        sha256: '0'.repeat(64),
      },
      join(folder, 'directions'),
    )
    return readFolder(join(folder, 'directions'), ['directions.json', 'directions.safetensors'])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A trajectory as the reference writes it. */
function trajectory() {
  const traits = ['honesty', 'sycophancy', 'harmlessness']
  return {
    trait_order: traits,
    measurement_layer: 2,
    step0_activation_norm: 7.5,
    trajectory: [0, 10, 20, 'final'].map((step, i) => ({
      step,
      projections: Object.fromEntries(traits.map((trait, t) => [trait, i * 0.25 - t])),
    })),
  }
}
