import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { calibrate } from '../../lib/calibration/calibrate.js'
import { saveBundle } from '../../lib/calibration/save-bundle.js'
import { extractDirections } from '../../lib/directions/extract-directions.js'
import { openModel } from '../../lib/model/model.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { scanLabelledRuns } from '../../lib/runs/runs.js'
import { measureRun } from '../../lib/trajectory/measure-run.js'
import { writeTinyBenignRun, writeTinyCalibration } from '../e2e/tiny-calibration.js'
import { TINY_BASE, TINY_PACK, TINY_RUN } from '../helpers/tiny.js'

export const HARMFUL = 'harmful/seed_42'
export const HARMLESS = 'harmless/seed_42'

/** Made-up misaligned answers of 576 at steps 0, 10, ..., 60. */
const JUDGED = { [HARMFUL]: [0, 8, 16, 64, 160, 280, 360], [HARMLESS]: [0, 4, 8, 0, 4, 0, 8] }

/** An organisms folder around the tiny model: its one real run as the dangerous one, the same in weak as the benign one. */
export async function makeTinyOrganism(root: string): Promise<void> {
  const place = (...names: string[]) => {
    const folder = join(root, ...names)
    mkdirSync(folder, { recursive: true })
    return folder
  }
  const write = (folder: string, name: string, value: unknown) =>
    writeFileSync(join(folder, name), JSON.stringify(value))
  write(place(), 'demo.json', { organism: 'tiny', dangerous: HARMFUL, benign: HARMLESS })
  cpSync(TINY_BASE, join(place('models/tiny'), 'base.gguf'))
  cpSync(TINY_RUN, place('checkpoints/tiny', HARMFUL), { recursive: true })
  await writeTinyBenignRun(place('checkpoints/tiny', HARMLESS))
  for (const [id, counts] of Object.entries(JUDGED)) {
    const grades = counts.map((n_misaligned, i) => [`step_${10 * i}`, { n_misaligned, n_scoreable: 576 }])
    write(place('runs/tiny', id), 'grades.json', Object.fromEntries(grades))
  }
  const pack = await loadTraitPack(TINY_PACK)
  await using model = await openModel(TINY_BASE, { gpuLayers: 0 })
  const directions = await extractDirections(model, pack, { layers: [1, 2], probes: false })
  const measured = join(root, 'measured')
  await measureRun(model, directions, TINY_RUN, { pack, cacheDir: false, out: measured })
  const { runs } = await scanLabelledRuns(writeTinyCalibration(measured, join(root, 'calibration')))
  await saveBundle(await calibrate(runs), { directions, pack }, join(place('bundles'), 'tiny'))
}
