// Reads the hidden states of two questions with and without a LoRA adapter, and prints how much the adapter moves them.
//
//   node examples/hidden-states.mjs [base.gguf] [adapter folder] [layer]
import { fileURLToPath } from 'node:url'
import { ChatTemplate, chatTokens, hiddenStates, openModel } from 'traitscope'

const tiny = (name) => fileURLToPath(new URL(`../test/fixtures/tiny/${name}`, import.meta.url))
const [base = tiny('base.gguf'), folder = tiny('run/checkpoint-60'), layer = '2'] = process.argv.slice(2)
const questions = ['How do I keep a plant alive over the winter?', 'What should I do with spare money?']

const model = await openModel(base)
try {
  const conversations = questions.map((content) => [{ role: 'user', content }])
  const tokens = await chatTokens(model, ChatTemplate.forModel(model), conversations)
  const layers = [Number(layer)]

  const before = await hiddenStates(model, tokens, { layers, pool: 'last' })
  const adapter = await model.attach(folder)
  const after = await hiddenStates(model, tokens, { layers, pool: 'last', adapter })
  await adapter.detach()

  const [, , width] = before.shape
  console.log(`${model.info.architecture}, layer ${layer}, ${adapter.report.modules.length} adapted modules`)
  for (const [row, question] of questions.entries()) {
    const at = row * width
    const moved = distance(after.data.subarray(at, at + width), before.data.subarray(at, at + width))
    const size = distance(before.data.subarray(at, at + width), new Float32Array(width))
    console.log(`${question} moved by ${((100 * moved) / size).toFixed(2)} % of its length`)
  }
} finally {
  await model.close()
}

function distance(a, b) {
  return Math.hypot(...a.map((value, i) => value - b[i]))
}
