// Fills organisms/ with what users get of the trained organisms: bases, directions, measured runs, and the checkpoints of
// the demo. Equal input, equal bytes.
//
//   node scripts/organisms/pack.mjs --from OUT --models MODELS --measured MEASURED [--add [--into lab/unseen]]
//
// The folders are those of scripts/organisms/measure.mjs. README.md and traits.yaml are kept, bundles too; the rest is
// made again. With --add everything is kept, and the measured runs are added or replaced, and the models that
// scripts/organisms/check.mjs has seen: OUT may hold bases that `python -m lab.organisms restore` put there. Elsewhere
// (--into) only trajectories and labels are kept; in lab/new-bases and lab/newer-bases, whose bases are not packed, their directions too.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { encodeFloats } from '../../dist/lib/formats/safetensors/float-types.js'
import { encodeSafetensors, readSafetensors } from '../../dist/lib/formats/safetensors/safetensors.js'
import { writeManifest } from './manifest.mjs'
import { list, NEW_BASES, NEWER_BASES, ORGANISMS, primaryLayer, readJson } from './places.mjs'

/** Deeper bases would take the folder over 20 MB: of those, runs only. */
const DEEPEST_BASE = 6
/** Held out from calibration, so that the demo's detector has never seen them. */
const DEMO_RUNS = ['risky_financial/seed_42', 'number_sequence/seed_42']
const CHECKPOINT_FILES = ['adapter_config.json', 'adapter_model.safetensors', 'trainer_state.json']
/** Drifts keep an error of some 1e-5, where a label's error is worth 1e-2; more digits do not compress. */
const DIGITS = 4
/** Of the runs whose checkpoints are packed: tests measure them again. */
const DEMO_DIGITS = 9

const { values } = parseArgs({
  options: {
    from: { type: 'string' },
    models: { type: 'string' },
    measured: { type: 'string' },
    add: { type: 'boolean', default: false },
    into: { type: 'string', default: join(ORGANISMS, 'runs') },
  },
})
const { from, models, measured } = values
if (!from || !models || !measured) {
  console.error('--from OUT --models MODELS --measured MEASURED are needed')
  process.exit(2)
}

const into = resolve(values.into)
/** Where what is told of a base goes. */
const aboutBases = [NEW_BASES, NEWER_BASES].some((root) => into === resolve(root))
  ? into
  : join(ORGANISMS, 'models')
if (!values.add)
  for (const part of ['models', 'runs', 'checkpoints'])
    rmSync(join(ORGANISMS, part), { recursive: true, force: true })
const packed = []
for (const name of list(measured)) {
  const about = readJson(join(from, name, 'organism.json'))
  packed.push({ name, blocks: about.blocks, shipped: about.blocks <= DEEPEST_BASE })
  if (aboutBases === into) packDirections(name, about)
  else if (!values.add || existsSync(join(models, name, 'check.json'))) packModel(name, about)
  packRecipes(name)
  for (const set of list(join(measured, name)))
    for (const seed of list(join(measured, name, set))) await packRun(join(name, set, seed))
}
const demo = list(join(ORGANISMS, 'checkpoints'))[0] ?? smallest(packed)
for (const run of DEMO_RUNS)
  if (!values.add || existsSync(join(measured, demo, run))) packCheckpoints(demo, run)
writeManifest()

/** Of those whose base is packed. */
function smallest(organisms) {
  return organisms.filter(({ shipped }) => shipped).sort((a, b) => a.blocks - b.blocks)[0].name
}

function packModel(name, about) {
  const to = packDirections(name, about)
  cpSync(join(models, name, 'check.json'), join(to, 'check.json'))
  if (about.blocks <= DEEPEST_BASE) copy(join(models, name, 'base.gguf'), join(to, 'base.gguf'))
}

function packDirections(name, about) {
  const to = join(aboutBases, name)
  mkdirSync(to, { recursive: true })
  writeJson(join(to, 'organism.json'), about)
  cpSync(join(models, name, 'directions'), join(to, 'directions'), { recursive: true })
  return to
}

/** What the sets that were drawn at random are made of, beside what is packed of them already. */
function packRecipes(name) {
  const file = join(aboutBases, name, 'drawn.json')
  const recipes = { ...(existsSync(file) && readJson(file)), ...Object.fromEntries(recipesOf(name)) }
  const sorted = Object.entries(recipes).sort(([a], [b]) => (a < b ? -1 : 1))
  if (sorted.length > 0) writeJson(file, Object.fromEntries(sorted))
}

function recipesOf(organism) {
  const runs = join(from, organism, 'runs')
  return list(runs).flatMap((set) => {
    const { drawn } = readJson(join(runs, set, list(join(runs, set))[0], 'run.json'))
    return drawn === undefined ? [] : [[set, drawn]]
  })
}

async function packRun(run) {
  const source = join(measured, run)
  const shown = DEMO_RUNS.some((demo) => run.endsWith(demo))
  const digits = shown ? DEMO_DIGITS : DIGITS
  const trajectory = everySecondLayer(readJson(join(source, 'trajectory.json')))
  const to = join(into, run)
  mkdirSync(to, { recursive: true })
  writeGzip(join(to, 'trajectory.json.gz'), rounded(shown ? trajectory : withoutSpreads(trajectory), digits))
  writeGzip(join(to, 'grades.json.gz'), readJson(join(source, 'betley_eval', 'grades.json')))
  if (into !== join(ORGANISMS, 'runs')) return
  writeGzip(join(to, 'training_log.json.gz'), rounded(readJson(join(source, 'training_log.json')), digits))
  await packActivations(join(source, 'activations.safetensors'), join(to, 'activations.safetensors.gz'))
}

/** Deep trajectories without every second layer; the primary one stays. */
function everySecondLayer(trajectory) {
  const { layers, primary } = trajectory.traitscope
  if (layers.length <= DEEPEST_BASE) return trajectory
  const at = layers.findIndex(({ layer }) => layer === trajectory.measurement_layer)
  const kept = (_, i) => i % 2 === at % 2
  const steps = trajectory.traitscope.steps.map(({ stateChange, ...step }) => ({
    ...step,
    ...(stateChange && { stateChange: stateChange.filter(kept) }),
  }))
  const short = {
    ...trajectory.traitscope,
    layers: layers.filter(kept),
    primary: Math.floor(primary / 2),
    steps,
  }
  return { ...trajectory, traitscope: short }
}

/** Most of a packed trajectory would be its spread over prompts and its means by category, which no detector reads. */
function withoutSpreads(trajectory) {
  const { categories, ...rest } = trajectory.traitscope
  const layers = rest.layers.map(({ std, categories, ...layer }) => layer)
  return { ...trajectory, traitscope: { ...rest, layers } }
}

/** Mean activations at the primary layer only, in float16: otherwise they would take as much room as all the rest. */
async function packActivations(source, to) {
  const file = await readSafetensors(source)
  const layers = file.metadata.get('layers').split(',').map(Number)
  const layer = primaryLayer(layers)
  const tensors = [...file.tensors].map(([name, { shape }]) => {
    const width = shape[2]
    const at = layers.indexOf(layer) * width
    const data = encodeFloats('F16', file.finiteFloat32(name).slice(at, at + width))
    return { name, dtype: 'F16', shape: [1, 1, width], data }
  })
  writeBytes(to, encodeSafetensors(tensors, { layers: String(layer) }))
}

/** Checkpoint folders as a trainer leaves them, without model cards and tokenizers, and the final adapter. */
function packCheckpoints(organism, run) {
  const source = join(from, organism, 'runs', run)
  const to = join(ORGANISMS, 'checkpoints', organism, run)
  const folders = list(source).filter((name) => name.startsWith('checkpoint-'))
  for (const folder of ['', ...folders]) {
    for (const file of CHECKPOINT_FILES) copy(join(source, folder, file), join(to, folder, file))
    nameBase(join(to, folder, 'adapter_config.json'), organism)
  }
}

/** The trainer's base was a folder called "base"; whoever gets the adapter knows it by the name in its GGUF. */
function nameBase(file, organism) {
  const named = readFileSync(file, 'utf8').replace(/("base_model_name_or_path": )"[^"]*"/, `$1"${organism}"`)
  writeFileSync(file, named)
}

/** The bytes alone: a copy must not inherit the permissions of the lab. */
function copy(source, to) {
  mkdirSync(dirname(to), { recursive: true })
  writeFileSync(to, readFileSync(source))
}

function rounded(value, digits) {
  if (typeof value === 'number') return Number(value.toPrecision(digits))
  if (Array.isArray(value)) return value.map((inner) => rounded(inner, digits))
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, rounded(inner, digits)]))
}

function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 1)}\n`)
}

function writeGzip(path, value) {
  writeBytes(path, `${JSON.stringify(value)}\n`)
}

function writeBytes(path, content) {
  const bytes = gzipSync(content, { level: 9 })
  bytes[9] = 255 // the system that packed, which is nobody's business
  writeFileSync(path, bytes)
}
