/**
 * A trainer that does its worst beside a watch that is killed again and again:
 *
 *     npm run build:ts && node scripts/chaos-watch.mjs [--checkpoints 2000] [--kills 200] [--seed 1] [--interval 0.2] [--pace 0.5]
 *
 * The trainer saves checkpoints of the tiny base, half-writes them, rotates, resumes from an earlier step (the same names, other
 * weights, written in place), starts again in the same folder, takes the permissions of a checkpoint, its weights or the run's
 * folder away for a while, puts a link that leads in a circle in its place, and fills the disk up to a few bytes. The
 * watch is killed with SIGKILL at any moment. In the end every version of a checkpoint that was complete for an
 * interval and a margin while a watch looked is recorded exactly once or told to be lost or not readable, numbers and verdicts are
 * those of an offline `measure` to the last bit, and no file is left behind. Prints what was found as JSON; exits with 1 when something
 * is wrong.
 *
 * Permissions do not bind root, and a disk of its own needs root to be mounted: started as root, it gives itself a small
 * one that nobody else sees, and goes on as nobody. Started as somebody else, it fills no disk, and says so.
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
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
const KEPT = 6
const NOBODY = 65534
const DISK_MIB = 128

const given = process.env.TRAITSCOPE_CHAOS_ROOT
const root = given ?? mkdtempSync(join(tmpdir(), 'traitscope-chaos-'))
const disk = join(root, 'disk')
if (given === undefined) {
  process.on('exit', () => rmSync(root, { recursive: true, force: true }))
  mkdirSync(disk)
}
if (process.getuid?.() === 0) {
  for (const folder of [root, disk]) chownSync(folder, NOBODY, NOBODY)
  const inside = `mount -t tmpfs -o size=${DISK_MIB}m,mode=0777 tmpfs "$0" && exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups "$@"`
  const args = ['-m', 'sh', '-c', inside, disk, process.execPath, ...process.argv.slice(1)]
  const env = { ...process.env, TRAITSCOPE_CHAOS_ROOT: root }
  process.exit(spawnSync('unshare', args, { stdio: 'inherit', env }).status ?? 1)
}
if (given === undefined) console.error('not started as root: no disk is filled')
const [run, state, cache, temporary] = ['run', 'state', 'cache', 'tmp'].map((name) => join(disk, name))
const [archive, directions] = ['archive', 'directions'].map((name) => join(root, name))
for (const folder of [run, archive, temporary]) mkdirSync(folder)
const env = { ...process.env, XDG_CACHE_HOME: cache, TMPDIR: temporary }
const base = ['-m', join(TINY, 'base.gguf'), '--traits', join(TINY, 'pack.yaml')]
const traitscope = (...args) =>
  promisify(execFile)(process.execPath, [CLI, ...args], { env, maxBuffer: 2 ** 30 })
// At three blocks a prior has what it reads, and gives verdicts.
await traitscope('directions', ...base, '-l', '1,2,3', '--no-probes', '-o', directions)

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

const now = () => Date.now() / 1000
const pause = () => sleep(1000 * pace * (0.5 + random()))
/** What the trainer has saved: from when until when it lay there whole, and could be read. */
const versions = []
const living = new Map()
const done = { halves: 0, resumed: 0, restarted: 0, circles: 0, unreadable: 0, full: 0 }
/** When the disk was full. */
const fullTimes = []
const end = (step) => {
  const version = living.get(step)
  if (version) version.until = now()
  living.delete(step)
}

async function save(step) {
  end(step)
  const folder = join(run, `checkpoint-${step}`)
  const bytes = weights(versions.length)
  const state = { global_step: step, save_steps: 10, log_history: [] }
  mkdirSync(folder, { recursive: true })
  rmSync(join(folder, 'trainer_state.json'), { force: true })
  const half = random() < 0.3 ? Math.floor(bytes.length * random()) : bytes.length
  writeFileSync(join(folder, 'adapter_model.safetensors'), bytes.subarray(0, half))
  if (half < bytes.length) {
    done.halves++
    await sleep(1000 * pace * random())
    writeFileSync(join(folder, 'adapter_model.safetensors'), bytes)
  }
  writeFileSync(join(folder, 'adapter_config.json'), config)
  writeFileSync(join(folder, 'trainer_state.json'), JSON.stringify(state))
  const from = now()
  const version = { step, sha256: await hashCheckpoint(folder), saved: from, from, until: undefined }
  versions.push(version)
  living.set(step, version)
  const copy = join(archive, `checkpoint-${versions.length}`)
  mkdirSync(copy)
  writeFileSync(join(copy, 'adapter_model.safetensors'), bytes)
  writeFileSync(join(copy, 'adapter_config.json'), config)
  writeFileSync(join(copy, 'trainer_state.json'), JSON.stringify({ global_step: versions.length }))
}

function remove(step) {
  end(step)
  rmSync(join(run, `checkpoint-${step}`), { recursive: true, force: true })
}

/** Some checkpoints cannot be seen: what they lived through so far does not count. */
async function hidden(those, hide, show) {
  for (const version of those) version.until = now()
  hide()
  await pause()
  show()
  for (const version of those) Object.assign(version, { from: now(), until: undefined })
}

function circle() {
  done.circles++
  const hide = () => {
    renameSync(run, `${run}.away`)
    symlinkSync(run, run)
  }
  const show = () => {
    unlinkSync(run)
    renameSync(`${run}.away`, run)
  }
  return hidden([...living.values()], hide, show)
}

function unreadable() {
  done.unreadable++
  const [, one] = [...living].at(-1)
  const folder = join(run, `checkpoint-${one.step}`)
  const [path, mode, those] = [
    [run, 0o755, [...living.values()]],
    [folder, 0o755, [one]],
    [join(folder, 'adapter_model.safetensors'), 0o644, [one]],
  ][Math.floor(3 * random())]
  return hidden(
    those,
    () => chmodSync(path, 0),
    () => chmodSync(path, mode),
  )
}

/** Nothing can be written but a few bytes. The trainer itself saves a checkpoint that stays half, and does it again. */
async function full(step) {
  done.full++
  const filler = join(disk, 'filler')
  const file = openSync(filler, 'w')
  const block = Buffer.alloc(1 << 20)
  let size = 0
  for (let length = block.length; length > 0; ) {
    try {
      size += writeSync(file, block, 0, length)
    } catch {
      length >>= 1
    }
  }
  ftruncateSync(file, Math.max(0, size - Math.floor(random() * 65536)))
  closeSync(file)
  const time = { from: now(), until: Number.POSITIVE_INFINITY }
  fullTimes.push(time)
  await pause()
  await save(step).catch((error) => {
    if (error.code !== 'ENOSPC') throw error
  })
  await pause()
  rmSync(filler)
  time.until = now()
  await pause()
  await save(step)
}

async function train() {
  let step = 0
  while (versions.length < checkpoints || killed < kills) {
    step += 10
    await save(step)
    const steps = [...living.keys()].sort((a, b) => a - b)
    while (steps.length > KEPT) remove(steps.shift())
    const dice = random()
    if (dice < 0.05 && steps.length > 1) {
      done.resumed++
      step = steps[Math.floor(random() * (steps.length - 1))]
    } else if (dice < 0.08) {
      done.restarted++
      for (const one of [...living.keys()]) remove(one)
      step = 0
    } else if (dice < 0.1) await circle()
    else if (dice < 0.14) await unreadable()
    else if (dice < 0.16 && given !== undefined) {
      step += 10
      await full(step)
    }
    await pause()
  }
}

/** When a watch looked, and what it printed. */
const watches = []
const printed = new Set()
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
  createInterface({ input: child.stdout }).on('line', (line) => {
    one.from ??= now()
    const { type, step, adapterSha256 } = JSON.parse(line)
    if (type === 'checkpoint') printed.add(`${step} ${adapterSha256}`)
  })
  one.over = new Promise((resolve) => {
    child.on('close', (code, signal) => {
      one.until ??= now()
      resolve({ code, signal, said })
    })
  })
  return one
}

function noteRss(one) {
  try {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${one.child.pid}/status`, 'utf8'))?.[1]
    one.rssMiB = Math.max(one.rssMiB ?? 0, Number(kib ?? 0) / 1024)
  } catch {
    // It has ended, or this system has no such files.
  }
}

const problems = []
let killed = 0
let trained = false
const training = train().then(() => {
  trained = true
})
const meanLife = (checkpoints * pace * 1.25) / Math.max(1, kills)
while (!trained) {
  const one = watch()
  // Most are killed while they look, some while they begin.
  const isEarly = random() < 0.2
  const life = meanLife * (0.2 + 1.6 * random())
  const started = now()
  const isOver = () => now() - (isEarly ? started : (one.from ?? Number.POSITIVE_INFINITY)) >= life
  while (!trained && one.until === undefined && !isOver()) {
    await sleep(100)
    noteRss(one)
  }
  if (one.until !== undefined) problems.push(`a watch ended by itself: ${(await one.over).said}`)
  one.until ??= now()
  one.child.kill('SIGKILL')
  await one.over
  killed++
}
await training
const last = await watch('--idle', '3').over

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
const reported = events.filter(
  ({ type, step }) => type === 'lost' || (type === 'error' && step !== undefined),
)
let seen = 0
let kept = 0
let onlyPrinted = 0
for (const { step, sha256, from, until = now(), saved } of versions) {
  const together = Math.max(
    ...watches.map(
      (one) => Math.min(until, one.until ?? now()) - Math.max(from, one.from ?? Number.POSITIVE_INFINITY),
    ),
  )
  const isRecorded = recorded.has(`${step} ${sha256}`)
  if (isRecorded) kept++
  if (together < interval + margin) continue
  seen++
  if (isRecorded || reported.some((event) => event.step === step && Date.parse(event.time) / 1000 >= saved))
    continue
  // On a full disk only who listens is told, and a kill takes the rest.
  const wasFull = fullTimes.some((time) => time.from <= until && time.until >= saved)
  if (wasFull && printed.has(`${step} ${sha256}`)) onlyPrinted++
  else
    problems.push(
      `step ${step} (${sha256.slice(0, 8)}) lay there for ${together.toFixed(2)} s beside a watch and was neither recorded nor lost`,
    )
}
for (const [i, { seq }] of events.entries())
  if (seq !== i + 1) problems.push(`event ${i + 1} has number ${seq}`)

// Offline: the same weights, measured once each in a run of their own.
const measured = join(root, 'measured')
await traitscope('measure', ...base, '-d', directions, archive, '-o', measured, '--activations', 'none')
const readJson = (name) => JSON.parse(readFileSync(join(measured, name), 'utf8'))
const offline = readJson('trajectory.json').traitscope
const verdicts = new Map(readJson('verdicts.json').map(({ step, verdict }) => [step, verdict]))
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
  if (!event.verdict || JSON.stringify(event.verdict) !== JSON.stringify(verdicts.get(step.step)))
    problems.push(`step ${version.step} (${version.sha256.slice(0, 8)}) was judged otherwise offline`)
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
const median = (list) => Math.round([...list].sort((a, b) => a - b)[list.length >> 1] ?? 0)
const rss = watches.map(({ rssMiB }) => rssMiB ?? 0)
const tenth = Math.ceil(rss.length / 10)
const count = (type) => events.filter((event) => event.type === type).length
console.log(
  JSON.stringify(
    {
      trainer: { versions: versions.length, ...done },
      ...{ kills: killed, seen, recorded: recorded.size, keptOfAll: kept, onlyPrinted, compared },
      ...{ lost: lost.length, errors: count('error'), waiting: count('waiting'), secured: count('secured') },
      ...{ gaps: gaps.length, missing: gaps.reduce((sum, { count }) => sum + count, 0) },
      rssMiB: {
        ...{ largest: Math.round(Math.max(...rss)), firstTenth: median(rss.slice(0, tenth)) },
        ...{ lastTenth: median(rss.slice(-tenth - 1, -1)) },
      },
      problems,
    },
    undefined,
    1,
  ),
)
process.exitCode = problems.length > 0 ? 1 : 0
