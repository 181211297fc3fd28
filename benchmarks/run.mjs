// Runs the benchmarks in rounds, every trial once per round, and prints a table; needs `npm run build:ts`.
//
//   node benchmarks/run.mjs MODEL.gguf [MODEL.gguf ...] [--operation evaluate,extract,swap,generate,matmul] [--layer N]
//                           [--seconds 10] [--rounds 3] [--out results.json]
//                           [--variant 'one prompt at a time,+ context first'] [--threads 1] [--batch-tokens 2048]
//
// A trial that fails is reported and does not stop the rest. Medians, with the median absolute deviation beside them;
// speed by wall clock, and by CPU time, which other programs move less. Threads and batch sizes are searched unless given.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { table } from '../dist/bin/output.js'
import { OPERATIONS } from './cases.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const { values, positionals: models } = parseArgs({
  allowPositionals: true,
  options: {
    operation: { type: 'string', default: Object.keys(OPERATIONS).join(',') },
    layer: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    variant: { type: 'string' },
    threads: { type: 'string' },
    'batch-tokens': { type: 'string' },
    out: { type: 'string' },
  },
})
const operations = values.operation.split(',')
if (models.length === 0 || operations.some((name) => !(name in OPERATIONS))) {
  console.error(
    `usage: node benchmarks/run.mjs MODEL.gguf ... [--operation ${Object.keys(OPERATIONS).join(',')}]`,
  )
  process.exit(2)
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

const deviation = (numbers) => median(numbers.map((each) => Math.abs(each - median(numbers))))

function trial(settings) {
  const child = spawnSync(process.execPath, [join(here, 'trial.mjs'), JSON.stringify(settings)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.status !== 0) return { ...settings, failed: child.signal ?? child.status }
  return { ...settings, ...JSON.parse(child.stdout), loadAverage: loadavg()[0] }
}

function commit() {
  const git = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: here, encoding: 'utf8' })
  return git.status === 0 ? git.stdout.trim() : null
}

const fixed = (value) => (value === undefined ? undefined : [Number(value)])
const wanted = values.variant?.split(',')
const trials = models.flatMap((model) =>
  operations.flatMap((operation) =>
    OPERATIONS[operation].variants
      .filter((variant) => OPERATIONS[operation].prompts === undefined || (wanted?.includes(variant) ?? true))
      .map((variant) => ({
        model,
        operation,
        variant,
        layer: values.layer && Number(values.layer),
        seconds: Number(values.seconds),
        threads: fixed(values.threads),
        batchTokens: fixed(values['batch-tokens']),
      })),
  ),
)

/** One result out of a trial's rounds: what was timed side by side, the rest as the last round left it. */
function merged(rounds) {
  const all = (key) => rounds.flatMap((each) => each[key] ?? [])
  const last = rounds.at(-1)
  const timed = ['seconds', 'cpuSeconds', 'operationsPerSecond'].filter((key) => last[key] !== undefined)
  return { ...last, ...Object.fromEntries(timed.map((key) => [key, all(key)])) }
}

const rounds = trials.map(() => [])
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const [i, settings] of trials.entries()) {
    if (rounds[i].at(-1)?.failed !== undefined) continue
    const result = trial(settings)
    rounds[i].push(result)
    const { model, operation, variant, seconds = [], cpuSeconds = [] } = result
    console.error(
      `round ${round}: ${basename(model)}: ${operation}, ${variant}: ${seconds} s, CPU ${cpuSeconds} s`,
    )
  }
}
const results = rounds.map((each) => (each.at(-1).failed === undefined ? merged(each) : each.at(-1)))

const machine = {
  cpu: cpus()[0]?.model,
  threads: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  commit: commit(),
}
if (values.out) {
  const shown = results.map((each) => ({ ...each, model: basename(each.model) }))
  writeFileSync(values.out, `${JSON.stringify({ machine, results: shown }, null, 2)}\n`)
}

const roofOf = (model) =>
  results.find((each) => each.model === model && each.operationsPerSecond)?.operationsPerSecond
const cells = (each) => {
  const start = [basename(each.model), each.operation, each.variant]
  if (each.failed !== undefined) return [...start, `failed (${each.failed})`]
  if (each.operationsPerSecond) {
    return [...start, `${(median(each.operationsPerSecond) / 1e9).toFixed(0)} GFLOP/s`]
  }
  const seconds = median(each.seconds)
  const time = `${seconds.toPrecision(3)} ± ${deviation(each.seconds).toPrecision(1)}`
  if (each.prompts === undefined) return [...start, time]
  const base = results.find(
    (other) => other.model === each.model && other.operation === each.operation && other.seconds,
  )
  const roof = roofOf(each.model)
  return [
    ...start,
    time,
    (each.prompts / seconds).toFixed(1),
    String(each.computedTokens),
    `${each.threads} x ${each.batchTokens}`,
    `${(100 * each.share).toFixed(0)} %`,
    each.difference.toExponential(0),
    roof && each.operations ? `${((100 * each.operations) / seconds / median(roof)).toFixed(0)} %` : '',
    `${(100 * each.overheadShare).toFixed(2)} %`,
    each.peakAnonymousBytes ? `${(each.peakAnonymousBytes / 2 ** 20).toFixed(0)} MiB` : '',
    `${(median(base.seconds) / seconds).toFixed(2)}x`,
    `${(median(base.cpuSeconds) / median(each.cpuSeconds)).toFixed(2)}x`,
  ]
}
console.log(
  `${machine.cpu}, ${machine.threads} threads, ${machine.memoryGiB} GiB, Node ${machine.node}, ${machine.commit}\n`,
)
console.log(
  table(
    [
      'model',
      'operation',
      'variant',
      'seconds',
      'prompts/s',
      'computed',
      'threads x batch',
      'run',
      'difference',
      'of roof',
      'outside',
      'memory',
      'speed',
      'by CPU',
    ],
    results.map(cells),
  ).join('\n'),
)
process.exitCode = results.some((each) => each.failed !== undefined) ? 1 : 0
