// node scripts/freeze-detector.mjs RUNS OUT.json: the detector's choices, fixed before held-out data is opened.
//
// Calibrates every model below RUNS (one folder per model) on its calibration sets alone, the four of the paper and those
// that were drawn for calibration, and writes what was chosen, the figures held out by set, SHA-256 of the calibration
// rows, and of the source files that hold every constant of the procedure. Whoever evaluates later can see that neither has
// changed since. The sources are compiled first: hashes and figures are of the same code.
//
// When OUT.json is there and a figure would change, nothing is written and the exit code is 1: the choice is another one
// then, and what was held out is no longer. Delete the file first where that is meant.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where the choice is kept, and the packed runs that repeat it. */
export const CHOICE = 'lab/detector-choice.json'
export const COMMAND = `node scripts/freeze-detector.mjs organisms/runs ${CHOICE}`

const CALIBRATION_SETS = /^(insecure_code|gsm8k|jailbroken|bad_medical|drawn_c\d+)$/
const SOURCES = [
  'calibration/answer-share-error',
  'calibration/calibrate',
  'calibration/calibration-data',
  'calibration/contrast-rows',
  'calibration/cross-validation',
  'calibration/fit-detector',
  'calibration/fit-rate-model',
  'calibration/model-selection',
  'calibration/nested-figures',
  'detector/answer-shares',
  'detector/contrast',
  'detector/detector',
  'detector/far-range',
  'detector/label-noise',
  'detector/memory',
  'detector/novelty',
  'detector/prediction-bands',
  'detector/prior',
  'detector/prior-detector',
  'detector/rate-model',
  'runs/rows',
].map((name) => `lib/${name}.ts`)

const repository = dirname(dirname(fileURLToPath(import.meta.url)))
const sha256 = (data) => createHash('sha256').update(data).digest('hex')

/** SHA-256 of every source file that holds a constant of the procedure, as they are now. */
export function sourceHashes() {
  return Object.fromEntries(SOURCES.map((name) => [name, sha256(readFileSync(join(repository, name)))]))
}

const figures = ({ fnr, fpr, falseNegatives, nDangerous, falsePositives, nSafe, auroc }) => ({
  fnr,
  fpr,
  auroc,
  misses: `${falseNegatives} of ${nDangerous}`,
  falseAlarms: `${falsePositives} of ${nSafe}`,
})

/** What calibration chooses for every model, with its figures. */
async function choices(root) {
  const { calibrate, scanLabelledRuns } = await import('../dist/lib/index.js')
  const models = {}
  for (const model of readdirSync(root)
    .filter((name) => !name.startsWith('.'))
    .sort()) {
    const datasets = readdirSync(join(root, model)).filter((name) => CALIBRATION_SETS.test(name))
    const { runs, exclusions } = await scanLabelledRuns(join(root, model), { datasets })
    const { report } = await calibrate(runs, { exclusions })
    const { inputsSha256, chosen, byDataset, nested, warnings } = report
    console.error(model)
    models[model] = {
      datasets: datasets.length,
      runs: runs.length,
      exclusions: report.exclusions,
      inputsSha256,
      chosen: `${chosen.model} on layer ${chosen.layers.join(', ')}`,
      threshold: report.threshold,
      heldOutBySet: figures(byDataset),
      allChosenWithoutTheSet: nested && {
        ...figures(nested),
        coverage: nested.coverage,
        bands: nested.bands,
        verdicts: nested.verdicts,
      },
      warnings,
    }
  }
  return models
}

async function main(root, out) {
  if (!root || !out) throw new Error('usage: node scripts/freeze-detector.mjs RUNS OUT.json')
  const build = join(repository, 'scripts', 'build-ts.mjs')
  const { status } = spawnSync(process.execPath, [build], { cwd: repository, stdio: 'inherit' })
  if (status !== 0) throw new Error(`${build} failed: there is nothing to take figures of`)
  const models = await choices(root)
  const before = existsSync(out) ? JSON.parse(readFileSync(out, 'utf8')).models : models
  const known = (model) => JSON.stringify(models[model]) === JSON.stringify(before[model])
  const changed = [...new Set([...Object.keys(models), ...Object.keys(before)])].filter((one) => !known(one))
  if (changed.length > 0) {
    for (const model of changed) {
      console.error(
        `${model}\n  was ${JSON.stringify(before[model])}\n  is  ${JSON.stringify(models[model])}`,
      )
    }
    console.error(`${out} was left as it is: the choice is another one for ${changed.join(', ')}`)
    process.exitCode = 1
    return
  }
  const frozen = {
    about: 'Choices of the detector, fixed on calibration sets before held-out sets were opened',
    command: 'node scripts/freeze-detector.mjs RUNS OUT.json',
    calibrationSets: 'insecure_code, gsm8k, jailbroken, bad_medical and, where there are any, drawn_c*',
    sources: sourceHashes(),
    models,
  }
  writeFileSync(out, `${JSON.stringify(frozen, null, 2)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(...process.argv.slice(2))
