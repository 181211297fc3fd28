// Compares traitscope with transformers on the exported organisms: token ids of every prompt of the trait pack, hidden
// states of every evaluation prompt at every block and checkpoint of one run, and the drift of that run.
//
//   node scripts/organisms/check.mjs --from OUT --models MODELS
//
// Prints a line per organism and writes MODELS/<organism>/check.json; exits with 1 when something is out of bounds.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { readSafetensors } from '../../dist/lib/formats/safetensors/safetensors.js'
import {
  ChatTemplate,
  chatTokens,
  directionVector,
  drift,
  evaluationPrompts,
  loadDirections,
  loadTraitPack,
  measureRun,
  openModel,
} from '../../dist/lib/index.js'
import { extractionPrompts } from '../../dist/lib/prompts/prompt-sets.js'
import { list, PACK, primaryLayer, readJson } from './places.mjs'

const { values } = parseArgs({ options: { from: { type: 'string' }, models: { type: 'string' } } })
const { from, models } = values
if (!from || !models) {
  console.error('--from OUT --models MODELS are needed')
  process.exit(2)
}

/**
 * Both sides have the same float16 weights. On the CPU ggml looks GELU up in a table of float16 values (Gemma's states differ by
 * some 1e-4), and on processors without AMX it rounds what an F16 matrix is multiplied with to float16: some 1e-3 at worst after
 * twelve blocks. Where neither happens states differ by less than 1e-5.
 */
const BOUNDS = { statesRelative: 2e-3, drift: 1e-3, projections: 1e-4 }

const pack = await loadTraitPack(PACK)
let failed = false
for (const organism of list(models)) {
  const folder = join(models, organism)
  if (!existsSync(join(folder, 'states.safetensors'))) continue
  const found = await check(organism, folder)
  const bad = Object.keys(BOUNDS).filter((name) => !(found[name] <= BOUNDS[name]))
  failed ||= bad.length > 0 || found.differentTokenIds > 0
  writeFileSync(join(folder, 'check.json'), `${JSON.stringify(found, null, 1)}\n`)
  console.log(organism, JSON.stringify(found), bad.length > 0 ? `OUT OF BOUNDS: ${bad}` : '')
}
process.exitCode = failed ? 1 : 0

async function check(organism, folder) {
  const model = await openModel(join(folder, 'base.gguf'))
  const scratch = mkdtempSync(join(tmpdir(), 'traitscope-check-'))
  try {
    const reference = await readSafetensors(join(folder, 'states.safetensors'))
    const run = reference.metadata.get('run')
    const directions = await loadDirections(join(folder, 'directions'))
    const measured = join(scratch, 'measured')
    const trajectory = await measureRun(model, directions, join(from, organism, 'runs', run), {
      pack,
      out: measured,
      layer: primaryLayer(directions.layers),
      cacheDir: false,
    })
    const states = await readSafetensors(join(measured, 'activations.safetensors'))
    return {
      run,
      ...(await tokenIds(model, readJson(join(folder, 'prompts.json')))),
      ...compareStates(states, reference),
      ...compareProjections(trajectory, directions, reference),
    }
  } finally {
    await model.close()
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function tokenIds(model, expected) {
  const template = ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement })
  const conversations = pack.traits.flatMap((trait) => Object.values(extractionPrompts(pack, trait)).flat())
  const evaluated = evaluationPrompts(pack).map(({ messages }) => messages)
  const ids = await chatTokens(model, template, [...conversations, ...evaluated])
  const wanted = [...expected.extraction, ...expected.evaluation]
  return {
    prompts: ids.length,
    differentTokenIds:
      Math.max(ids.length, wanted.length) - ids.filter((row, i) => row.join() === wanted[i]?.join()).length,
  }
}

/** The largest and the mean relative L2 of a state, over checkpoints, prompts and blocks. */
function compareStates(states, reference) {
  const errors = []
  for (const [name, { shape }] of reference.tensors) {
    const width = shape[2]
    const [a, b] = [states.finiteFloat32(name), reference.finiteFloat32(name)]
    for (let at = 0; at < b.length; at += width) {
      let [difference, length] = [0, 0]
      for (let i = at; i < at + width; i++) {
        difference += (a[i] - b[i]) ** 2
        length += b[i] ** 2
      }
      errors.push(Math.sqrt(difference / length))
    }
  }
  return {
    statesRelative: Math.max(...errors),
    statesRelativeMean: errors.reduce((sum, error) => sum + error, 0) / errors.length,
  }
}

/**
 * Projections in units of the step-0 norm, and drift: the largest ‖difference‖ over blocks and checkpoints as a share of
 * the block's largest ‖drift‖.
 */
function compareProjections(trajectory, directions, reference) {
  let [projections, worstDrift] = [0, 0]
  for (const [l, layer] of directions.layers.entries()) {
    const measured = drift(trajectory, { layer })
    const longest = Math.max(...measured.map(({ norm }) => norm))
    const { step0ActivationNorm, projections: raw } = trajectory.layers[l]
    const expected = trajectory.steps.map(({ step }) => projectMean(reference, step, directions, l))
    for (const [s, { values: shift }] of measured.entries()) {
      const wanted = expected[s].map((value, t) => (value - expected[0][t]) / step0ActivationNorm)
      worstDrift = Math.max(worstDrift, Math.hypot(...shift.map((value, t) => value - wanted[t])) / longest)
      for (const [t, value] of expected[s].entries())
        projections = Math.max(projections, Math.abs(raw[s][t] - value) / step0ActivationNorm)
    }
  }
  return { projections, drift: worstDrift }
}

/** Mean over prompts of the projections of one block's reference states, per trait. */
function projectMean(reference, step, directions, l) {
  const [prompts, layers, width] = reference.tensors.get(`step-${step}`).shape
  const data = reference.finiteFloat32(`step-${step}`)
  return directions.traits.map((_, trait) => {
    const direction = directionVector(directions, l, trait)
    let sum = 0
    for (let p = 0; p < prompts; p++)
      for (let i = 0; i < width; i++) sum += data[(p * layers + l) * width + i] * direction[i]
    return sum / prompts
  })
}
