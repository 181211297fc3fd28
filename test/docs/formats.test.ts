import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { Detector } from '../../lib/detector/detector.js'
import { parseGrades } from '../../lib/labels/grades.js'
import { packageRoot } from '../../lib/package.js'
import { parseTraitPack } from '../../lib/prompts/trait-pack-yaml.js'
import { parseTrajectory } from '../../lib/trajectory/read-trajectory.js'
// @ts-expect-error a script without types
import { filled, pages } from '../../scripts/format-pages.mjs'
import { FORMATS, schemaErrors, schemas } from '../helpers/schemas.js'

// What the schemas of docs/formats say of real files: those that are packed here. The files that commands write are
// checked where those commands are tested.

const ORGANISMS = join(packageRoot, 'organisms')

// biome-ignore lint/suspicious/noExplicitAny: arbitrary JSON
type Json = any

function json(path: string): Json {
  const bytes = readFileSync(path)
  return JSON.parse((path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8'))
}
const run = (file: string) => json(join(ORGANISMS, 'runs/gemma2/risky_financial/seed_42', file))
const bundle = (file: string) => json(join(ORGANISMS, 'bundles/gemma2', file))
const pack = (path: string) => parse(readFileSync(join(packageRoot, path), 'utf8'))

const packed = readdirSync(join(ORGANISMS, 'runs'), { recursive: true })
  .map(String)
  .filter((path) => path.endsWith('.json.gz'))
  .map((path) => join(ORGANISMS, 'runs', path))

describe('schemas of docs/formats', () => {
  it.each(['trajectory', 'grades'])('should describe every packed %s to the last field', (name) => {
    const files = packed.filter((path) => path.endsWith(`${name}.json.gz`))
    expect(files.length).toBeGreaterThan(500)
    const wrong = files.flatMap((path) =>
      schemaErrors(name, json(path), { ours: true }).map(
        (error) => `${path.slice(ORGANISMS.length)}: ${error}`,
      ),
    )
    expect(wrong).toEqual([])
  })

  it('should describe the packed bundle to the last field', () => {
    expect(schemaErrors('bundle', bundle('bundle.json'), { ours: true })).toEqual([])
    expect(schemaErrors('detector', bundle('detector.json.gz'), { ours: true })).toEqual([])
  })

  it.each([
    'traits/core.yaml',
    'traits/core-2.yaml',
    'organisms/traits.yaml',
    'organisms/baselines/control/traits.yaml',
    'test/fixtures/tiny/pack.yaml',
  ])('should describe the trait pack %s', (path) => {
    expect(schemaErrors('trait-pack', pack(path), { ours: true })).toEqual([])
  })
})

const text = (page: string) => readFileSync(join(FORMATS, page), 'utf8')
/** Code of a marked example, e.g. `<!-- example: trajectory -->`. */
const example = (page: string, name: string): string =>
  new RegExp(`<!-- example: ${name} -->\\n\\n\`\`\`json\\n([\\s\\S]*?)\\n\`\`\``).exec(text(page))![1]!

describe('pages of docs/formats', () => {
  it.each(pages as string[])('should have the tables of its schemas: %s', (page) => {
    expect(filled(text(page)) === text(page), 'run `node scripts/format-pages.mjs`').toBe(true)
  })

  it('should show what the schemas describe', () => {
    const valid = (name: string, value: unknown) =>
      expect(schemaErrors(name, value, { ours: true })).toEqual([])
    valid('trajectory', JSON.parse(example('trajectory.md', 'trajectory')))
    valid('grades', JSON.parse(example('grades.md', 'grades')))
    valid('bundle', JSON.parse(example('bundle.md', 'bundle')))
    valid('verdicts', JSON.parse(example('events.md', 'verdicts')))
    const events = example('events.md', 'events').split('\n')
    expect(events.length).toBeGreaterThan(2)
    for (const line of events) valid('event', JSON.parse(line))
    const [, yaml] = /```yaml\n([\s\S]*?)```/.exec(text('trait-pack.md'))!
    valid('trait-pack', parse(yaml!))
    expect(parseTraitPack(yaml!, 'the example').traits).toHaveLength(1)
  })

  it('should mention every schema, link to files that there are, and name no folder of a machine', () => {
    const all = (pages as string[]).map(text).join('\n')
    expect([...schemas.keys()].filter((name) => !all.includes(`(${name}.schema.json)`))).toEqual([])
    const links = [...all.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, to]) => to!)
    expect(links.length).toBeGreaterThan(10)
    expect(links.filter((to) => !existsSync(join(FORMATS, to)))).toEqual([])
    expect(all).not.toMatch(/"\/|file:\/\//)
  })
})

/** Valid documents, small enough to break everywhere, and what reads them. */
interface FormatCase {
  valid: () => Json
  read: (value: Json) => unknown
  /** Places where values must agree with others, or that the schema leaves to the program. */
  beyond?: RegExp
}
const DOCUMENTS: Record<string, FormatCase> = {
  trajectory: {
    valid: () => run('trajectory.json.gz'),
    read: (value) => parseTrajectory(value, 'it'),
    beyond: /^trait_order\.0$|^trajectory\.0\.projections\.|^traitscope\.finalAliasOf$/,
  },
  grades: { valid: () => run('grades.json.gz'), read: (value) => parseGrades(value, 'it') },
  detector: {
    valid: () => bundle('detector.json.gz'),
    read: (value) => Detector.fromJSON(value, 'it'),
    // States of estimators, which these check themselves.
    beyond: /^levelModel\.members\.|^stepAlarm|^answers\.(standardizer|ridges)/,
  },
  'trait-pack': {
    valid: () => pack('test/fixtures/tiny/pack.yaml'),
    read: (value) => parseTraitPack(stringify(value), 'it'),
  },
}

/** Where the values of a document are; of every list the first entry alone. */
function* places(value: Json, path: (string | number)[] = []): Generator<(string | number)[]> {
  if (path.length > 0) yield path
  if (typeof value !== 'object' || value === null) return
  const keys = Array.isArray(value) ? [0].slice(0, value.length) : Object.keys(value)
  for (const key of keys) yield* places(value[key], [...path, key])
}

/** Lists of a document belong together: their lengths are what a schema cannot say. */
const changesLength = (path: readonly (string | number)[], change: { to?: Json }) =>
  Array.isArray(change.to) || (!('to' in change) && typeof path.at(-1) === 'number')

/** The document with the value at a place replaced, or taken away. */
function broken(document: Json, path: readonly (string | number)[], change: { to?: Json }): Json {
  const copy = structuredClone(document)
  const parent = path.slice(0, -1).reduce((at: Json, key) => at[key], copy)
  const last = path.at(-1)!
  if ('to' in change) parent[last] = change.to
  else if (Array.isArray(parent)) parent.splice(Number(last), 1)
  else delete parent[last]
  return copy
}

describe('a broken file', () => {
  it.each<[name: string, what: string, path: (string | number)[], change: { to?: Json }]>([
    ['trajectory', 'no step-0 norm', ['step0_activation_norm'], {}],
    ['trajectory', 'a norm of 0', ['step0_activation_norm'], { to: 0 }],
    ['trajectory', 'no steps', ['trajectory'], { to: [] }],
    ['trajectory', 'half a step', ['trajectory', 1, 'step'], { to: 2.5 }],
    ['trajectory', 'a projection in words', ['trajectory', 1, 'projections', 'honesty'], { to: '0.1' }],
    ['trajectory', 'a later version', ['traitscope', 'schemaVersion'], { to: 2 }],
    ['trajectory', 'layers without numbers', ['traitscope', 'layers', 0, 'projections'], {}],
    ['trajectory', 'no base', ['traitscope', 'measurement', 'conditions', 'base'], {}],
    ['grades', 'another key', ['checkpoint-10'], { to: {} }],
    ['grades', 'no count', ['step_10', 'n_scoreable'], {}],
    ['grades', 'a negative count', ['step_10', 'n_misaligned'], { to: -1 }],
    ['grades', 'no draws', ['step_10', 'traitscope', 'k'], { to: 0 }],
    ['detector', 'another version', ['schemaVersion'], { to: 2 }],
    ['detector', 'an unknown model', ['levelModel', 'model'], { to: 'oracle' }],
    ['detector', 'a level in percent', ['level'], { to: 90 }],
    ['trait-pack', 'a misspelt key', ['question'], { to: ['Why?'] }],
    ['trait-pack', 'no questions', ['questions'], { to: [] }],
    ['trait-pack', 'a prompt twice', ['questions'], { to: ['Why?', 'Why?'] }],
    ['trait-pack', 'an empty prompt', ['questions'], { to: [' '] }],
    ['trait-pack', 'one pole', ['traits', 'honesty', 'negative_system_prompts'], {}],
    ['trait-pack', 'a trait that is a path', ['traits', '../x'], { to: {} }],
  ])('should be refused by schema and reader alike: %s with %s', (name, _, path, change) => {
    const { valid, read } = DOCUMENTS[name]!
    expect(schemaErrors(name, valid())).toEqual([])
    const document = broken(valid(), path, change)
    expect(schemaErrors(name, document)).not.toEqual([])
    expect(() => read(document)).toThrow(/./)
  })

  it.each<[what: string, path: (string | number)[], change: { to?: Json }]>([
    ['another kind', ['kind'], { to: 'bundle' }],
    ['a later version', ['schemaVersion'], { to: 2 }],
    ['a hash that is none', ['files', 'detector.json'], { to: 'abc' }],
    ['no base points', ['calibratedFor', 'base'], { to: [] }],
    ['an unknown device', ['calibratedFor', 'deviceClass'], { to: 'tpu' }],
    ['a rate in percent', ['summary', 'fnr'], { to: 5.4 }],
    ['no signature', ['descriptionSha256'], {}],
  ])('should be refused by the schema: a bundle with %s', (_, path, change) => {
    expect(schemaErrors('bundle', broken(bundle('bundle.json'), path, change))).not.toEqual([])
  })

  // What a schema lets pass and the reader refuses would be a promise that we break.
  it.each(Object.keys(DOCUMENTS))(
    'should be refused by the schema where the reader refuses it: %s',
    (name) => {
      const { valid, read, beyond = /^$/ } = DOCUMENTS[name]!
      const document = valid()
      const promised: string[] = []
      let refused = 0
      for (const path of places(document)) {
        for (const change of [{}, { to: null }, { to: 'x' }, { to: {} }, { to: [] }, { to: true }]) {
          if (changesLength(path, change) || beyond.test(path.join('.'))) continue
          const changed = broken(document, path, change)
          if (schemaErrors(name, changed).length > 0) {
            refused++
            continue
          }
          try {
            read(changed)
          } catch (error) {
            promised.push(`${path.join('.')} ${JSON.stringify(change)}: ${(error as Error).message}`)
          }
        }
      }
      expect(refused).toBeGreaterThan(50)
      expect(promised).toEqual([])
    },
  )
})
