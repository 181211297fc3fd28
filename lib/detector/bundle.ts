import { join } from 'node:path'
import { Made } from '../arguments.js'
import type { BasePoint, CalibratedFor } from '../conditions/calibrated-for.js'
import { parseConditions } from '../conditions/conditions-json.js'
import { parseEngine } from '../conditions/engine.js'
import type { TrainedLike } from '../conditions/training.js'
import type { Directions } from '../directions/directions.js'
import { loadDirections } from '../directions/directions-folder.js'
import { TraitscopeError } from '../errors.js'
import { plainOrGzip } from '../formats/files/gzip.js'
import { sha256 } from '../formats/files/hash.js'
import { checkNamed } from '../formats/files/named-path.js'
import { readDescribingFile } from '../formats/json/describing-file.js'
import { isJsonObject, parseTrainerJson, readUnpacked } from '../formats/json/json.js'
import { isFiniteNumber, isNumbers, isText, JsonFields } from '../formats/json/json-fields.js'
import { type LabelSource, parseSource } from '../labels/label-source.js'
import { type MarginPairs, readMarginPairs } from '../labels/margins/margin-pairs.js'
import type { BenignTest } from './benign-test.js'
import type { OrdinaryRuns } from './conditional.js'
import { Detector } from './detector.js'
import type { MarginTest } from './margin-test.js'
import { parseOrdinary } from './ordinary-runs.js'
import type { PromptScores } from './settling.js'

export const BUNDLE_FILE = 'bundle.json'
export const DETECTOR = 'detector.json'
export const CALIBRATION = 'calibration.json'
export const TRAITS = 'traits.yaml'
/** Pairs of answers, as they were given. */
export const PAIRS = ['pairs.jsonl', 'pairs.csv']

/** Version of the folder's layout; a reader refuses what it does not know. */
export const SCHEMA_VERSION = 1

/** What a calibration found, in short. */
export interface BundleSummary {
  datasets: string[]
  checkpoints: number
  dangerous: number
  /** Held out by fine-tuning set, at the threshold; shares in [0, 1]. Null where nothing was judged. */
  fnr: number | null
  fpr: number | null
  /** Share of intervals that held, with everything chosen without the set; null where it was not told. */
  coverage: number | null
  warnings: string[]
  /** SHA-256 over the calibration rows. */
  inputsSha256: string
}

/** A calibrated detector with everything that it needs for verdicts on a run, and what it must not read. */
export interface Bundle {
  path: string
  detector: Detector
  /** At the detector's layers. */
  directions: Directions
  calibratedFor: CalibratedFor
  /** Runs that decide about alarms where none was judged; absent in bundles with labels. */
  benign?: BenignTest
  /** Runs that decide about alarms by their margins, and the pairs that these are by; absent in other bundles. */
  marginTest?: MarginTest
  pairs?: MarginPairs
  /** How far the score of a single prompt went in the calibration runs; absent where nobody looked. */
  promptScores?: PromptScores
  /** What contexts do to ordinary runs; absent where calibration runs were measured in none. */
  ordinary?: OrdinaryRuns
  /** The trait pack's file inside the bundle, for `loadTraitPack`. */
  traitPack: string
  summary: BundleSummary
  /** Who labelled the calibration runs, and how; null where the bundle does not say. */
  labels: LabelSource | null
  versions: { traitscope: string; llamaCpp: string }
}

export const BUNDLE = new Made<Bundle>('a bundle as loadBundle reads it', 'calibratedFor')

/**
 * Reads a bundle folder and checks all of it: schema, hashes, directions, detector. `detector.json` and
 * `calibration.json` may be packed as `.gz`; the hashes are of what they hold.
 *
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID naming the file that was edited or damaged;
 * UNSUPPORTED for a newer schema
 */
export async function loadBundle(folder: string): Promise<Bundle> {
  checkNamed(folder, 'a bundle')
  const path = join(folder, BUNDLE_FILE)
  const description = await readDescribingFile(
    folder,
    BUNDLE_FILE,
    'a folder that `traitscope calibrate` made',
  )
  if (!isJsonObject(description) || description.kind !== 'traitscope-bundle') {
    throw new TraitscopeError('FILE_INVALID', `expected ${path} to describe a traitscope bundle`)
  }
  if (description.schemaVersion !== SCHEMA_VERSION) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected schema version ${SCHEMA_VERSION} in ${path}, found ${JSON.stringify(description.schemaVersion)}; update traitscope or calibrate again`,
    )
  }
  const { descriptionSha256, ...described } = description
  if (descriptionSha256 !== sha256(JSON.stringify(described))) {
    throw new TraitscopeError(
      'FILE_INVALID',
      descriptionSha256 === undefined
        ? `expected a descriptionSha256 in ${path}, found none; the bundle is from an earlier version, calibrate again`
        : `expected ${path} to hold what its descriptionSha256 was made of; it was edited or damaged, calibrate again`,
    )
  }
  const at = new JsonFields(description, path, '')
  const files = at.object('files')
  const checked = async (file: string, name: string): Promise<Buffer> => {
    const bytes = await readUnpacked(file)
    if (sha256(bytes) === files.text(name)) return bytes
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected ${file} to be as ${BUNDLE_FILE} says; it was edited or damaged`,
    )
  }
  const detectorFile = await inside(folder, DETECTOR)
  const detectorJson = await checked(detectorFile, DETECTOR)
  await checked(await inside(folder, CALIBRATION), CALIBRATION)
  await checked(join(folder, TRAITS), TRAITS)
  const directions = await loadDirections(folder)
  if (directions.sha256 !== files.text('directions.safetensors')) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected the directions in ${folder} to be those of the bundle; they were replaced`,
    )
  }
  const detector = Detector.fromJSON(
    parseTrainerJson(detectorJson.toString('utf8'), detectorFile),
    detectorFile,
  )
  const calibratedFor = parseCalibratedFor(at.object('calibratedFor'))
  const reads = (what: string, a: readonly unknown[], b: readonly unknown[]) => {
    if (a.join() === b.join()) return
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected one set of ${what} in ${folder}, found ${a.join(', ')} and ${b.join(', ')}`,
    )
  }
  reads('layers', detector.layers, directions.layers)
  reads(
    'layers',
    detector.layers,
    calibratedFor.base.map(({ layer }) => layer),
  )
  reads('traits', detector.traits, directions.traits)
  if (calibratedFor.base.some(({ projections }) => projections.length !== detector.traits.length))
    at.object('calibratedFor').fail('base', `${detector.traits.length} projections per layer`)
  const ordinary = description.ordinary === undefined ? undefined : parseOrdinary(at.object('ordinary'))
  if (ordinary) reads('layers', detector.layers, ordinary.layers)
  const versions = at.object('versions')
  return {
    path: folder,
    ...(description.benign === undefined ? {} : { benign: parseBenign(at.object('benign')) }),
    ...(description.marginTest === undefined
      ? {}
      : await marginTestIn(folder, at.object('marginTest'), checked)),
    ...(ordinary && { ordinary }),
    ...(description.promptScores === undefined
      ? {}
      : { promptScores: parsePromptScores(at.object('promptScores')) }),
    detector,
    directions,
    calibratedFor,
    traitPack: join(folder, TRAITS),
    summary: at.object('summary').json as unknown as BundleSummary,
    labels: description.labels === undefined ? null : parseSource(at.object('labels')),
    versions: { traitscope: versions.text('traitscope'), llamaCpp: versions.text('llamaCpp') },
  }
}

function parseBenign(at: JsonFields): BenignTest {
  return { level: levelOf(at), highest: at.list('highest', isFiniteNumber, 'predicted rates') }
}

/** The test and its pairs, which lie in the bundle under a name of its own. */
async function marginTestIn(
  folder: string,
  at: JsonFields,
  checked: (file: string, name: string) => Promise<unknown>,
): Promise<{ marginTest: MarginTest; pairs: MarginPairs }> {
  const level = levelOf(at)
  const highest = at.list('highest', isFiniteNumber, 'margins')
  if (highest.length < Math.ceil(1 / level - 1e-9) - 1)
    return at.fail('highest', 'a margin for each of the runs that the level takes')
  const stored = at.text('stored')
  if (!PAIRS.includes(stored)) return at.fail('stored', PAIRS.join(' or '))
  await checked(join(folder, stored), stored)
  const pairs = await readMarginPairs(join(folder, stored))
  return {
    marginTest: { level, highest, identity: at.text('identity') },
    pairs: { ...pairs, file: at.text('file') },
  }
}

function levelOf(at: JsonFields): number {
  const { level } = at.json
  return isFiniteNumber(level) && level > 0 && level < 1
    ? level
    : at.fail('level', 'a number between 0 and 1')
}

function parsePromptScores(at: JsonFields): PromptScores {
  const { low, high } = at.json
  if (!isFiniteNumber(low) || !isFiniteNumber(high) || low >= high)
    return at.fail('low', 'a number below high')
  return { low, high }
}

async function inside(folder: string, name: string): Promise<string> {
  const file = join(folder, name)
  return (await plainOrGzip(file)) ?? file
}

function parseCalibratedFor(at: JsonFields): CalibratedFor {
  const deviceClass = at.text('deviceClass')
  if (deviceClass !== 'cpu' && deviceClass !== 'gpu') return at.fail('deviceClass', 'cpu or gpu')
  const engine = parseEngine(at)
  return {
    ...(engine ? { engine } : {}),
    conditions: parseConditions(at.object('conditions')),
    directionsSha256: at.text('directionsSha256'),
    tokenIdsSha256: at.text('tokenIdsSha256'),
    nPrompts: at.count('nPrompts'),
    deviceClass,
    ...(at.json.training === undefined ? {} : { training: parseTraining(at.object('training')) }),
    base: at.list('base', isBasePoint, 'layers with an activation norm and projections'),
  }
}

function parseTraining(at: JsonFields): TrainedLike {
  const every = <T>(key: keyof TrainedLike, check: (value: unknown) => value is T): T[] => {
    const value = at.json[key]
    return Array.isArray(value) && value.every(check) ? value : at.fail(key, 'a list')
  }
  const { learningRates: rates } = at.json
  return {
    kinds: every('kinds', isText) as TrainedLike['kinds'],
    ranks: every('ranks', isFiniteNumber),
    alphas: every('alphas', isFiniteNumber),
    scales: every('scales', isText),
    targets: every('targets', isText),
    learningRates:
      rates === null
        ? null
        : isNumbers(rates, 2)
          ? (rates as [number, number])
          : at.fail('learningRates', 'two numbers or null'),
    templates: every('templates', isText) as TrainedLike['templates'],
  }
}

function isBasePoint(value: unknown): value is BasePoint {
  if (!isJsonObject(value)) return false
  const { layer, activationNorm, projections } = value
  return (
    Number.isSafeInteger(layer) &&
    isFiniteNumber(activationNorm) &&
    activationNorm > 0 &&
    isNumbers(projections)
  )
}
