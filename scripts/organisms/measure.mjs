// Measures the finished runs of the model organisms with traitscope, and puts their labels and logs beside.
//
//   node scripts/organisms/measure.mjs --from OUT --models MODELS --to MEASURED [--organism NAME] [--set NAME] [--force]
//
// OUT is the output of `python -m lab.organisms work`, MODELS that of `python -m lab.organisms export`. Adds
// MODELS/<organism>/directions/ and MEASURED/<organism>/<set>/seed_<seed>/ with trajectory.json, activations.safetensors
// (means over the prompts), betley_eval/grades.json and training_log.json. Runs that are there already are left alone, so
// it can be called again while the lab is still training.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  extractDirections,
  loadDirections,
  loadTraitPack,
  measureRun,
  openModel,
  saveDirections,
} from '../../dist/lib/index.js'
import { gradesOf } from './grades.mjs'
import { list, PACK, primaryLayer, readJson } from './places.mjs'

const { values } = parseArgs({
  options: {
    from: { type: 'string' },
    models: { type: 'string' },
    to: { type: 'string' },
    organism: { type: 'string' },
    set: { type: 'string' },
    force: { type: 'boolean', default: false },
  },
})
const { from, models, to } = values
if (!from || !models || !to) {
  console.error('--from OUT --models MODELS --to MEASURED are needed')
  process.exit(2)
}

const pack = await loadTraitPack(PACK)
let failures = 0
for (const organism of list(models)) {
  if (values.organism !== undefined && organism !== values.organism) continue
  const todo = runsOf(organism)
  // A warm run starts from a base of its own; it is projected on the directions of the organism.
  await measureAll(
    organism,
    'base.gguf',
    todo.filter(({ about }) => about.kind !== 'warm'),
  )
  await measureAll(
    organism,
    'warm-base.gguf',
    todo.filter(({ about }) => about.kind === 'warm'),
  )
}
process.exitCode = failures > 0 ? 1 : 0

/** Finished runs that are still to be measured: the lab gives a run its name when it is complete. */
function runsOf(organism) {
  const runs = join(from, organism, 'runs')
  return list(runs)
    .filter((set) => values.set === undefined || set === values.set)
    .flatMap((set) => list(join(runs, set)).map((seed) => ({ set, seed })))
    .map(({ set, seed }) => ({
      set,
      source: join(runs, set, seed),
      target: join(to, organism, set, seed),
      about: readJson(join(runs, set, seed, 'run.json')),
    }))
    .filter(({ target }) => values.force || !existsSync(target))
}

async function measureAll(organism, base, runs) {
  const gguf = join(models, organism, base)
  if (runs.length === 0 || !existsSync(gguf)) return
  const model = await openModel(gguf)
  try {
    const directions = await directionsOf(organism)
    for (const run of runs) {
      try {
        await measure(organism, model, directions, run)
        console.error(`${organism} ${run.set} ${run.about.seed}`)
      } catch (error) {
        failures++
        console.error(`${organism} ${run.set} ${run.about.seed}: ${error.message}`)
      }
    }
  } finally {
    await model.close()
  }
}

/** Of the organism's base at all blocks, made when they are not there. */
async function directionsOf(organism) {
  const folder = join(models, organism, 'directions')
  if (!existsSync(folder)) {
    const model = await openModel(join(models, organism, 'base.gguf'))
    try {
      const layers = Array.from({ length: model.info.nLayer }, (_, layer) => layer)
      await saveDirections(await extractDirections(model, pack, { layers }), folder)
    } finally {
      await model.close()
    }
  }
  return loadDirections(folder)
}

/** The folder appears as a whole: others read it while runs are added. */
async function measure(organism, model, directions, { set, source, target, about }) {
  const partial = join(to, '.partial', organism, set, `seed_${about.seed}`)
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(join(partial, '..'), { recursive: true })
  await measureRun(model, directions, source, {
    pack,
    out: partial,
    layer: primaryLayer(directions.layers),
    allowMismatch: about.kind === 'warm',
    cacheDir: false,
    activations: 'means',
    run: {
      model: organism,
      dataSource: set,
      seed: about.seed,
      nSamples: about.n_samples,
      lr: about.lr,
      epochs: about.epochs,
      fullFinetune: about.kind === 'fft',
    },
  })
  rmSync(join(partial, 'run_manifest.json'))
  mkdirSync(join(partial, 'betley_eval'))
  writeJson(join(partial, 'betley_eval', 'grades.json'), gradesOf(readJson(join(source, 'labels.json'))))
  const { log_history } = readJson(join(source, 'trainer_state.json'))
  // The last entry is a summary with the time that the trainer took.
  writeJson(
    join(partial, 'training_log.json'),
    log_history.filter(({ loss }) => loss !== undefined),
  )
  rmSync(target, { recursive: true, force: true })
  mkdirSync(join(target, '..'), { recursive: true })
  renameSync(partial, target)
}

function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value)}\n`)
}
