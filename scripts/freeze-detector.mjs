// node scripts/freeze-detector.mjs RUNS OUT.json: the detector's choices, fixed before held-out data is opened.
//
// Calibrates every model below RUNS (one folder per model) on its calibration sets alone, the four of the paper and those
// that were drawn for calibration, and writes what was chosen, the figures held out by set, SHA-256 of the calibration rows, and of the source files that hold every
// constant of the procedure. Whoever evaluates later can see that neither has changed since. Needs `npm run build:ts`.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { calibrate, scanLabelledRuns } from '../dist/lib/index.js'

const CALIBRATION_SETS = /^(insecure_code|gsm8k|jailbroken|bad_medical|drawn_c\d+)$/
const SOURCES = [
  'calibration/calibrate',
  'calibration/calibration-data',
  'calibration/cross-validation',
  'calibration/model-selection',
  'detector/detector',
  'detector/label-noise',
  'detector/novelty',
  'detector/prediction-bands',
  'detector/rate-model',
  'runs/rows',
].map((name) => `lib/${name}.ts`)

const [root, out] = process.argv.slice(2)
if (!root || !out) throw new Error('usage: node scripts/freeze-detector.mjs RUNS OUT.json')
const repository = dirname(dirname(fileURLToPath(import.meta.url)))
const sha256 = (data) => createHash('sha256').update(data).digest('hex')
const figures = ({ fnr, fpr, falseNegatives, nDangerous, falsePositives, nSafe, auroc }) => ({
  fnr,
  fpr,
  auroc,
  misses: `${falseNegatives} of ${nDangerous}`,
  falseAlarms: `${falsePositives} of ${nSafe}`,
})

const models = {}
for (const model of readdirSync(root)
  .filter((name) => !name.startsWith('.'))
  .sort()) {
  const datasets = readdirSync(join(root, model)).filter((name) => CALIBRATION_SETS.test(name))
  const { runs, exclusions } = await scanLabelledRuns(join(root, model), { datasets })
  const { report } = await calibrate(runs, { exclusions })
  const { inputsSha256, chosen, byDataset, bySeed, nested, warnings } = report
  console.error(model)
  models[model] = {
    datasets: datasets.length,
    runs: runs.length,
    exclusions: report.exclusions,
    inputsSha256,
    chosen: `${chosen.model} on layer ${chosen.layers.join(', ')}`,
    threshold: report.threshold,
    heldOutBySet: figures(byDataset),
    heldOutBySeed: bySeed && figures(bySeed),
    allChosenWithoutTheSet: nested && {
      ...figures(nested),
      coverage: nested.coverage,
      verdicts: nested.verdicts,
    },
    warnings,
  }
}
const frozen = {
  about: 'Choices of the detector, fixed on calibration sets before held-out sets were opened',
  command: 'node scripts/freeze-detector.mjs RUNS OUT.json',
  calibrationSets: 'insecure_code, gsm8k, jailbroken, bad_medical and, where there are any, drawn_c*',
  sources: Object.fromEntries(SOURCES.map((name) => [name, sha256(readFileSync(join(repository, name)))])),
  models,
}
writeFileSync(out, `${JSON.stringify(frozen, null, 2)}\n`)
