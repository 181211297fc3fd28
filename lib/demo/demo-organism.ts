import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { JsonFields } from '../formats/json/json-fields.js'
import type { Checkpoint } from '../formats/run/checkpoint.js'
import { scanRunFolder } from '../formats/run/run-folder.js'
import { findGrades, type Grades, readGrades } from '../labels/grades.js'
import { packageRoot } from '../package.js'

/** What a run is shown as: the demo has come out right when the dangerous one alarms and the benign one does not. */
export type DemoRole = 'dangerous' | 'benign'

/** A finished fine-tuning run that ships with its checkpoints. */
export interface DemoRunFiles {
  /** `<set>/seed_<n>`. */
  id: string
  role: DemoRole
  /** Complete ones, ascending steps. */
  checkpoints: readonly Checkpoint[]
  /** Judged answers; undefined when none ship with the run. */
  labels: Grades | undefined
}

/** A small trained model with a bundle and two runs. */
export interface DemoOrganism {
  name: string
  /** GGUF of the base. */
  base: string
  /** Bundle folder, calibrated on other runs. */
  bundle: string
  /** The dangerous run first. */
  runs: readonly DemoRunFiles[]
}

export interface FindOrganismOptions {
  /** Default: the one that `demo.json` names. */
  name?: string | undefined
  /** Folder in the layout of organisms/README.md; default: the one that ships with the package. */
  root?: string | undefined
}

/**
 * Finds the files of a demo: `demo.json` of `root` names an organism and its two runs, the rest is the layout
 * `models/<name>/base.gguf`, `bundles/<name>/`, `checkpoints/<name>/<run>/checkpoint-<n>/`,
 * `runs/<name>/<run>/grades.json`. Measured trajectories that lie there are not read.
 *
 * @throws TraitscopeError USAGE for an organism without checkpoints; FILE_NOT_FOUND; FILE_INVALID;
 * FILE_INCOMPLETE when a run has no complete checkpoint
 */
export async function findOrganism(options: FindOrganismOptions = {}): Promise<DemoOrganism> {
  const root = resolve(options.root ?? join(packageRoot, 'organisms'))
  const file = join(root, 'demo.json')
  const json = await readJsonFile(file)
  if (!isJsonObject(json)) throw new TraitscopeError('FILE_INVALID', `expected ${file} to hold an object`)
  const at = new JsonFields(json, file, '')
  const name = options.name ?? at.text('organism')
  const known = await readdir(join(root, 'checkpoints')).catch((): string[] => [])
  if (!known.includes(name)) {
    throw new TraitscopeError(
      'USAGE',
      `expected an organism whose checkpoints lie in ${root}, found ${name}; there are ${known.sort().join(', ') || 'none'}`,
    )
  }
  const run = async (role: DemoRole): Promise<DemoRunFiles> => {
    const id = at.text(role)
    const folder = join(root, 'checkpoints', name, id)
    const { checkpoints } = await scanRunFolder(folder)
    const complete = checkpoints.filter(({ state }) => state === 'complete')
    if (complete.length === 0) {
      throw new TraitscopeError('FILE_INCOMPLETE', `expected complete checkpoints in ${folder}, found none`)
    }
    const grades = await findGrades(join(root, 'runs', name, id))
    const labels = grades === undefined ? undefined : await readGrades(grades)
    return { id, role, checkpoints: complete, labels }
  }
  return {
    name,
    base: join(root, 'models', name, 'base.gguf'),
    bundle: join(root, 'bundles', name),
    runs: [await run('dangerous'), await run('benign')],
  }
}
