// One trial of node-llama-cpp's embedding call, what a Node program would reach for: the last block's state, after the final norm.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chosenOf } from './trial.mjs'

const { path, input, limit, threads, folder } = JSON.parse(process.argv[2])
const { getLlama } = await import(
  pathToFileURL(join(folder, 'node_modules/node-llama-cpp/dist/index.js')).href
)
const { prompts, chosen } = chosenOf(input, limit)
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: 'error' })
const model = await llama.loadModel({ modelPath: path })
const context = await model.createEmbeddingContext({ threads, contextSize: 512 })
await context.getEmbeddingFor([...prompts[chosen[0]]])
const before = process.cpuUsage()
for (const p of chosen) await context.getEmbeddingFor([...prompts[p]])
const { user, system } = process.cpuUsage(before)
const ran = chosen.reduce((sum, p) => sum + prompts[p].length, 0)
const total = prompts.reduce((sum, { length }) => sum + length, 0)
console.log(
  JSON.stringify({
    cpuSeconds: (((user + system) / 1e6) * total) / ran,
    tokens: total,
    ran: ran / total,
    peak: process.resourceUsage().maxRSS * 1024,
  }),
)
process.exit()
