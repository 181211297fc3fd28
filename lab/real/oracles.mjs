// node lab/real/oracles.mjs BASES/NAME ORACLES/NAME [--write]: the engine against transformers and peft on a real base, for GGUF files of
// every type, adapter attached and merged. Prints JSON; --write also puts the table into docs/accuracy.md. Needs `npm run build`.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { directionVector } from '../../dist/lib/directions/directions.js'
import { loadDirections } from '../../dist/lib/directions/directions-folder.js'
import { readSafetensors } from '../../dist/lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../dist/lib/hidden-states/hidden-states.js'
import { openCheckpoint } from '../../dist/lib/model/checkpoint/open-checkpoint.js'
import { openModel } from '../../dist/lib/model/model.js'
import { ChatTemplate } from '../../dist/lib/prompts/chat-template.js'
import { chatTokens } from '../../dist/lib/prompts/prompt-tokens.js'
import { floorOf, noisePrompts, readNoise } from '../../dist/lib/trajectory/noise-floor.js'

const TYPES = ['F32', 'BF16', 'Q8_0', 'Q4_K_M']
// Of the trained adapter: small changes are where rounding shows.
const STRENGTHS = [0.1, 1]

const [base, oracle] = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))
// Any seven directions tell what rounding makes of a projection: those of the smoke run do where there are no others.
const folder = ['directions', 'directions-smoke'].map((name) => join(base, name)).find(existsSync)
if (folder === undefined) throw new Error(`${base} has no directions: python -m lab.real bases makes them`)
const golden = JSON.parse(readFileSync(join(oracle, 'golden.json'), 'utf8'))
const file = await readSafetensors(join(oracle, 'golden.safetensors'))
const truth = { base: await file.float32('base'), adapter: await file.float32('adapter') }
const directions = await loadDirections(folder)
const cacheDir = await mkdtemp(join(tmpdir(), 'traitscope-oracles-'))
const results = []
let exact
try {
  for (const type of TYPES) {
    const path = join(base, `${type}.gguf`)
    if (!existsSync(path)) throw new Error(`${path} is not there: python -m lab.real bases makes it`)
    const result = await compare(path)
    exact ??= result
    results.push({ type, ...figures(result, exact) })
  }
} finally {
  await rm(cacheDir, { recursive: true, force: true })
}
console.log(JSON.stringify({ base: basename(base), prompts: golden.ids.length, results }, null, 1))
if (process.argv.includes('--write')) writeTable()

async function compare(path) {
  const model = await openModel(path, { threads: 1, gpuLayers: 0 })
  try {
    const prompts = await chatTokens(model, ChatTemplate.forModel(model), golden.messages)
    const tokens = prompts.every((ids, p) => `${[...ids]}` === `${golden.ids[p]}`)
    const layers = [...Array(model.info.nLayer).keys()]
    const read = async (on, adapter) => (await hiddenStates(on, prompts, { layers, adapter })).data
    const bare = await read(model)
    const attached = {}
    for (const strength of STRENGTHS) {
      const adapter = await model.attach(join(oracle, 'adapter'), { strength })
      attached[strength] = await read(model, adapter)
      await adapter.detach()
    }
    const merged = await openCheckpoint(model, join(oracle, 'adapter'), { mode: 'merge', cacheDir })
    const whole = await read(merged.model, merged.adapter)
    await merged[Symbol.asyncDispose]()
    const few = noisePrompts(prompts)
    const { states: noise } = await readNoise(model, few, { layers: directions.layers, pool: 'last' })
    return {
      tokens,
      bare,
      attached,
      merged: whole,
      noise,
      nLayer: model.info.nLayer,
      nEmbd: model.info.nEmbd,
      n: prompts.length,
    }
  } finally {
    await model.close()
  }
}

function figures(found, reference) {
  const { n, nLayer, nEmbd } = found
  const change = (states, bare) => states.map((value, i) => value - bare[i])
  const goldenChange = change(truth.adapter, truth.base)
  const drifts = directions.layers.map((layer, l) => {
    const along = matrix(l)
    const norms = rowsAt(reference.bare, layer).map(length)
    const N = norms.reduce((sum, one) => sum + one, 0) / n
    const rms = Math.sqrt(norms.reduce((sum, one) => sum + one ** 2, 0) / n)
    const floor = floorOf(
      found.noise,
      directions.layers,
      directions.layers.map((_, k) => matrix(k)),
      directions.layers.map(() => ({ activationNorm: N, rms })),
      n,
    )
    const drift = (of, strength) =>
      project(change(of.attached[strength], of.bare), layer, along).map((value) => value / N)
    return {
      layer,
      floor: floor.layers[l].drift,
      at: STRENGTHS.map((strength) => {
        const right = drift(reference, strength)
        return {
          strength,
          drift: length(right),
          error: length(drift(found, strength).map((value, t) => value - right[t])),
        }
      }),
    }
  })
  return {
    tokens: found.tokens,
    states: worst(found.bare, truth.base),
    attached: worst(found.attached[1], truth.adapter),
    merged: worst(found.merged, truth.adapter),
    change: relative(change(found.attached[1], found.bare), goldenChange),
    changeMerged: relative(change(found.merged, found.bare), goldenChange),
    drifts,
  }

  function rowsAt(states, layer) {
    return Array.from({ length: n }, (_, p) =>
      states.subarray((p * nLayer + layer) * nEmbd, (p * nLayer + layer + 1) * nEmbd),
    )
  }
  function matrix(l) {
    const rows = directions.traits.length
    const data = new Float32Array(rows * nEmbd)
    for (let t = 0; t < rows; t++) data.set(directionVector(directions, l, t), t * nEmbd)
    return { data, rows, cols: nEmbd }
  }
  function project(states, layer, { data, rows }) {
    const mean = new Float64Array(nEmbd)
    for (const row of rowsAt(states, layer)) for (let i = 0; i < nEmbd; i++) mean[i] += row[i] / n
    return Array.from({ length: rows }, (_, t) =>
      mean.reduce((sum, value, i) => sum + value * data[t * nEmbd + i], 0),
    )
  }
  /** Worst prompt over all blocks. */
  function worst(a, b) {
    const size = nLayer * nEmbd
    return Math.max(
      ...Array.from({ length: n }, (_, p) =>
        relative(a.subarray(p * size, (p + 1) * size), b.subarray(p * size, (p + 1) * size)),
      ),
    )
  }
}

function length(values) {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
}

function relative(a, b) {
  return length(a.map((value, i) => value - b[i])) / length(b)
}

/** Between the marks of this base in docs/accuracy.md; the page holds them where the table belongs. */
function writeTable() {
  const page = 'docs/accuracy.md'
  const name = basename(base)
  const [from, to] = [`<!-- real oracles: ${name} -->`, `<!-- end: ${name} -->`]
  const text = readFileSync(page, 'utf8')
  const [begin, end] = [text.indexOf(from), text.indexOf(to)]
  if (begin < 0 || end < begin) throw new Error(`expected the marks ${from} and ${to} in ${page}`)
  const e = (value) => value.toExponential(1).replace('e+0', '').replace('e+', 'e')
  const last = (result) => result.drifts.at(-1)
  const lines = [
    '| Type | token ids | states | with adapter, attached | merged | change, attached | merged | layer: floor of a drift; drift, its error (at 0.1 and 1 of the adapter) |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...results.map((result) => {
      const { layer, floor, at } = last(result)
      const drifts = at
        .map(({ drift, error }) => `${drift.toPrecision(2)}, ${error.toPrecision(1)}`)
        .join('; ')
      return `| ${result.type} | ${result.tokens ? 'equal' : 'differ'} | ${e(result.states)} | ${e(result.attached)} | ${e(result.merged)} | ${e(result.change)} | ${e(result.changeMerged)} | ${layer}: ${floor.toPrecision(2)}; ${drifts} |`
    }),
  ]
  writeFileSync(page, `${text.slice(0, begin + from.length)}\n${lines.join('\n')}\n${text.slice(end)}`)
}
