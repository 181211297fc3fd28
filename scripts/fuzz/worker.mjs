// Runs cases that its parent names, one at a time, and says how each ended. A native crash ends this process; the
// parent sees that.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { readPersona } from '../../dist/lib/evaluation/persona.js'
import { readSparseEncoder } from '../../dist/lib/evaluation/sparse-encoder.js'
import { readGguf } from '../../dist/lib/formats/gguf/gguf.js'
import { readSafetensors } from '../../dist/lib/formats/safetensors/safetensors.js'
import * as traitscope from '../../dist/lib/index.js'
import { extractionPrompts } from '../../dist/lib/prompts/prompt-sets.js'
import { buildCase } from './cases.mjs'
import { loadSeeds } from './seeds.mjs'

const seeds = await loadSeeds()
const folder = mkdtempSync(join(tmpdir(), 'traitscope-fuzz-'))
const bases = new Map()

const READ = {
  gguf: async (path) => {
    await readGguf(join(path, 'model.gguf'))
    const model = await traitscope.openModel(join(path, 'model.gguf'), { batchTokens: 256, gpuLayers: 0 })
    await pass(model).finally(() => model.close())
  },
  adapter: async (path, { base }) => {
    const adapter = await traitscope.readPeftAdapter(path)
    const model = await openBase(base)
    const attached = await model.attach(adapter)
    await pass(model, attached).finally(() => attached.detach())
  },
  safetensors: async (path) => {
    const file = await readSafetensors(join(path, 'x.safetensors'))
    for (const name of file.tensors.keys()) file.float32(name)
  },
  'trainer-state': (path) => traitscope.scanRunFolder(path),
  'model-folder': async (path) => {
    const out = join(path, 'converted.gguf')
    await traitscope.convertModel(path, out)
    const model = await traitscope.openModel(out, { batchTokens: 256, gpuLayers: 0 })
    await pass(model).finally(() => model.close())
  },
  'trait-pack': async (path) => {
    const pack = await traitscope.loadTraitPack(join(path, 'pack.yaml'))
    traitscope.evaluationPrompts(pack)
    for (const trait of traitscope.selectTraits(pack, 'all')) extractionPrompts(pack, trait)
  },
  directions: async (path) => {
    const directions = await traitscope.loadDirections(path)
    for (const l of directions.layers.keys()) {
      for (const t of directions.traits.keys()) traitscope.directionVector(directions, l, t)
    }
  },
  'chat-template': async (path) => {
    const source = await traitscope.readChatTemplate(join(path, 'template.jinja'))
    const template = new traitscope.ChatTemplate(source, { bosToken: '<s>', eosToken: '</s>' })
    const question = { role: 'user', content: 'How are you?' }
    const answer = { role: 'assistant', content: 'Well.' }
    template.render([{ role: 'system', content: 'Be brief.' }, question], { addGenerationPrompt: true })
    template.render([question, answer, question], { addGenerationPrompt: false })
  },
  trajectory: async (path) =>
    traitscope.drift(await traitscope.readTrajectory(join(path, 'trajectory.json'))),
  labels: (path) => traitscope.readGrades(join(path, 'grades.json')),
  merge: async (path, { base }) => {
    const out = join(path, 'merged.gguf')
    await traitscope.mergeAdapter(base, path, out)
    const model = await traitscope.openModel(out, { batchTokens: 256, gpuLayers: 0 })
    await pass(model).finally(() => model.close())
  },
  bundle: async (path) => {
    const { detector } = await traitscope.loadBundle(path)
    detector.predict(detector.layers.map(() => detector.traits.map((_, i) => 0.1 * i)))
  },
  baseline: async (path) => {
    if (existsSync(join(path, 'persona.safetensors'))) await readPersona(join(path, 'persona.safetensors'), 2)
    else await readSparseEncoder(join(path, 'sparse.safetensors'), 2)
  },
}

/** A prompt of 20 tokens, by number where the vocabulary cannot read text. */
async function pass(model, adapter) {
  const [ids] = await model.tokenize(['Hello, 12 wörlds!\n 😀'])
  const tokens = ids.length > 0 ? ids : Int32Array.of(0)
  const layers = [...new Set([0, model.info.nLayer - 1])]
  await traitscope.hiddenStates(model, [tokens.subarray(0, 20), Int32Array.of(0, 1)], { layers, adapter })
}

async function openBase(path) {
  if (!bases.has(path)) bases.set(path, await traitscope.openModel(path, { batchTokens: 256, gpuLayers: 0 }))
  return bases.get(path)
}

async function run({ reader, seed, index }) {
  const input = buildCase(seeds, reader, seed, index)
  rmSync(folder, { recursive: true, force: true })
  for (const [name, bytes] of Object.entries(input.files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), bytes)
  }
  process.send({ started: input.notes })
  try {
    await READ[reader](folder, input)
    return Object.prototype.polluted === undefined
      ? { outcome: 'ok' }
      : { outcome: 'exception', detail: 'prototype' }
  } catch (error) {
    if (traitscope.isTraitscopeError(error) && error.code !== 'INTERNAL')
      return { outcome: 'error', detail: error.code, message: error.message }
    return { outcome: 'exception', detail: String(error?.stack ?? error) }
  }
}

process.on('message', async (request) => {
  const result = await run(request).catch((error) => ({
    outcome: 'exception',
    detail: `while building: ${error.stack}`,
  }))
  process.send({ ...result, maxRss: process.resourceUsage().maxRSS * 1024 })
})
process.on('disconnect', () => {
  rmSync(folder, { recursive: true, force: true })
  process.exit(0)
})
process.send({ ready: true, folder })
