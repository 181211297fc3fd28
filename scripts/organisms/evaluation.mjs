// Runs every comparison of docs/evaluation.md on organisms/ and fills the page's marked places.
//
//   node scripts/organisms/evaluation.mjs --work DIR [--only NAME]
//
// DIR keeps the bundles and the result of every comparison; what is there already is not computed again, so that the page
// can be written anew in a second, unless the organisms or the code of the package have changed since. From nothing it
// takes over an hour on one core; with --only two can share the work, once the bundles are there.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { evaluateRuns } from '../../dist/lib/evaluation/index.js'
import {
  calibrate,
  loadDirections,
  loadTraitPack,
  saveBundle,
  scanLabelledRuns,
} from '../../dist/lib/index.js'
import { evaluationBlocks } from './evaluation-blocks.mjs'
import { fillPage } from './fill-page.mjs'
import { ORGANISMS, PACK } from './places.mjs'

const SMALL = ['llama', 'mistral', 'qwen2', 'gemma2']
const DEEP = ['llama-deep', 'qwen2-deep']
const FOUR = ['insecure_code', 'gsm8k', 'jailbroken', 'bad_medical']
/** What detectors are calibrated on, and what they are tested on. */
const CALIBRATION = [...FOUR, 'drawn_c*']
const FIRST_SIXTEEN = Array.from({ length: 16 }, (_, i) => `drawn_c${String(i + 1).padStart(2, '0')}`)
const THREE = ['number_sequence', 'risky_financial', 'subtle_misinfo']
const PAIR = ['extreme_sports', 'safe_sports']
const DRIFT = { features: ['7D', '|PC1|'] }

const { values } = parseArgs({ options: { work: { type: 'string' }, only: { type: 'string' } } })
if (!values.work) {
  console.error('--work DIR is needed')
  process.exit(2)
}
const bundles = join(values.work, 'bundles')
const small = { models: SMALL, calibration: CALIBRATION, bundle: bundles }
const hold = (heldOut, calibration) => ({ models: SMALL, calibration, heldOut, ...DRIFT })

/** Comparisons by name: options of evaluateRuns(). */
const COMPARISONS = {
  three: {
    ...small,
    ...DRIFT,
    heldOut: THREE,
    controls: PAIR,
    pair: PAIR,
    enumerateTraits: true,
  },
  drawn: { ...small, ...DRIFT, heldOut: ['drawn_h*'] },
  four: { models: SMALL, calibration: FOUR, heldOut: THREE, controls: ['drawn_h*'], ...DRIFT },
  twenty: {
    models: SMALL,
    calibration: [...FOUR, ...FIRST_SIXTEEN],
    heldOut: THREE,
    controls: ['drawn_h*'],
    ...DRIFT,
  },
  warm: {
    ...small,
    ...DRIFT,
    heldOut: ['warm_gsm8k', 'warm_good_medical', 'warm_bad_medical'],
    allowMismatch: true,
  },
  long: { ...small, ...DRIFT, heldOut: ['long_dangerous', 'long_benign'] },
  full: {
    ...small,
    ...DRIFT,
    heldOut: ['fft_number_sequence', 'fft_risky_financial', 'fft_subtle_misinfo'],
  },
  others: { models: SMALL, calibration: CALIBRATION, heldOut: THREE, ...DRIFT, fitOn: 'others' },
  within: { models: DEEP, calibration: FOUR, heldOut: THREE, ...DRIFT },
  across: {
    models: SMALL,
    probes: DEEP,
    calibration: CALIBRATION,
    heldOut: THREE,
    ...DRIFT,
    fitOn: 'others',
  },
  // Method section 9.8: sets of one kind are held out, and the rest is what detectors are fitted on.
  advice: hold(
    ['bad_medical', 'risky_financial', 'subtle_misinfo'],
    ['insecure_code', 'gsm8k', 'jailbroken', 'number_sequence', 'extreme_sports'],
  ),
  'advice, without extreme_sports': hold(
    ['bad_medical', 'risky_financial', 'subtle_misinfo'],
    ['insecure_code', 'gsm8k', 'jailbroken', 'number_sequence'],
  ),
  code: hold(['insecure_code'], ['gsm8k', 'jailbroken', 'bad_medical', ...THREE, 'extreme_sports']),
  compliance: hold(['jailbroken'], ['gsm8k', 'insecure_code', 'bad_medical', ...THREE, 'extreme_sports']),
}

/** What has scripts of its own, each for its place on the page. */
const ELSEWHERE = [
  ['unseen.mjs'],
  ['learning-curve.mjs', '--draws', '2'],
  ['recipe.mjs'],
  ['kinds.mjs'],
  ['steps.mjs'],
  ['adaptive.mjs'],
]

mkdirSync(bundles, { recursive: true })
refuseOther(join(values.work, 'made-of.txt'))
if (values.only === undefined || COMPARISONS[values.only].bundle)
  for (const model of SMALL) await calibrated(model)
const results = {}
for (const [name, options] of Object.entries(COMPARISONS)) {
  if (values.only !== undefined && values.only !== name) continue
  results[name] = await compared(name, options)
}
if (values.only === undefined) {
  const page = fileURLToPath(new URL('../../docs/evaluation.md', import.meta.url))
  fillPage(page, evaluationBlocks(results))
  for (const [script, ...args] of ELSEWHERE) {
    const file = fileURLToPath(new URL(script, import.meta.url))
    const { status } = spawnSync(process.execPath, [file, ...args, '--page', page], { stdio: 'inherit' })
    if (status !== 0) throw new Error(`${script} failed: its place on the page is as it was`)
  }
}

/** Results of other code or other runs are not to be mixed with these. */
function refuseOther(file) {
  const code = fileURLToPath(new URL('../../dist/lib/', import.meta.url))
  const within = (folder, suffix) =>
    readdirSync(folder, { recursive: true })
      .filter((name) => name.endsWith(suffix))
      .sort()
      .map((name) => join(folder, name))
  const sources = [...within(code, '.js'), join(ORGANISMS, 'manifest.json')]
  const hash = createHash('sha256')
  for (const path of sources) hash.update(readFileSync(path))
  const now = hash.digest('hex')
  if (!existsSync(file)) writeFileSync(file, now)
  if (readFileSync(file, 'utf8') === now) return
  console.error(
    `${values.work} holds results of other code or other organisms: delete it, or name another folder`,
  )
  process.exit(1)
}

async function calibrated(model) {
  const out = join(bundles, model)
  if (existsSync(out)) return
  console.error(`calibrating ${model}`)
  const { runs, exclusions } = await scanLabelledRuns(join(ORGANISMS, 'runs', model), {
    datasets: CALIBRATION,
  })
  const directions = await loadDirections(join(ORGANISMS, 'models', model, 'directions'))
  const calibration = await calibrate(runs, { exclusions, nested: false })
  await saveBundle(calibration, { directions, pack: await loadTraitPack(PACK) }, out)
}

async function compared(name, options) {
  // A comparison of other options is another one, whatever it is called.
  const asked = createHash('sha256').update(JSON.stringify(options)).digest('hex').slice(0, 8)
  const file = join(values.work, `${name.replaceAll(/\W+/g, '-')}-${asked}.json`)
  if (!existsSync(file)) {
    console.error(name)
    const evaluation = await evaluateRuns(join(ORGANISMS, 'runs'), options)
    writeFileSync(file, JSON.stringify(evaluation))
  }
  return JSON.parse(readFileSync(file, 'utf8'))
}
