// One trial of traitscope, or of its llama.cpp one prompt at a time, in a process of its own: JSON in, JSON out.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mainType, neededOperations } from '../../dist/lib/bench/roofline.js'
import { VARIANTS } from '../../dist/lib/bench/variants.js'
import { binding } from '../../dist/lib/binding.js'
import { ggmlType } from '../../dist/lib/formats/gguf/ggml-types.js'
import { hiddenStates, openModel } from '../../dist/lib/index.js'
import { chosenOf } from './trial.mjs'

const { path, layer, way, input, limit, threads, states } = JSON.parse(process.argv[2])
const isOurs = way === 'traitscope'
const { prompts, chosen } = chosenOf(input, isOurs ? undefined : limit)
const model = await openModel(path, { threads, device: 'cpu', ...(isOurs ? { layers: [layer] } : {}) })
const adapter = await model.attach(join(input, 'adapter'))

/**
 * Operations per second of products that are over within a slice of a busy machine's time: the best of a second is one that was left
 * alone.
 */
function productRate({ gguf }) {
  const type = mainType(gguf)
  const [nIn, nOut] = [...gguf.tensors.values()].find(
    (tensor) => /^blk\.0\.ffn_(gate|up)\.weight$/.test(tensor.name) && tensor.type === type,
  ).shape
  const shape = { nIn, nOut: Math.min(nOut, 512), nTokens: 64 }
  return binding().matmulRate({ type: ggmlType(type).id, ...shape, threads, seconds: 1, gpu: false })
}

/** Rows, in the order of `lists`, and tokens that were computed. */
async function pass(lists) {
  if (isOurs) {
    const { data, tokens } = await hiddenStates(model, lists, { layers: [layer], adapter })
    return {
      data: [...lists.keys()].map((i) => data.subarray(i * model.info.nEmbd, (i + 1) * model.info.nEmbd)),
      ...tokens,
    }
  }
  const data = []
  let computed = 0
  for (const ids of lists) {
    const batches = VARIANTS[0].plan([ids], model.batchTokens)
    const read = await model.extract({
      batches,
      nRows: 1,
      layers: [layer],
      adapters: [adapter],
      stopEarly: false,
    })
    data.push(read.data)
    computed += read.computedTokens
  }
  return { data, computed }
}

const lists = chosen.map((p) => prompts[p])
await pass(lists.slice(0, 1)) // reads every weight once
const before = process.cpuUsage()
const { data, computed } = await pass(lists)
const { user, system } = process.cpuUsage(before)
const cpuSeconds = (user + system) / 1e6
if (states)
  writeFileSync(states, JSON.stringify(Object.fromEntries(data.map((row, i) => [chosen[i], [...row]]))))
const top = isOurs ? layer : model.info.nLayer - 1
const operations = neededOperations(model.gguf, top, { computedTokens: computed, contextTokens: 0 })
const count = (some) => some.reduce((sum, { length }) => sum + length, 0)
const ran = count(lists) / count(prompts)
const peak = process.resourceUsage().maxRSS * 1024
const rate = await productRate(model)
await model.close()
console.log(
  JSON.stringify({
    cpuSeconds: cpuSeconds / ran,
    tokens: Math.round(computed / ran),
    ran,
    operations: operations / ran,
    rate,
    peak,
  }),
)
