// Makes the folder that the suite runs from on a machine with a GPU and without a network: sources, llama.cpp's among them,
// tokens, plans, adapters, and what transformers computed for the tiny bases. Needs `npm run build`.
//
//   node benchmarks/gpu/prepare.mjs [OUT] [--shape 8b|tiny] [--no-sources]
//
// OUT is build-gpu/suite if nothing is said; --no-sources is for a suite that is built already.
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { encodeGguf, readGguf } from '../../dist/lib/formats/gguf/gguf.js'
import { readPeftAdapter } from '../../dist/lib/formats/peft/peft.js'
import { readSafetensors } from '../../dist/lib/formats/safetensors/safetensors.js'
import { promptLimits } from '../../dist/lib/model/base/prompt-limits.js'
import { passesOf } from '../../dist/lib/model/extract-passes.js'
import { toGgufLora } from '../../dist/lib/model/lora/lora.js'
import { planPrompts } from '../../dist/lib/prompts/plan.js'
import { llamaSource, root } from '../../scripts/llama-source.mjs'
import { runOrExplain, SetupError } from '../../scripts/npm-package.mjs'
import { baseCase } from './base-case.mjs'

/** Tokens in memory at once of a tiny base. */
const CELLS = 512

/** What may travel, in bytes. */
const MOST = 60e6

const here = fileURLToPath(new URL('.', import.meta.url))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { shape: { type: 'string', default: '8b' }, 'no-sources': { type: 'boolean', default: false } },
})
const out = resolve(positionals[0] ?? join(root, 'build-gpu', 'suite'))
const prepared = join(out, 'prepared')

const LIST_TYPES = [
  [Int32Array, 'i32[]'],
  [Float32Array, 'f32[]'],
  [BigInt64Array, 'i64[]'],
  [Uint8Array, 'u8[]'],
]

/** case_file.h reads it: a GGUF of numbers. */
function writeCase(path, values) {
  const metadata = Object.entries(values).map(([key, value]) => {
    if (typeof value === 'string') return [key, 'string', value]
    if (typeof value === 'number') return [key, 'i64', BigInt(value)]
    const [, type] = LIST_TYPES.find(([Of]) => value instanceof Of)
    return [key, type, value]
  })
  writeFileSync(path, encodeGguf({ metadata, tensors: [] }))
}

const batchOf = (batch) =>
  Object.fromEntries(Object.entries(batch).map(([key, list]) => [`batch.${key}`, list]))

/** transformers' states of the tiny bases, with and without adapters. */
async function prepareOracles() {
  const oracles = join(root, 'test/fixtures/oracles')
  mkdirSync(join(prepared, 'oracles'), { recursive: true })
  mkdirSync(join(prepared, 'models'), { recursive: true })
  for (const name of readdirSync(oracles).filter((each) => existsSync(join(oracles, each, 'model.gguf')))) {
    const folder = join(oracles, name)
    cpSync(join(folder, 'model.gguf'), join(prepared, 'models', `${name}.gguf`))
    const gguf = await readGguf(join(folder, 'model.gguf'))
    const all = JSON.parse(readFileSync(join(folder, 'prompts.json'), 'utf8')).prompts
    // A prompt of one token begins the others, and what follows a token that is read is no context: nothing to split.
    const kept = [...all.keys()].filter((p) => all[p].ids.length > 1)
    const prompts = kept.map((p) => Int32Array.from(all[p].ids))
    const architecture = gguf.metadata.get('general.architecture')
    const limits = promptLimits(gguf, architecture)
    const plan = planPrompts(prompts, { maxTokens: CELLS, inGroups: true, limits, pool: 'last' })
    const passes = passesOf(plan.batches, limits, CELLS)
    const cellsOf = (batch) => passes.find((pass) => pass.batches.includes(batch)).maxTokens
    const isF32 = [...gguf.tensors.values()].every(({ type }) => type === 'F32')
    for (const file of readdirSync(folder)) {
      const variant = /^golden-(.*)\.safetensors$/.exec(file)?.[1]
      if (variant === undefined) continue
      const golden = await readSafetensors(join(folder, file))
      const [, nLayer, width] = golden.tensors.get('last').shape
      const layers = Int32Array.from({ length: nLayer }, (_, i) => i)
      const size = nLayer * width
      // transformers' own GELU: the table of the CPU's kernels is no oracle of a device.
      const rows = golden.float32('last')
      const adapter =
        variant === 'base'
          ? {}
          : { adapter: toGgufLora(await readPeftAdapter(join(folder, `adapter-${variant}`)), gguf).gguf }
      for (const [i, batch] of passes.flatMap((pass) => pass.batches).entries()) {
        const read = [...batch.outputRows].map((row) => kept[row])
        writeCase(join(prepared, 'oracles', `${name}-${variant}-${i}.gguf`), {
          ...{ name: `${name}, ${variant}`, model: `models/${name}.gguf`, layers, rows: read.length },
          states: Float32Array.from(read.flatMap((p) => [...rows.subarray(p * size, (p + 1) * size)])),
          ...batchOf({ ...batch, outputRows: batch.outputRows.map((_, row) => row) }),
          ...{ f16Sums: isF32 ? 1 : 0, cells: cellsOf(batch), ...adapter },
          tolerance: Float32Array.of(isF32 && !name.startsWith('gemma') ? 1e-4 : 1e-3),
        })
      }
    }
  }
}

/** What the far machine compiles. */
function prepareSources() {
  const source = join(out, 'source')
  mkdirSync(source, { recursive: true })
  cpSync(join(root, 'CMakeLists.txt'), join(source, 'CMakeLists.txt'))
  cpSync(join(root, 'native'), join(source, 'native'), { recursive: true })
  mkdirSync(join(source, 'benchmarks/gpu'), { recursive: true })
  for (const file of readdirSync(here).filter((name) => /\.(cpp|h)$/.test(name)))
    cpSync(join(here, file), join(source, 'benchmarks/gpu', file))
  cpSync(join(root, 'lab/gpu_reference.py'), join(out, 'gpu_reference.py'))
  const llama = llamaSource()
  const backends = readdirSync(join(llama, 'ggml/src'))
    .filter((name) => /^ggml-/.test(name) && statSync(join(llama, 'ggml/src', name)).isDirectory())
    .filter((name) => !['ggml-cpu', 'ggml-cuda'].includes(name))
  const parts = ['CMakeLists.txt', 'LICENSE', 'cmake', 'include', 'src', 'ggml', 'vendor']
  runOrExplain(
    'tar',
    [
      ...['czf', join(out, 'llama.cpp.tar.gz'), '--transform', 's,^,llama.cpp/,', '-C', llama],
      '--exclude=vendor/cpp-httplib',
      ...backends.map((name) => `--exclude=ggml/src/${name}`),
      ...parts,
    ],
    { hint: 'Install tar and gzip.' },
  )
}

async function main() {
  if (!out.includes('build-'))
    throw new SetupError(`${out}: expected a folder called build-...: it is emptied`)
  rmSync(out, { recursive: true, force: true })
  mkdirSync(prepared, { recursive: true })
  await prepareOracles()
  const { numbers, config, adapterConfig, prompts } = await baseCase(values.shape)
  const { batch, ...rest } = numbers
  writeCase(join(prepared, 'base.gguf'), { ...rest, ...batchOf(batch) })
  for (const [name, value] of Object.entries({ config, adapter_config: adapterConfig, prompts }))
    writeFileSync(join(prepared, `${name}.json`), JSON.stringify(value))
  for (const script of ['build.sh', 'run.sh', 'README.md']) cpSync(join(here, script), join(out, script))
  if (!values['no-sources']) prepareSources()
  const bytes = Number(spawnSync('du', ['-sb', out], { encoding: 'utf8' }).stdout.split('\t')[0])
  if (bytes > MOST) throw new SetupError(`${out} has ${bytes} bytes, expected at most ${MOST}`)
  console.log(`${out}: ${(bytes / 1e6).toFixed(1)} MB`)
}

try {
  await main()
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(`traitscope: ${error.message}`)
  process.exit(1)
}
