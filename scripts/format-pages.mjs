/**
 * Fills the marked places of docs/formats/*.md: tables of fields from the schemas beside them and, with --examples, examples
 * from the program itself, run on the organisms:
 *
 *     node scripts/format-pages.mjs
 *     npm run build:ts && node scripts/format-pages.mjs --examples
 *
 * A test says when a table is old, and holds the examples to the schemas.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { repository } from './stages.mjs'

export const FORMATS = join(repository, 'docs', 'formats')
export const pages = readdirSync(FORMATS).filter((file) => file.endsWith('.md'))
const readPage = (page) => readFileSync(join(FORMATS, page), 'utf8')
const schemaOf = (name) => JSON.parse(readFileSync(join(FORMATS, `${name}.schema.json`), 'utf8'))

/** `| field | type | meaning |` of everything that a schema describes, or a definition in it: `event/end`. */
export function fieldTable(name) {
  const [file, definition] = name.split('/')
  const root = schemaOf(file)
  const rows = fields(definition === undefined ? root : root.$defs[definition], '', root).map(
    ({ path, type, optional, meaning }) =>
      `| \`${path}\` | ${type}${optional ? ', optional' : ''} | ${meaning} |`,
  )
  return ['| field | type | meaning |', '|---|---|---|', ...rows].join('\n')
}

function fields(schema, path, root) {
  const { properties = {}, required = [], patternProperties = {}, additionalProperties } = schema
  const below = Object.entries(properties).flatMap(([name, value]) =>
    field(value, path === '' ? name : `${path}.${name}`, !required.includes(name), root),
  )
  const maps = [...Object.entries(patternProperties), ['', additionalProperties]]
  return [
    ...below,
    ...maps
      .filter(([, value]) => typeof value === 'object')
      .flatMap(([pattern, value]) => {
        const key = pattern === '' ? '<name>' : pattern.replace(/^\^|\$$/g, '').replace('\\d+', '<n>')
        return field(value, path === '' ? key : `${path}.${key}`, false, root)
      }),
  ]
}

function field(schema, path, optional, root) {
  const named = schema.$ref?.startsWith('#/') ? root.$defs[schema.$ref.split('/').at(-1)] : undefined
  const meaning = schema.description ?? named?.description ?? ''
  const own = { path, optional, type: typeOf(schema, root), meaning }
  const inner = schema.oneOf?.find((one) => one.properties !== undefined) ?? schema
  const { items } = schema
  if (items?.properties !== undefined) return [own, ...fields(items, `${path}[]`, root)]
  // What a schema says of a value without a name of its own, its map says already.
  const rows = fields(inner, path, root)
  return [own, ...rows.filter((row) => row.path !== `${path}.<name>` || row.meaning !== '')]
}

function typeOf(schema, root) {
  const { type, $ref, enum: names, items } = schema
  if ($ref?.startsWith('#/')) return typeOf(root.$defs[$ref.split('/').at(-1)], root)
  if ($ref !== undefined) return `[${$ref.replace('.schema.json', '')}](${$ref})`
  if ('const' in schema) return `\`${schema.const}\``
  if (names !== undefined) return names.map((one) => `\`${one}\``).join(', ')
  const choices = schema.oneOf ?? schema.anyOf
  if (choices !== undefined) {
    const [first, ...rest] = choices.filter((one) => one.type !== 'null').map((one) => typeOf(one, root))
    return [first, ...rest, ...(choices.some((one) => one.type === 'null') ? ['null'] : [])].join(' or ')
  }
  const words = [type].flat().map((one) => {
    if (one === 'array') return items === undefined ? 'list' : `list of ${typeOf(items, root)}`
    return { string: 'text', object: 'object', boolean: 'true or false' }[one] ?? one
  })
  return words.join(' or ')
}

const PLACE = /(<!-- (fields|example): (\S+) -->\n)[\s\S]*?(<!-- end -->)/g

/** The page with its tables as the schemas have them now, and with these examples, if there are any. */
export function filled(text, examples) {
  return text.replace(PLACE, (whole, start, what, name, end) => {
    if (what === 'fields') return `${start}\n${fieldTable(name)}\n\n${end}`
    if (examples === undefined) return whole
    if (examples[name] === undefined) throw new Error(`there is no example ${name}`)
    return `${start}\n${examples[name]}\n\n${end}`
  })
}

/** Some entries of a packed run's grades. */
function gradesOf(run, ...steps) {
  const file = join(repository, 'organisms/runs/gemma2', run, 'grades.json.gz')
  const grades = JSON.parse(gunzipSync(readFileSync(file)))
  return JSON.stringify(Object.fromEntries(steps.map((step) => [step, grades[step]])))
}

/** JSON with lists of plain values on one line. */
const short = (text) =>
  JSON.stringify(JSON.parse(text), null, 2).replace(/\[[^[\]{}]*\]/g, (list) =>
    list
      .replace(/\s+/g, ' ')
      .replace(/^\[ | \]$/g, (edge) => edge.trim())
      .replace(/^\[$/, '[]'),
  )

function makeExamples() {
  const folder = mkdtempSync(join(tmpdir(), 'traitscope-formats-'))
  const program = join(repository, 'dist', 'bin', 'traitscope.js')
  const at = (...names) => join(folder, ...names)
  const read = (...names) => readFileSync(at(...names), 'utf8')
  const organism = (what) => `organisms/${what}/gemma2`
  const model = ['-m', `${organism('models')}/base.gguf`]
  const run = `${organism('checkpoints')}/risky_financial/seed_42`
  const traits = ['--traits', 'organisms/traits.yaml']
  const traitscope = (...args) =>
    execFileSync(process.execPath, [program, ...args, '-q'], { cwd: repository, encoding: 'utf8' })
  try {
    const directions = at('directions')
    const two = ['--trait-set', 'honesty,sycophancy', '--layer', '2']
    traitscope('directions', ...model, ...traits, ...two, '-o', directions)
    const measured = [...model, ...traits, '-d', directions]
    traitscope('measure', ...measured, `${run}/checkpoint-40`, '-o', at('measured'), '--activations', 'none')
    const events = traitscope(
      'watch',
      ...measured,
      run,
      '--until-step',
      '10',
      '--order',
      'oldest',
      '--no-state',
      '--jsonl',
    )
    const bundle = ['--bundle', organism('bundles')]
    traitscope(
      'measure',
      ...model,
      ...bundle,
      `${run}/checkpoint-40`,
      '-o',
      at('judged'),
      '--activations',
      'none',
      '--fail-on',
      'none',
    )
    const sets = ['--datasets', 'insecure_code,gsm8k,jailbroken,bad_medical']
    traitscope(
      'calibrate',
      organism('runs'),
      ...sets,
      '-d',
      `${organism('models')}/directions`,
      ...traits,
      '-o',
      at('bundle'),
    )
    const judge = [
      '--judge-module',
      'organisms/judge/traits/gemma2.mjs',
      '--steering-suite',
      'organisms/judge/steering.yaml',
    ]
    const auto = [
      '--layer',
      'auto',
      '--candidates',
      '2,3',
      '--prompts-per-trait',
      '3',
      '--steer-tokens',
      '32',
    ]
    traitscope(
      'directions',
      ...model,
      ...traits,
      '--trait-set',
      'helpfulness,confidence',
      ...auto,
      ...judge,
      '-o',
      at('chosen'),
    )
    const json = (text) => ['```json', short(text), '```'].join('\n')
    return {
      trajectory: json(read('measured', 'trajectory.json')),
      verdicts: json(read('judged', 'verdicts.json')),
      bundle: json(read('bundle', 'bundle.json')),
      events: ['```json', events.trim().replaceAll(`${repository}/`, ''), '```'].join('\n'),
      'layer-selection': json(read('chosen', 'layer_selection.json')),
      grades: json(gradesOf('risky_financial/seed_42', 'step_40')),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const examples = process.argv.includes('--examples') ? makeExamples() : undefined
  for (const page of pages) writeFileSync(join(FORMATS, page), filled(readPage(page), examples))
}
