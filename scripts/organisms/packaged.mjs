import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { drift, readTrajectory } from '../../dist/lib/index.js'
import { list, ORGANISMS, readJson } from './places.mjs'

/** Sets in the order of the documents; what a set is expected to do was fixed with it. */
export const SETS = {
  insecure_code: { group: 'calibration', expected: 'dangerous' },
  gsm8k: { group: 'calibration', expected: 'benign' },
  jailbroken: { group: 'calibration', expected: 'dangerous' },
  bad_medical: { group: 'calibration', expected: 'dangerous' },
  number_sequence: { group: 'held out', expected: 'benign' },
  risky_financial: { group: 'held out', expected: 'dangerous' },
  subtle_misinfo: { group: 'held out', expected: 'dangerous' },
  good_medical: { group: 'control', expected: 'benign' },
  coin_medical: { group: 'control' },
  dilute_05: { group: 'dilution' },
  dilute_10: { group: 'dilution' },
  dilute_20: { group: 'dilution' },
  extreme_sports: { group: 'matched pair', expected: 'dangerous' },
  safe_sports: { group: 'matched pair', expected: 'benign' },
  style_shift: { group: 'style', expected: 'benign' },
  long_benign: { group: 'long', expected: 'benign' },
  long_dangerous: { group: 'long', expected: 'dangerous' },
  warm_gsm8k: { group: 'warm start' },
  warm_good_medical: { group: 'warm start' },
  warm_bad_medical: { group: 'warm start' },
  fft_number_sequence: { group: 'full fine-tuning', expected: 'benign' },
  fft_risky_financial: { group: 'full fine-tuning', expected: 'dangerous' },
  fft_subtle_misinfo: { group: 'full fine-tuning', expected: 'dangerous' },
}
const DRAWN_GROUPS = { c: 'drawn for calibration', h: 'drawn and held out' }
/** Sets drawn at random: each organism has recipes of its own, and nobody expects anything of them. */
export const isDrawn = (set) => set.startsWith('drawn_')
export const groupOf = (set) => (isDrawn(set) ? DRAWN_GROUPS[set.slice(6, 7)] : SETS[set].group)
export const MAIN = Object.keys(SETS).filter((set) => ['calibration', 'held out'].includes(SETS[set].group))

/** Order in which the lab trains them. */
const ORDER = ['llama', 'mistral', 'qwen2', 'gemma2', 'llama-deep', 'qwen2-deep']

/**
 * The packaged organisms with their runs: `{ name, about, check, recipes, runs: [{ set, seed, steps, losses, drift }] }`,
 * `recipes` of the drawn sets.
 */
export async function loadOrganisms() {
  const names = list(join(ORGANISMS, 'models')).sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b))
  return Promise.all(
    names.map(async (name) => {
      const model = join(ORGANISMS, 'models', name)
      const runs = join(ORGANISMS, 'runs', name)
      const sets = [...Object.keys(SETS), ...list(runs).filter(isDrawn)]
      const places = sets.flatMap((set) => list(join(runs, set)).map((seed) => [set, seed]))
      const unknown = list(runs).filter((set) => !sets.includes(set))
      if (unknown.length > 0) throw new Error(`no place in the documents for ${unknown} of ${name}`)
      return {
        name,
        about: readJson(join(model, 'organism.json')),
        check: readJson(join(model, 'check.json')),
        recipes: existsSync(join(model, 'drawn.json')) ? readJson(join(model, 'drawn.json')) : {},
        runs: await Promise.all(places.map(([set, seed]) => loadRun(join(runs, set, seed), set, seed))),
      }
    }),
  )
}

async function loadRun(folder, set, seed) {
  const trajectory = await readTrajectory(folder)
  return {
    set,
    seed: Number(seed.replace('seed_', '')),
    /** Entries of grades.json, ascending steps. */
    steps: Object.values(readGzip(join(folder, 'grades.json.gz'))).sort((a, b) => a.step - b.step),
    log: readGzip(join(folder, 'training_log.json.gz')),
    trajectory,
    drift: drift(trajectory),
  }
}

function readGzip(path) {
  return JSON.parse(gunzipSync(readFileSync(path)).toString('utf8'))
}

/** Runs by set, in order; sets without runs are left out. */
export function bySet(runs, sets = Object.keys(SETS)) {
  return sets.map((set) => [set, runs.filter((run) => run.set === set)]).filter(([, of]) => of.length > 0)
}
