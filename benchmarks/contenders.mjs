// What else reads hidden states on a CPU, beside this library: one table and one picture for docs/performance.md.
//
//   node benchmarks/contenders.mjs MODEL.gguf[:LAYER] ... [--python lab/bin/python] [--limit 20] [--rounds 2] [--threads 1]
//                                  [--work DIR] [--out results.json] [--picture docs/contenders.svg]
//   node benchmarks/contenders.mjs --from results.json,... [--picture FILE] [--markdown]     table and picture alone
//
// Every trial is a process of its own; contenders take turns in each round, and the best of the rounds counts. Time is CPU time,
// of all threads: other programs move it less than the clock. The evaluation prompts of the core pack, with a rank-16 adapter;
// who takes them one at a time gets --limit of them, spread over all, and the rest is extrapolated by tokens. transformers needs
// a Python with torch, transformers, peft and numpy (and llama.cpp's gguf-py, which its source brings); node-llama-cpp is fetched with npm into --work,
// and taken away with it: neither is a dependency of anything.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { table } from '../dist/bin/output.js'
import { mainType } from '../dist/lib/bench/roofline.js'
import { readGguf } from '../dist/lib/formats/gguf/gguf.js'
import { LLAMA_CPP, llamaSource, root } from '../scripts/llama-source.mjs'
import { npmEnvironment, runOrExplain } from '../scripts/npm-package.mjs'
import { drawContenders } from './contenders/picture.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string' },
    limit: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '2' },
    threads: { type: 'string', default: '1' },
    work: { type: 'string' },
    out: { type: 'string' },
    from: { type: 'string' },
    picture: { type: 'string' },
    markdown: { type: 'boolean', default: false },
  },
})
if (positionals.length === 0 && values.from === undefined) {
  console.error('usage: node benchmarks/contenders.mjs MODEL.gguf[:LAYER] ... [--python PYTHON] [--out FILE]')
  process.exit(2)
}
const [limit, rounds, threads] = [values.limit, values.rounds, values.threads].map(Number)
/** Prompts whose states are compared with transformers in F32. */
const PARITY_PROMPTS = 6
/** transformers computes in these; for a base of another type it is left out, but for its states in F32. */
const DTYPES = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }
/** Of a base in F32: more than this is not written out for its states. */
const MOST_PARAMETERS = 8e8

function child(program, args, env = {}) {
  const run = spawnSync(program, args, {
    ...{ encoding: 'utf8', maxBuffer: 1 << 28, cwd: root },
    env: { ...process.env, ...env },
  })
  if (run.status === 0) return JSON.parse(run.stdout.slice(run.stdout.indexOf('{')))
  console.error(
    `${program} ${args.join(' ').slice(0, 300)} ended with ${run.signal ?? run.status}:\n${run.stderr.slice(-1500)}`,
  )
  return { failed: String(run.signal ?? run.status) }
}

const ours = (way) => (setting) =>
  child(process.execPath, [join(here, 'contenders/ours.mjs'), JSON.stringify({ ...setting, way })])

function transformers({ path, layer, input, folder, states }, dtype, prompts, batch = 1) {
  const args = [
    '--gguf',
    path,
    '--input',
    input,
    '--layer',
    String(layer),
    '--dtype',
    dtype,
    '--folder',
    folder,
    '--batch',
    String(batch),
  ]
  const env = { OMP_NUM_THREADS: String(threads), PYTHONPATH: root }
  return child(
    values.python,
    [
      ...['-m', 'lab.bench_reference', ...args, '--gguf-py', join(llamaSource(), 'gguf-py')],
      ...['--limit', String(prompts), '--threads', String(threads), ...(states ? ['--states', states] : [])],
    ],
    env,
  )
}

function nodeLlamaCpp(setting) {
  const folder = join(setting.work, 'node-llama-cpp')
  if (!existsSync(join(folder, 'node_modules'))) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{"private": true}')
    const version = LLAMA_CPP.spec.split('@').at(-1)
    const platform = `@node-llama-cpp/linux-x64@${version}`
    const flags = ['--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--silent']
    runOrExplain('npm', ['install', LLAMA_CPP.spec, platform, ...flags], {
      cwd: folder,
      env: npmEnvironment(),
      hint: 'Check the network.',
    })
  }
  return child(process.execPath, [
    join(here, 'contenders/node-llama-cpp.mjs'),
    JSON.stringify({ ...setting, folder }),
  ])
}

/** `batch` prompts at a time, padded. */
const peft = (batch) => (setting) => {
  if (!values.python) return { leftOut: 'no --python' }
  const dtype = DTYPES[setting.type]
  if (dtype === undefined) return { leftOut: `transformers does not compute in ${setting.type}` }
  const { failed, ...found } = transformers(setting, dtype, Math.max(setting.limit, batch), batch)
  if (failed) return { failed }
  const swapped = found.adapter_cpu_seconds + found.pass_cpu_seconds
  return {
    cpuSeconds: swapped,
    // Whoever batches does not load the base again.
    ...(batch === 1 ? { reloadCpuSeconds: swapped + found.load_cpu_seconds } : {}),
    ...{ tokens: found.tokens, ran: found.share, peak: found.peak_bytes },
  }
}

/** [name, trial of a setting]: undefined where it cannot take part. */
const CONTENDERS = [
  ['traitscope', ours('traitscope')],
  ['llama.cpp, one prompt at a time', ours('one prompt at a time')],
  ['transformers + peft', peft(1)],
  ['transformers + peft, batches of 16', peft(16)],
  ['node-llama-cpp, embedding', nodeLlamaCpp],
]

function worstRow(found, expected) {
  const rows = Object.entries(found).filter(([p]) => p in expected)
  const distance = ([p, row]) => {
    const square = (values) => values.reduce((sum, x) => sum + x * x, 0)
    return Math.sqrt(square(row.map((x, i) => x - expected[p][i])) / square(expected[p]))
  }
  return rows.length === 0 ? null : Math.max(...rows.map(distance))
}

/** An organism's is called base.gguf as every other's. */
function nameOf(path) {
  const name = basename(path, '.gguf')
  return name === 'base' ? `organism ${basename(dirname(path))}` : name
}

async function measure(model, work) {
  const [, path, asked] = /^(.*?\.gguf)(?::(\d+))?$/.exec(model)
  const gguf = await readGguf(path)
  const architecture = gguf.metadata.get('general.architecture')
  const nLayer = Number(gguf.metadata.get(`${architecture}.block_count`))
  const layer = Number(asked ?? Math.floor(nLayer / 2))
  const type = mainType(gguf)
  const folder = join(work, basename(path, '.gguf'))
  const input = join(folder, 'input')
  runOrExplain(process.execPath, [join(here, 'reference-input.mjs'), path, input], { hint: '' })
  const prompts = JSON.parse(readFileSync(join(input, 'prompts.json'), 'utf8'))
  const setting = { path, layer, type, input, limit, threads, folder, work }
  const parameters = [...gguf.tensors.values()].reduce(
    (sum, { shape }) => sum + shape.reduce((a, b) => a * b),
    0,
  )
  const trials = CONTENDERS.map(([name]) => ({ name, rounds: [] }))
  const statesOf = (name) => join(folder, `${name.replaceAll(/\W+/g, '-')}.json`)
  for (let round = 0; round < rounds; round++) {
    for (const [i, [name, run]] of CONTENDERS.entries()) {
      if (trials[i].leftOut || trials[i].failed) continue
      const found = run({ ...setting, ...(round === 0 ? { states: statesOf(name) } : {}) })
      Object.assign(trials[i], found.leftOut || found.failed ? found : {})
      if (!found.leftOut && !found.failed) trials[i].rounds.push(found)
      console.error(`${basename(path)}, round ${round + 1}, ${name}: ${JSON.stringify(found)}`)
    }
  }
  let oracle
  if (values.python && parameters <= MOST_PARAMETERS) {
    const states = statesOf('f32')
    if (!transformers({ ...setting, states }, 'float32', PARITY_PROMPTS).failed)
      oracle = JSON.parse(readFileSync(states, 'utf8'))
  }
  for (const trial of trials) {
    const { name } = trial
    if (oracle && existsSync(statesOf(name)))
      trial.relativeL2 = worstRow(JSON.parse(readFileSync(statesOf(name), 'utf8')), oracle)
    if (trial.rounds.length === 0) continue
    const best = trial.rounds.reduce((a, b) => (b.cpuSeconds < a.cpuSeconds ? b : a))
    Object.assign(trial, best, { peak: Math.max(...trial.rounds.map(({ peak }) => peak)) })
  }
  rmSync(folder, { recursive: true })
  return {
    ...{ name: nameOf(path), type, layer, nLayer },
    ...{ prompts: prompts.length, nominalTokens: prompts.reduce((sum, ids) => sum + ids.length, 0), trials },
  }
}

function rowsOf({ name: file, type, layer, nLayer, prompts, nominalTokens, trials }) {
  const ways = trials.flatMap((trial) => [
    ...(trial.reloadCpuSeconds
      ? [
          {
            ...trial,
            name: `${trial.name}, base loaded again`,
            cpuSeconds: trial.reloadCpuSeconds,
            relativeL2: undefined,
          },
        ]
      : []),
    trial,
  ])
  const mine = ways.find(({ name }) => name === 'traitscope').cpuSeconds
  const rate = Math.max(...trials.flatMap(({ rounds }) => rounds.map((round) => round.rate ?? 0)))
  return ways.map(({ name, cpuSeconds, tokens, ran, operations, peak, relativeL2, leftOut, failed }, i) => {
    const start = [i === 0 ? `${file}, ${type}, layer ${layer} of ${nLayer}` : '', name]
    if (leftOut || failed) return [...start, leftOut ?? `failed (${failed})`]
    return [
      ...start,
      (prompts / cpuSeconds).toPrecision(3),
      name === 'traitscope' ? '1' : (cpuSeconds / mine).toFixed(2),
      `${tokens} of ${nominalTokens}${ran < 0.999 ? ` (${Math.round(100 * ran)} % run)` : ''}`,
      operations ? `${((100 * operations) / cpuSeconds / rate).toFixed(0)} %` : '',
      `${(peak / 2 ** 20).toFixed(0)} MiB`,
      relativeL2 === undefined || relativeL2 === null ? '' : relativeL2.toExponential(1),
    ]
  })
}

let results
if (values.from) {
  const files = values.from.split(',').map((file) => JSON.parse(readFileSync(file, 'utf8')))
  results = { ...files[0], models: files.flatMap(({ models }) => models) }
} else {
  const work = values.work ?? mkdtempSync(join(tmpdir(), 'traitscope-contenders-'))
  mkdirSync(work, { recursive: true })
  results = { cpu: cpus()[0]?.model, threads, rounds, node: process.version, models: [] }
  try {
    for (const model of positionals) {
      results.models.push(await measure(model, work))
      if (values.out) writeFileSync(values.out, `${JSON.stringify(results, null, 1)}\n`)
    }
  } finally {
    if (!values.work) rmSync(work, { recursive: true })
  }
}
if (values.picture) writeFileSync(values.picture, drawContenders(results))
const head = [
  'model',
  'way',
  'prompts per CPU second',
  'times our time',
  'tokens computed',
  'of matrix products',
  'peak memory',
  'relative L2',
]
const rows = results.models.flatMap(rowsOf)
const lines = (of) => of.map((cells) => `| ${head.map((_, i) => cells[i] ?? '').join(' | ')} |`)
console.log(`${results.cpu}, ${results.threads} thread(s)\n`)
console.log((values.markdown ? lines([head, head.map(() => '---'), ...rows]) : table(head, rows)).join('\n'))
