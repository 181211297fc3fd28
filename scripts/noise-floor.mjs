// Compares the noise floor that `measure` states with what rounding really does: the base's own weights are written once
// more as F32, and a random adapter changes both. What the two changes differ by is the error of the stored type.
//
//   node scripts/noise-floor.mjs base.gguf --layer 10,15 [--directions DIR] [--prompts 24] [--threads 2]
//
// Needs `npm run build` and disk space for the F32 copy. With --directions (made with either file) also the drift.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { directionsAt } from '../dist/lib/directions/directions.js'
import { loadDirections } from '../dist/lib/directions/directions-folder.js'
import { readGgufParts } from '../dist/lib/formats/gguf/gguf-split.js'
import { storedMetadata, writeGgufStream } from '../dist/lib/formats/gguf/gguf-stream.js'
import { hiddenStates } from '../dist/lib/hidden-states/hidden-states.js'
import { writeRandomAdapter } from '../dist/lib/hidden-states/random-adapter.js'
import { mergedBytes } from '../dist/lib/model/merge/merge-stream.js'
import { openModel } from '../dist/lib/model/model.js'
import { ChatTemplate } from '../dist/lib/prompts/chat-template.js'
import { evaluationPrompts } from '../dist/lib/prompts/prompt-sets.js'
import { chatTokens } from '../dist/lib/prompts/prompt-tokens.js'
import { loadTraitPack } from '../dist/lib/prompts/trait-pack.js'
import { floorOf, noisePrompts, readNoise } from '../dist/lib/trajectory/noise-floor.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layer: { type: 'string' },
    directions: { type: 'string' },
    prompts: { type: 'string', default: '24' },
    threads: { type: 'string', default: '2' },
  },
})
const [path] = positionals
const layers = values.layer.split(',').map(Number)
const threads = Number(values.threads)
const folder = await mkdtemp(join(tmpdir(), 'traitscope-noise-'))
try {
  const exact = join(folder, 'exact.gguf')
  const random = join(folder, 'adapter')
  await writeExact(path, exact)
  const stored = await openModel(path, { threads })
  await writeRandomAdapter(random, stored.gguf, 16)
  const prompts = await readPrompts(stored, Number(values.prompts))
  const few = noisePrompts(prompts)
  const { states: noise } = await readNoise(stored, few, { layers, pool: 'last' })
  // Wide enough that the smallest change is below the noise and the largest is that of a strong adapter.
  const strengths = [0.3, 3, 30].map((strength) => (strength * 576) / stored.info.nEmbd)
  const rounded = await changes(stored, prompts, random, strengths)
  const whole = await openModel(exact, { threads })
  const truth = await changes(whole, prompts, random, strengths)
  await report({ stored, prompts, few, noise, rounded, truth })
  await Promise.all([stored.close(), whole.close()])
} finally {
  await rm(folder, { recursive: true, force: true })
}

async function writeExact(from, to) {
  const base = await readGgufParts(from)
  const context = { base, strength: 1, threads, onChange: () => {} }
  const tensors = [...base.tensors.values()].map((source) => {
    const tensor = { ...source, source, blocks: [{ rows: source.shape.at(-1) }] }
    return { ...source, type: 'F32', chunks: () => mergedBytes(context, tensor, 'F32') }
  })
  await writeGgufStream(to, storedMetadata(base), tensors)
}

/** Chat prompts where the base has a template, else the bare questions. */
async function readPrompts(model, n) {
  const pack = await loadTraitPack('core')
  const all = evaluationPrompts(pack).map(({ messages }) => messages)
  const some = Array.from({ length: n }, (_, i) => all[Math.floor((i * all.length) / n)])
  if (model.chatTemplate === undefined) return model.tokenize(some.map(([{ content }]) => content))
  return chatTokens(model, ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement }), some)
}

async function changes(model, prompts, adapterFolder, strengths) {
  const base = (await hiddenStates(model, prompts, { layers })).data
  const changed = []
  for (const strength of strengths) {
    const adapter = await model.attach(adapterFolder, { strength })
    const { data } = await hiddenStates(model, prompts, { layers, adapter })
    changed.push(data.map((value, i) => value - base[i]))
    await adapter.detach()
  }
  return { base, changed }
}

async function report({ stored, prompts, few, noise, rounded, truth }) {
  const { nEmbd } = stored.info
  const at = (data, n, l) =>
    Float64Array.from({ length: n * nEmbd }, (_, i) => {
      return data[(Math.floor(i / nEmbd) * layers.length + l) * nEmbd + (i % nEmbd)]
    })
  const norm = (x) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0))
  const minus = (a, b) => a.map((value, i) => value - b[i])
  const means = (x) => {
    const n = x.length / nEmbd
    return Float64Array.from({ length: nEmbd }, (_, c) => {
      let sum = 0
      for (let p = 0; p < n; p++) sum += x[p * nEmbd + c]
      return sum / n
    })
  }
  const directions = values.directions && directionsAt(await loadDirections(values.directions), layers)
  const short = (value) => value.toPrecision(2)
  for (const [l, layer] of layers.entries()) {
    const base = at(truth.base, prompts.length, l)
    const rms = norm(base) / Math.sqrt(prompts.length)
    const activationNorm =
      prompts.map((_, p) => norm(base.subarray(p * nEmbd, (p + 1) * nEmbd))).reduce((a, b) => a + b) /
      prompts.length
    const size = directions ? directions.traits.length * nEmbd : 0
    const along = directions && {
      data: directions.vectors.subarray(l * size, (l + 1) * size),
      rows: directions.traits.length,
      cols: nEmbd,
    }
    const length = (x) => {
      const mean = means(x)
      let squares = 0
      for (let t = 0; t < along.rows; t++) {
        squares += mean.reduce((sum, value, c) => sum + value * along.data[t * nEmbd + c], 0) ** 2
      }
      return Math.sqrt(squares) / activationNorm
    }
    const own = at(noise, few.length, l)
    let line = `layer ${layer}: floor of the state ${short(norm(own) / Math.sqrt(few.length) / rms)}`
    if (along) {
      const sizes = [{ activationNorm, rms }]
      const [floor] = floorOf(Float32Array.from(own), [layer], [along], sizes, prompts.length).layers
      line += `, of the drift ${short(floor.drift)}`
    }
    for (const [s, changed] of truth.changed.entries()) {
      const real = at(changed, prompts.length, l)
      const error = minus(at(rounded.changed[s], prompts.length, l), real)
      line += `; change ${short(norm(real) / norm(base))} error ${short(norm(error) / norm(base))}`
      if (along) line += `, drift ${short(length(real))} error ${short(length(error))}`
    }
    console.log(line)
  }
}
