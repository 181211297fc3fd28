// What the host does between passes, in CPU time and as a multiple of hashing 64 MiB: a plan of prompts, a fit, a
// vocabulary, an adapter of an 8B model.
// Run: npm run build:ts && node benchmarks/host.mjs [repeats, default 7]
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LogisticRegression } from '../dist/lib/estimators/index.js'
import { encodeGguf, parseGguf, readGguf } from '../dist/lib/formats/gguf/gguf.js'
import { parsePeftConfig } from '../dist/lib/formats/peft/peft-config.js'
import { toGgufLora } from '../dist/lib/model/lora/lora.js'
import { planPrompts } from '../dist/lib/prompts/plan.js'

const repeats = Number(process.argv[2] ?? 7)
const folder = await mkdtemp(join(tmpdir(), 'traitscope-host-'))

/** Median CPU time of `act` in ms, after a warm-up run. */
async function time(act) {
  const times = []
  for (let i = -1; i < repeats; i++) {
    const before = process.cpuUsage()
    await act()
    const { user, system } = process.cpuUsage(before)
    if (i >= 0) times.push((user + system) / 1000)
  }
  return times.sort((a, b) => a - b)[times.length >> 1]
}

function planning() {
  const prompts = Array.from({ length: 2100 }, (_, i) =>
    Int32Array.from({ length: 100 }, (_, p) => (p < 20 ? p : p < 60 ? 1000 + (i % 70) * 50 + p : i * 7 + p)),
  )
  return () => planPrompts(prompts, { maxTokens: 2048, pool: 'mean' })
}

function fitting() {
  const data = Float32Array.from({ length: 300 * 4096 }, (_, i) => Math.sin(i * 12.9898))
  const labels = Array.from({ length: 300 }, (_, i) => Number(i < 150))
  return () => new LogisticRegression().fit({ data, rows: 300, cols: 4096 }, labels)
}

async function vocabulary() {
  const path = join(folder, 'vocabulary.gguf')
  const tokens = Array.from({ length: 150_000 }, (_, i) => `token-${i}`)
  const merges = Array.from({ length: 280_000 }, (_, i) => `left${i} right${i}`)
  const metadata = [
    ['tokenizer.ggml.tokens', 'string[]', tokens],
    ['tokenizer.ggml.scores', 'f32[]', tokens.map((_, i) => i)],
    ['tokenizer.ggml.merges', 'string[]', merges],
  ]
  await writeFile(path, encodeGguf({ metadata, tensors: [] }))
  return () => readGguf(path)
}

async function adapter() {
  const [layers, width, r] = [32, 4096, 16]
  const rows = { q: 4096, v: 1024 }
  const modules = Array.from({ length: layers }, (_, layer) =>
    Object.entries(rows).map(([name, outFeatures]) => ({
      path: `model.layers.${layer}.self_attn.${name}_proj`,
      a: new Float32Array(r * width).fill(0.5),
      b: new Float32Array(outFeatures * r).fill(0.25),
      r,
      inFeatures: width,
      outFeatures,
      scale: 2,
    })),
  ).flat()
  const head = (key, value) => [`llama.${key}`, 'u32', value]
  const metadata = [
    ['general.architecture', 'string', 'llama'],
    head('embedding_length', width),
    head('attention.head_count', 32),
    head('attention.head_count_kv', 8),
  ]
  const file = await parseGguf(encodeGguf({ metadata, tensors: [] }), 'base.gguf')
  const tensors = new Map(
    Array.from({ length: layers }, (_, layer) =>
      Object.entries(rows).map(([name, out]) => {
        const tensor = `blk.${layer}.attn_${name}.weight`
        return [tensor, { name: tensor, shape: [width, out], type: 'Q4_K', offset: 0, byteLength: 0 }]
      }),
    ).flat(),
  )
  const config = parsePeftConfig({ peft_type: 'LORA' }, 'the benchmark')
  const parts = { replaced: [], replacedRows: [], buffers: [], files: [], remarks: [] }
  const peft = { path: 'adapter', config, modules, ...parts, sha256: 'ab'.repeat(32) }
  return () => toGgufLora(peft, { ...file, tensors })
}

try {
  const bytes = new Uint8Array(1 << 26)
  const yardstick = await time(() => createHash('sha256').update(bytes).digest())
  console.log(`hashing 64 MiB${' '.repeat(32)}${yardstick.toFixed(0).padStart(6)} ms`)
  for (const [name, make] of [
    ['plan of 2,100 prompts of 100 tokens', planning],
    ['logistic regression on 300 x 4096', fitting],
    ['GGUF with 150,000 tokens, 280,000 merges', vocabulary],
    ['rank 16 adapter of an 8B model to GGUF', adapter],
  ]) {
    const taken = await time(await make())
    console.log(
      `${name.padEnd(46)}${taken.toFixed(0).padStart(6)} ms  ${(taken / yardstick).toFixed(2)} times`,
    )
  }
} finally {
  await rm(folder, { recursive: true })
}
