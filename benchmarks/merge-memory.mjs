// Peak anonymous memory of a merge, for bases of growing size: it may grow with the adapter, which is held in memory, but
// not with the base. Linux only (/proc).
//
//   node benchmarks/merge-memory.mjs [--folder DIR] [--shape 1B,4B] [--type q8_0]
//
// Makes an F16 base of the shape (zeros in a sparse file, which take no disk) and a random adapter of rank 16 on every
// linear module, merges in a process of its own and removes everything. A merge writes the base's size: 2.5 GB for 1B,
// 8.8 GB for 4B, 16 GB for 8B.
import { spawnSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { table } from '../dist/bin/output.js'
import { encodeGgufHeader } from '../dist/lib/formats/gguf/gguf.js'
import { encodeSafetensors } from '../dist/lib/formats/safetensors/safetensors.js'
import { mergeAdapter } from '../dist/lib/index.js'
import { mergeType } from '../dist/lib/model/merge/merge-types.js'

const SHAPES = {
  '1B': { blocks: 16, width: 2048, ffn: 8192, heads: 32, kvHeads: 8, headDim: 64, vocabulary: 128_256 },
  '4B': { blocks: 36, width: 2560, ffn: 9728, heads: 32, kvHeads: 8, headDim: 128, vocabulary: 151_936 },
  '8B': { blocks: 32, width: 4096, ffn: 14_336, heads: 32, kvHeads: 8, headDim: 128, vocabulary: 128_256 },
}
const RANK = 16

/** Name in the GGUF, module path in a block, and shape [in, out]. */
function modules({ width, ffn, heads, kvHeads, headDim }) {
  const [q, kv] = [heads * headDim, kvHeads * headDim]
  return [
    ['attn_q', 'self_attn.q_proj', [width, q]],
    ['attn_k', 'self_attn.k_proj', [width, kv]],
    ['attn_v', 'self_attn.v_proj', [width, kv]],
    ['attn_output', 'self_attn.o_proj', [q, width]],
    ['ffn_gate', 'mlp.gate_proj', [width, ffn]],
    ['ffn_up', 'mlp.up_proj', [width, ffn]],
    ['ffn_down', 'mlp.down_proj', [ffn, width]],
  ]
}

function writeBase(path, shape) {
  const tensors = [{ name: 'token_embd.weight', shape: [shape.width, shape.vocabulary], type: 'F16' }]
  for (let i = 0; i < shape.blocks; i++) {
    for (const [name, , size] of modules(shape)) {
      tensors.push({ name: `blk.${i}.${name}.weight`, shape: size, type: 'F16' })
    }
  }
  const { bytes, dataBytes } = encodeGgufHeader(
    [
      ['general.architecture', 'string', 'llama'],
      ['llama.block_count', 'u32', shape.blocks],
      ['llama.embedding_length', 'u32', shape.width],
      ['llama.attention.head_count', 'u32', shape.heads],
      ['llama.attention.head_count_kv', 'u32', shape.kvHeads],
      ['llama.attention.key_length', 'u32', shape.headDim],
    ],
    tensors,
  )
  writeSync(openSync(path, 'w'), bytes)
  truncateSync(path, bytes.length + dataBytes)
  return bytes.length + dataBytes
}

async function writeAdapter(folder, shape) {
  const random = (rows, columns) => {
    const bits = randomFillSync(new Uint16Array(rows * columns))
    return bits.map((value) => (value & 0x807f) | 0x3c00) // BF16 between 2^-7 and 2^-6, both signs
  }
  const tensors = []
  for (let i = 0; i < shape.blocks; i++) {
    for (const [, path, [columns, rows]] of modules(shape)) {
      const name = `base_model.model.model.layers.${i}.${path}`
      tensors.push({
        name: `${name}.lora_A.weight`,
        dtype: 'BF16',
        shape: [RANK, columns],
        data: random(RANK, columns),
      })
      tensors.push({
        name: `${name}.lora_B.weight`,
        dtype: 'BF16',
        shape: [rows, RANK],
        data: random(rows, RANK),
      })
    }
  }
  await mkdir(folder)
  await writeFile(join(folder, 'adapter_model.safetensors'), encodeSafetensors(tensors))
  const config = { peft_type: 'LORA', r: RANK, lora_alpha: RANK }
  await writeFile(join(folder, 'adapter_config.json'), JSON.stringify(config))
  return tensors.reduce((bytes, { data }) => bytes + 4 * data.length, 0)
}

const memory = (field) =>
  Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync('/proc/self/status', 'utf8'))[1])

/** The merge itself, in a process of its own: prints the peak and what was there before, in kB. */
async function child([base, adapter, out, type]) {
  const before = memory('RssAnon')
  let peak = before
  const timer = setInterval(() => {
    peak = Math.max(peak, memory('RssAnon'))
  }, 20)
  const started = performance.now()
  await mergeAdapter(base, adapter, out, type ? { type: mergeType(type) } : {})
  clearInterval(timer)
  console.log(JSON.stringify({ before, peak, seconds: (performance.now() - started) / 1000 }))
}

async function main() {
  const { values } = parseArgs({
    options: {
      folder: { type: 'string', default: tmpdir() },
      shape: { type: 'string', default: '1B,4B' },
      type: { type: 'string', default: '' },
    },
  })
  const rows = []
  for (const name of values.shape.split(',')) {
    const folder = mkdtempSync(join(values.folder, 'traitscope-memory-'))
    try {
      const [base, adapter, out] = ['base.gguf', 'adapter', 'merged.gguf'].map((part) => join(folder, part))
      const bytes = writeBase(base, SHAPES[name])
      const adapterBytes = await writeAdapter(adapter, SHAPES[name])
      const run = spawnSync(
        process.execPath,
        [fileURLToPath(import.meta.url), '--child', base, adapter, out, values.type],
        {
          encoding: 'utf8',
        },
      )
      if (run.status !== 0) throw new Error(run.stderr)
      const { before, peak, seconds } = JSON.parse(run.stdout)
      rows.push([
        name,
        `${(bytes / 1e9).toFixed(1)} GB`,
        `${(adapterBytes / 2 ** 20).toFixed(0)} MiB`,
        ...[before, peak].map((kb) => `${(kb / 1024).toFixed(0)} MiB`),
        `${seconds.toFixed(0)} s`,
      ])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  console.log(table(['shape', 'base', 'adapter in float32', 'before', 'peak', 'time'], rows).join('\n'))
}

if (process.argv[2] === '--child') await child(process.argv.slice(3))
else await main()
