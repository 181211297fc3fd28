import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { putTogether, takeApart } from './gguf-parts.mjs'
import { mutateBytes } from './mutate-bytes.mjs'
import { mutateGguf } from './mutate-gguf.mjs'
import { jsonText, mutateJson } from './mutate-json.mjs'
import { mutateTemplate } from './mutate-template.mjs'
import { Random } from './random.mjs'

/** Readers in the order in which cases take turns. */
export const READERS = [
  'gguf',
  'adapter',
  'safetensors',
  'trainer-state',
  'trait-pack',
  'directions',
  'trajectory',
  'labels',
  'model-folder',
  'merge',
  'bundle',
  'baseline',
  'chat-template',
]

const YAML_SNIPPETS = [
  '\t',
  'a: &a [*a]\n',
  'a: &a ["x","x"]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n',
  '__proto__: {polluted: true}\n',
  '<<: {a: 1}\n',
  '? [1, 2]\n: 3\n',
  '--- \n...\n---\n',
  '!!js/function "x"\n',
  '!!binary aGk=\n',
  '%YAML 9.9\n',
  '.nan',
  '- - - - - - - - - -\n',
  '['.repeat(5000),
]

/** Two checkpoints, one with a single draw as the reference has it and one with pooled draws. */
const GRADES = Buffer.from(
  JSON.stringify({
    step_0: { step: 0, n_misaligned: 1, n_scoreable: 70, n_total: 72, misalignment_rate: 0.0143 },
    step_10: {
      step: 10,
      n_misaligned: 5,
      n_scoreable: 68,
      n_total: 72,
      misalignment_rate: 0.0735,
      traitscope: {
        k: 8,
        n_misaligned: 37,
        n_scoreable: 540,
        rate: 0.0685,
        standard_error: 0.012,
        components: { power: 0.2 },
      },
    },
  }),
)

/**
 * Case `index` of a seed: equal arguments, equal bytes.
 *
 * @returns `{ files, notes, base? }`: file contents by name, what was done to them, the model that an adapter is for
 */
export function buildCase(seeds, reader, seed, index) {
  const random = new Random(`${seed}/${reader}/${index}`)
  const notes = []
  return { ...BUILDERS[reader](random, seeds, notes), notes }
}

const BUILDERS = {
  gguf: (random, { models }, notes) => {
    const { bytes, path } = random.pick(models)
    notes.push(path.split('/').slice(-2).join('/'))
    if (random.chance(0.15))
      return { files: { 'model.gguf': mutateBytes(random, bytes, random.pick(models).bytes, notes) } }
    const parts = takeApart(bytes)
    mutateGguf(random, parts, notes)
    return { files: { 'model.gguf': putTogether(parts) } }
  },
  adapter: (random, { adapters }, notes) => changedAdapter(random, random.pick(adapters), notes),
  merge: (random, { mergeAdapters }, notes) => changedAdapter(random, random.pick(mergeAdapters), notes),
  bundle: (random, { bundle }, notes) => {
    const name = random.pick(['detector.json', 'bundle.json'])
    notes.push(name)
    const bytes = json(random, bundle[name], notes)
    if (name === 'bundle.json') return { files: { ...bundle, [name]: bytes } }
    // Sealed again: whoever forges a folder can compute a hash.
    const description = JSON.parse(bundle['bundle.json'])
    description.files[name] = sha256(bytes)
    const files = { ...bundle, [name]: bytes, 'bundle.json': Buffer.from(JSON.stringify(description)) }
    if (random.chance(0.75)) return { files }
    const { [name]: _, ...others } = files
    const packed = gzipSync(bytes, { level: 1 })
    notes.push('packed')
    const stored = random.chance(0.5) ? packed : mutateBytes(random, packed, packed, notes)
    return { files: { ...others, [`${name}.gz`]: stored } }
  },
  baseline: (random, { baselines }, notes) => {
    const name = random.pick(Object.keys(baselines))
    notes.push(name)
    return { files: { [name]: safetensors(random, baselines[name], notes) } }
  },
  'chat-template': (random, { templates }, notes) => {
    const source = random.pick(templates)
    if (random.chance(0.2)) {
      const bytes = mutateBytes(random, Buffer.from(source), Buffer.from(random.pick(templates)), notes)
      return { files: { 'template.jinja': bytes } }
    }
    return { files: { 'template.jinja': Buffer.from(mutateTemplate(random, source, notes)) } }
  },
  safetensors: (random, { safetensors: list }, notes) => ({
    files: { 'x.safetensors': safetensors(random, random.pick(list), notes) },
  }),
  'trainer-state': (random, { checkpoint }, notes) => ({
    files: prefixed('checkpoint-10/', {
      ...checkpoint,
      'trainer_state.json': json(random, checkpoint['trainer_state.json'], notes),
    }),
  }),
  'trait-pack': (random, { pack }, notes) => ({ files: { 'pack.yaml': yaml(random, pack, notes) } }),
  directions: (random, { directions }, notes) => {
    const vectors = random.chance(0.3)
      ? safetensors(random, directions['directions.safetensors'], notes)
      : directions['directions.safetensors']
    const document = JSON.parse(directions['directions.json'])
    if (random.chance(0.1)) {
      return {
        files: { ...directions, 'directions.json': json(random, directions['directions.json'], notes) },
      }
    }
    // Sealed again: whoever forges a folder can compute a hash.
    const { descriptionSha256: _, ...description } = { ...document, sha256: sha256(vectors) }
    const changed =
      notes.length > 0 && random.chance(0.7) ? description : mutateJson(random, description, notes)
    const text = jsonText(random, changed)
    const seal = `,"descriptionSha256":"${sha256(reparsed(text))}"}`
    return {
      files: {
        'directions.safetensors': vectors,
        'directions.json': Buffer.from(text.endsWith('}') ? text.slice(0, -1) + seal : text),
      },
    }
  },
  'model-folder': (random, { modelFolders }, notes) => {
    const files = random.pick(modelFolders)
    const name = random.pick(Object.keys(files))
    notes.push(name)
    const change = name.endsWith('.json') ? json : name.endsWith('.safetensors') ? safetensors : undefined
    const bytes = change
      ? change(random, files[name], notes)
      : mutateBytes(random, files[name], files[name], notes)
    return { files: { ...files, [name]: bytes } }
  },
  trajectory: (random, seeds, notes) => ({
    files: { 'trajectory.json': json(random, seeds.trajectory, notes) },
  }),
  labels: (random, _, notes) => ({ files: { 'grades.json': json(random, GRADES, notes) } }),
}

function changedAdapter(random, { base, files }, notes) {
  const [config, tensors] = Object.keys(files)
  const changed = random.chance(0.5)
    ? { [config]: json(random, files[config], notes) }
    : { [tensors]: safetensors(random, files[tensors], notes) }
  return { files: { ...files, ...changed }, base }
}

function json(random, bytes, notes) {
  if (random.chance(0.2)) return mutateBytes(random, bytes, bytes, notes)
  return Buffer.from(jsonText(random, mutateJson(random, JSON.parse(bytes), notes)))
}

function yaml(random, bytes, notes) {
  if (random.chance(0.3)) return mutateBytes(random, bytes, bytes, notes)
  const lines = bytes.toString().split('\n')
  for (let i = random.pick([1, 1, 2, 4]); i > 0; i--) {
    const at = random.below(lines.length)
    const [name, change] = random.pick([
      ['remove a line', () => lines.splice(at, 1)],
      ['repeat a line', () => lines.splice(at, 0, lines[at])],
      ['repeat a block', () => lines.splice(at, 0, ...lines.slice(at, at + 40))],
      ['move a line', () => lines.splice(random.below(lines.length), 0, ...lines.splice(at, 1))],
      ['indent', () => (lines[at] = ` ${lines[at]}`)],
      ['snippet', () => lines.splice(at, 0, random.pick(YAML_SNIPPETS))],
      ['snippet at the end', () => lines.push(random.pick(YAML_SNIPPETS))],
      [
        'other scalar',
        () =>
          (lines[at] = lines[at].replace(
            /(- |: ).*/,
            (_, head) =>
              head +
              random.pick([
                '',
                '1',
                'null',
                '~',
                'yes',
                '[]',
                '{}',
                '.inf',
                '*x',
                '&x 1',
                '2024-01-01',
                '"\\0"',
                '|',
                '!!set {a}',
              ]),
          )),
      ],
    ])
    notes.push(name)
    change()
  }
  return Buffer.from(lines.join('\n'))
}

/** Header mutations keep the length field right, so that they get past it. */
function safetensors(random, bytes, notes) {
  if (random.chance(0.4)) return mutateBytes(random, bytes, bytes, notes)
  const length = Number(bytes.readBigUInt64LE(0))
  const data = bytes.subarray(8 + length)
  if (random.chance(0.3)) {
    notes.push('bad weights')
    const copy = Buffer.from(bytes)
    const width = random.pick([2, 4])
    for (let i = random.pick([1, 1, 1000]); i > 0; i--) {
      const at = 8 + length + width * random.below(Math.floor(data.length / width))
      const value = random.pick([0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0])
      for (let byte = 0; byte < width; byte++) copy[at + byte] = (value >>> (8 * (byte + 4 - width))) & 0xff
    }
    return copy
  }
  const header = JSON.parse(bytes.subarray(8, 8 + length))
  const text = Buffer.from(jsonText(random, mutateJson(random, header, notes)))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([size, text, data])
}

function prefixed(prefix, files) {
  return Object.fromEntries(Object.entries(files).map(([name, bytes]) => [prefix + name, bytes]))
}

function reparsed(text) {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text
  }
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex')
}
