/**
 * A trainer that does its worst beside a watch that is killed again and again:
 *
 *     npm run build:ts && node scripts/chaos-watch.mjs [--checkpoints 2000] [--kills 200] [--seed 1] [--interval 0.2] [--pace 0.5]
 *
 * The trainer saves checkpoints of the tiny base, half-writes them, rotates, resumes from an earlier step (the same names, other
 * weights, written in place), starts again in the same folder, and makes the run's folder unreadable for a while. The
 * watch is killed with SIGKILL at any moment. In the end every version of a checkpoint that was complete for an
 * interval and a margin while a watch looked is recorded exactly once or told to be lost, numbers are those of an offline
 * `measure` to the last bit, and no file is left behind. Prints what was found as JSON; exits with 1 when something is wrong.
 */
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { EventReader } from '../dist/lib/events/event-log.js'
import { listStates } from '../dist/lib/events/state-folder.js'
import { hashCheckpoint } from '../dist/lib/formats/run/checkpoint-folder.js'
import { encodeSafetensors, readSafetensors } from '../dist/lib/formats/safetensors/safetensors.js'
import { repository } from './stages.mjs'

const { values } = parseArgs({
  options: {
    checkpoints: { type: 'string', default: '2000' },
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    interval: { type: 'string', default: '0.2' },
    pace: { type: 'string', default: '0.5' },
    margin: { type: 'string', default: '1' },
  },
})
const [checkpoints, kills, seed, interval, pace, margin] = [
  'checkpoints',
  'kills',
  'seed',
  'interval',
  'pace',
  'margin',
].map((name) => Number(values[name]))
const CLI = join(repository, 'dist/bin/traitscope.js')
const TINY = join(repository, 'test/fixtures/tiny')
const KEPT = 4

const root = mkdtempSync(join(tmpdir(), 'traitscope-chaos-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const [run, state, cache, archive, directions, temporary] = [
  'run',
  'state',
  'cache',
  'archive',
  'directions',
  'tmp',
].map((name) => join(root, name))
for (const folder of [run, archive, temporary]) mkdirSync(folder)
const env = { ...process.env, XDG_CACHE_HOME: cache, TMPDIR: temporary }
const base = ['-m', join(TINY, 'base.gguf'), '--traits', join(TINY, 'pack.yaml')]
const traitscope = (...args) =>
  promisify(execFile)(process.execPath, [CLI, ...args], { env, maxBuffer: 2 ** 30 })
await traitscope('directions', ...base, '-l', '2', '--no-probes', '-o', directions)

/** Numbers that a seed repeats. */
let drawn = 0
const random = () => createHash('sha256').update(`${seed} ${drawn++}`).digest().readUInt32LE(0) / 2 ** 32
const source = await readSafetensors(join(TINY, 'run/checkpoint-60/adapter_model.safetensors'))
const config = readFileSync(join(TINY, 'run/checkpoint-60/adapter_config.json'))

/** Weights that no other version has. */
function weights(version) {
  const tensors = [...source.tensors].map(([name, { shape }]) => {
    const data = Float32Array.from(source.float32(name), (value) => value * (1 + version / 4096))
    return { name, dtype: 'F32', shape: [...shape], data }
  })
  return encodeSafetensors(tensors)
}

const now = () => performance.now() / 1000
/** What the trainer has saved: from when until when it lay there whole. */
const versions = []
const living = new Map()
const end = (step) => {
  const version = living.get(step)
  if (version) version.until = now()
  living.delete(step)
}

async function save(step) {
  end(step)
  const folder = join(run, `checkpoint-${step}`)
  const bytes = weights(versions.length)
  mkdirSync(folder, { recursive: true })
  rmSync(join(folder, 'trainer_state.json'), { force: true })
  const half = random() < 0.3 ? Math.floor(bytes.length * random()) : bytes.length
  writeFileSync(join(folder, 'adapter_model.safetensors'), bytes.subarray(0, half))
  if (half < bytes.length) {
    await sleep(1000 * pace * random())
    writeFileSync(join(folder, 'adapter_model.safetensors'), bytes)
  }
  writeFileSync(join(folder, 'adapter_config.json'), config)
  writeFileSync(
    join(folder, 'trainer_state.json'),
    JSON.stringify({ global_step: step, save_steps: 10, log_history: [] }),
  )
  const version = { step, sha256: await hashCheckpoint(folder), from: now(), until: undefined }
  cpSync(folder, join(archive, `checkpoint-${versions.length + 1}`), { recursive: true })
  writeFileSync(
    join(archive, `checkpoint-${versions.length + 1}`, 'trainer_state.json'),
    JSON.stringify({ global_step: versions.length + 1 }),
  )
  versions.push(version)
  living.set(step, version)
}

function remove(step) {
  end(step)
  rmSync(join(run, `checkpoint-${step}`), { recursive: true, force: true })
}

async function train() {
  let step = 0
  while (versions.length < checkpoints) {
    step += 10
    await save(step)
    const steps = [...living.keys()].sort((a, b) => a - b)
    while (steps.length > KEPT) remove(steps.shift())
    const dice = random()
    if (dice < 0.05 && steps.length > 1) step = steps[Math.floor(random() * (steps.length - 1))]
    else if (dice < 0.08) {
      for (const one of [...living.keys()]) remove(one)
      step = 0
    } else if (dice < 0.11) {
      // Unreadable for a while: what is there cannot be seen.
      for (const version of living.values()) version.until = now()
      renameSync(run, `${run}.away`)
      symlinkSync(run, run)
      await sleep(1000 * pace * random())
      unlinkSync(run)
      renameSync(`${run}.away`, run)
      for (const version of living.values()) version.until = undefined
      for (const version of living.values()) version.from = now()
    }
    await sleep(1000 * pace * (0.5 + random()))
  }
}

/** When a watch looked, and what it printed. */
const watches = []
let largestRss = 0
function watch(...flags) {
  const args = [
    'watch',
    ...base,
    '-d',
    directions,
    run,
    '--state',
    state,
    '--interval',
    String(interval),
    '--jsonl',
    '-q',
    ...flags,
  ]
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const one = { child, from: undefined, until: undefined }
  watches.push(one)
  let said = ''
  child.stderr.on('data', (text) => {
    said += text
  })
  createInterface({ input: child.stdout }).on('line', () => {
    one.from ??= now()
  })
  one.over = new Promise((resolve) => {
    child.on('close', (code, signal) => {
      one.until = now()
      resolve({ code, signal, said })
    })
  })
  return one
}

const noteRss = (pid) => {
  try {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    largestRss = Math.max(largestRss, Number(kib ?? 0) / 1024)
  } catch {
    // It has ended, or this system has no such files.
  }
}

let trained = false
const training = train().then(() => {
  trained = true
})
const trainingSeconds = checkpoints * pace * 1.25
let killed = 0
while (!trained) {
  const one = watch()
  const life = (trainingSeconds / Math.max(1, kills)) * (0.2 + 1.6 * random())
  const started = now()
  while (!trained && now() - started < life) {
    await sleep(100)
    noteRss(one.child.pid)
  }
  one.until = now()
  one.child.kill('SIGKILL')
  await one.over
  killed++
}
await training
const last = await watch('--idle', '3').over

const problems = []
if (![0, 1].includes(last.code))
  problems.push(`the last watch ended with ${last.code} ${last.signal}: ${last.said}`)
const [found] = await listStates(state)
const reader = new EventReader(found.folder)
const events = []
for (let more = await reader.next(); more.length > 0; more = await reader.next()) events.push(...more)
const recorded = new Map()
for (const event of events) {
  if (event.type !== 'checkpoint') continue
  const key = `${event.step} ${event.adapterSha256}`
  if (recorded.has(key)) problems.push(`step ${event.step} with ${event.adapterSha256} is recorded twice`)
  recorded.set(key, event)
}
const lost = events.filter(({ type }) => type === 'lost')
let seen = 0
let kept = 0
for (const { step, sha256, from, until = now() } of versions) {
  const together = Math.max(
    ...watches.map(
      (one) => Math.min(until, one.until ?? now()) - Math.max(from, one.from ?? Number.POSITIVE_INFINITY),
    ),
  )
  const isRecorded = recorded.has(`${step} ${sha256}`)
  if (isRecorded) kept++
  if (together < interval + margin) continue
  seen++
  if (!isRecorded && !lost.some((event) => event.step === step))
    problems.push(
      `step ${step} (${sha256.slice(0, 8)}) lay there for ${together.toFixed(2)} s beside a watch and was neither recorded nor lost`,
    )
}
for (const [i, { seq }] of events.entries())
  if (seq !== i + 1) problems.push(`event ${i + 1} has number ${seq}`)

// Offline: the same weights, measured once each in a run of their own.
const { stdout } = await traitscope(
  'measure',
  ...base,
  '-d',
  directions,
  archive,
  '--json',
  '--activations',
  'none',
)
const offline = JSON.parse(stdout).traitscope
let compared = 0
for (const [i, step] of offline.steps.entries()) {
  const version = versions[step.step - 1]
  const event = version && recorded.get(`${version.step} ${version.sha256}`)
  if (!event) continue
  compared++
  for (const [l, layer] of offline.layers.entries()) {
    if (JSON.stringify(event.projections[l].mean) !== JSON.stringify(layer.projections[i]))
      problems.push(`step ${version.step} (${version.sha256.slice(0, 8)}) was measured otherwise offline`)
  }
}
if (compared === 0) problems.push('nothing was compared with an offline measurement')
const secured = join(found.folder, 'secured')
const left = [
  ...(existsSync(secured) ? readdirSync(secured) : []),
  ...readdirSync(temporary),
  ...readdirSync(join(cache, 'traitscope')).filter(
    (name) => name.startsWith('.') || name.startsWith('checkpoint-'),
  ),
]
if (left.length > 0) problems.push(`left behind: ${left.join(', ')}`)

const gaps = events.filter(({ type }) => type === 'gap')
console.log(
  JSON.stringify({
    ...{
      versions: versions.length,
      seen,
      recorded: recorded.size,
      keptOfAll: kept,
      lost: lost.length,
      kills: killed,
    },
    ...{ gaps: gaps.length, missing: gaps.reduce((sum, { count }) => sum + count, 0), compared },
    ...{
      errors: events.filter(({ type }) => type === 'error').length,
      largestRssMiB: Math.round(largestRss),
    },
    problems,
  }),
)
process.exitCode = problems.length > 0 ? 1 : 0
