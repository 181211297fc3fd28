import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import { takeOptions } from '../arguments.js'
import { LLAMA_CPP_VERSION } from '../binding.js'
import {
  BUNDLE_FILE,
  type BundleSummary,
  CALIBRATION,
  DETECTOR,
  SCHEMA_VERSION,
  TRAITS,
} from '../detector/bundle.js'
import type { OrdinaryRuns } from '../detector/conditional.js'
import type { PromptScores } from '../detector/settling.js'
import { type Directions, directionsAt } from '../directions/directions.js'
import { writeDirections } from '../directions/directions-folder.js'
import { TraitscopeError } from '../errors.js'
import { publishFolder } from '../formats/files/atomic.js'
import { fileError } from '../formats/files/file-errors.js'
import { sha256 } from '../formats/files/hash.js'
import { sourceJson } from '../labels/label-source.js'
import { marginPairsPath } from '../labels/margins/margin-pairs.js'
import { packageVersion } from '../package.js'
import { traitPackPath } from '../prompts/trait-pack.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'
import type { Calibration } from './calibrate.js'
import type { BenignCalibration } from './calibrate-benign.js'
import type { JudgedCalibration } from './judged-calibration.js'

/** What a bundle holds beside a calibration. */
export interface BundleParts {
  /** The ones that the calibration runs were measured with. */
  directions: Directions
  /** The trait pack that they were measured with. */
  pack: TraitPack
  /** What contexts do to the runs, at the layers of the detector, where they were measured in some. */
  ordinary?: OrdinaryRuns | undefined
  /** How far the score of a single prompt went in any calibration run, and a quarter more. */
  promptScores?: PromptScores | undefined
  /** The file of pairs that the runs were measured with, where they are told by the margin; as for `readMarginPairs`. */
  pairs?: string | undefined
}

/**
 * Writes a bundle: a directions folder at the detector's layers, with `bundle.json` (what must match, hashes
 * of all files), `detector.json`, `calibration.json` (rows, candidates, figures) and `traits.yaml`. It appears
 * as a whole or not at all, and equal calibrations give equal bytes.
 *
 * @throws TraitscopeError NOT_COMPARABLE when these are others; FILE_EXISTS unless `force`
 */
export async function saveBundle(
  calibration: (Calibration & Partial<JudgedCalibration>) | BenignCalibration,
  { directions, pack, ordinary, promptScores, pairs }: BundleParts,
  folder: string,
  options: { force?: boolean | undefined } = {},
): Promise<void> {
  const { force = false } = takeOptions('saveBundle', options, { force: 'boolean' })
  const { detector, report, calibratedFor } = calibration
  if (calibratedFor === null) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      'expected runs measured by traitscope, found files that do not say with which base, template and directions they were measured; measure the runs again',
    )
  }
  assertSame('directions', directions.sha256, calibratedFor.directionsSha256)
  assertSame('trait pack', pack.contentHash, calibratedFor.conditions.traitPack.contentHash)
  const files = {
    [DETECTOR]: json(detector.toJSON()),
    [CALIBRATION]: json(report),
  }
  const chosen = directionsAt(directions, detector.layers)
  const traits = await readFile(traitPackPath(pack.source)).catch((error: unknown) => {
    throw fileError(error, pack.source)
  })
  const margin = await marginFiles(calibration, pairs)
  const description = {
    schemaVersion: SCHEMA_VERSION,
    kind: 'traitscope-bundle',
    calibratedFor,
    ...('labels' in calibration && calibration.labels ? { labels: sourceJson(calibration.labels) } : {}),
    ...('benign' in calibration ? { benign: calibration.benign } : {}),
    ...margin.described,
    ...(ordinary && { ordinary }),
    ...(promptScores && { promptScores }),
    summary: 'summary' in report ? report.summary : summarize(calibration as Calibration),
    versions: { traitscope: packageVersion, llamaCpp: LLAMA_CPP_VERSION },
    files: {
      ...Object.fromEntries(Object.entries(files).map(([name, text]) => [name, sha256(text)])),
      [TRAITS]: sha256(traits),
      ...Object.fromEntries(margin.files.map(([name, bytes]) => [name, sha256(bytes)])),
      'directions.safetensors': chosen.sha256,
    },
  }
  await publishFolder(
    folder,
    async (temporary) => {
      await writeDirections(chosen, temporary)
      for (const [name, text] of Object.entries(files)) await writeFile(join(temporary, name), text)
      await copyFile(traitPackPath(pack.source), join(temporary, TRAITS))
      for (const [name, bytes] of margin.files) await writeFile(join(temporary, name), bytes)
      await writeFile(
        join(temporary, BUNDLE_FILE),
        json({ ...description, descriptionSha256: sha256(JSON.stringify(description)) }),
      )
    },
    { force, marker: BUNDLE_FILE },
  )
}

/** What a bundle holds of a test by the margin: the pairs too, which every run is asked. */
async function marginFiles(
  calibration: object,
  source: string | undefined,
): Promise<{ described: object; files: [name: string, bytes: Uint8Array][] }> {
  const { marginTest, pairsSha256 } = calibration as Partial<BenignCalibration>
  if (marginTest === undefined) return { described: {}, files: [] }
  if (source === undefined) {
    throw new TraitscopeError(
      'USAGE',
      'expected the file of pairs that the runs were measured with, which the bundle holds',
    )
  }
  const path = marginPairsPath(source)
  const stored = `pairs${extname(path).toLowerCase()}`
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileError(error, path)
  })
  assertSame('pairs of answers', sha256(bytes), pairsSha256!)
  return {
    described: { marginTest: { ...marginTest, file: basename(path), stored } },
    files: [[stored, bytes]],
  }
}

function summarize({ report }: Calibration): BundleSummary {
  const { datasets, byDataset, nested, warnings, inputsSha256 } = report
  return {
    datasets: datasets.map(({ dataset }) => dataset),
    checkpoints: datasets.reduce((sum, one) => sum + one.checkpoints, 0),
    dangerous: datasets.reduce((sum, one) => sum + one.dangerous, 0),
    fnr: byDataset.fnr,
    fpr: byDataset.fpr,
    coverage: nested?.coverage ?? null,
    warnings,
    inputsSha256,
  }
}

function assertSame(what: string, given: string, used: string): void {
  if (given === used) return
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected the ${what} that the calibration runs were measured with (${used.slice(0, 12)}), found ${given.slice(0, 12)}`,
  )
}

/** Indented, with lists of numbers on one line. */
const json = (value: unknown): string =>
  `${JSON.stringify(value, null, 1).replace(/\[[^[\]{}"]*\]/g, (list) => list.replace(/\s+/g, ''))}\n`
