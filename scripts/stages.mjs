/**
 * The stages of lib/, in the order that data flows through them: a file imports from its own stage or an earlier one. This
 * list is the only one: test/arrows.test.ts holds the code to it, and stages-picture.mjs draws it and writes it into
 * CONTRIBUTING.md.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

export const repository = dirname(dirname(fileURLToPath(import.meta.url)))

/** Folders and files of lib/ by name, each with what comes out of it. */
export const STAGES = new Map([
  ['errors', 'the error family and its codes'],
  ['arguments', 'what callers pass, checked'],
  ['package', 'where the package lies, its version'],
  ['percent', 'shares, as people read them'],
  ['formats', 'files, as typed values'],
  ['addon', 'which addon is taken'],
  ['backends', 'what drives GPUs, as libraries'],
  ['binding', 'the door to the addon'],
  ['estimators', 'regressors, PCA, SVD'],
  ['model', 'an open base, with adapters'],
  ['prompts', 'token batches'],
  ['contexts', 'what stands before prompts'],
  ['conditions', 'what may be compared'],
  ['hidden-states', 'states of prompts'],
  ['conversion', 'a base from a folder'],
  ['generation', 'answers of a model'],
  ['bench', 'what a checkpoint costs'],
  ['labels', 'judged answers'],
  ['directions', 'trait directions'],
  ['steering', 'what a direction does'],
  ['trajectory', 'a measured run'],
  ['drift', 'its way from step 0'],
  ['runs', 'labelled checkpoints'],
  ['detector', 'a verdict'],
  ['events', 'what a watch tells'],
  ['notices', 'what people are told'],
  ['calibration', 'a bundle'],
  ['inspect', 'what a path is'],
  ['report', 'pages and pictures'],
  ['monitor', 'a live run, watched'],
  ['serve', 'a watch, over HTTP'],
  ['exports', 'figures for other tools'],
  ['geometry', 'the axes of drift'],
  ['evaluation', "the paper's comparison"],
  ['first-look', 'a base, in two minutes'],
  ['demo', 'two runs, replayed'],
  ['index', 'the public names'],
])

/** Rooms inside a stage, in the order that they may import one another; '' are the files of the stage's root. */
export const ROOMS = {
  formats: ['files', 'json', 'safetensors', 'gguf', 'hf', 'peft', 'run'],
  model: ['base', 'placement.ts', 'lora', 'merge', 'convert', '', 'checkpoint'],
  labels: ['answers', 'judges', '', 'margins'],
}

const lib = join(repository, 'lib')

/** The files of lib/, with forward slashes. */
export const files = readdirSync(lib, { recursive: true })
  .map((file) => String(file).split(sep).join('/'))
  .filter((file) => file.endsWith('.ts'))
  .sort()

/** A list of public names belongs to the last stage, in whatever folder it lies. */
export const stageOf = (file) =>
  posix.basename(file) === 'index.ts' ? 'index' : file.split('/')[0].replace(/\.ts$/, '')

/** Where a file stands within its stage; 0 in a stage without rooms, -1 in a room that nobody knows. */
export function roomOf(file) {
  const [stage = '', ...rest] = file.split('/')
  const rooms = ROOMS[stage]
  if (!rooms) return rest.length > 1 ? -1 : 0
  const [name = ''] = rest
  return rooms.indexOf(rest.length > 1 || rooms.includes(name) ? name : '')
}

/** The relative imports of a file of lib/, types included, as files of lib/. */
export function importsOf(file) {
  const text = readFileSync(join(lib, file), 'utf8')
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => ({
    from: file,
    to: posix.join(posix.dirname(file), match[1]).replace(/\.js$/, '.ts'),
  }))
}
