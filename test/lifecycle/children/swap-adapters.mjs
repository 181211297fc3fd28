// Attaches, applies and detaches adapters many times; prints resident memory after a third, when V8's heap has
// found its size, and at the end, in MB.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { hiddenStates, openModel } from '../../../dist/lib/index.js'

const [base, run] = process.argv.slice(2)
const times = Number(process.argv[4])
const folders = readdirSync(run).filter((name) => name.startsWith('checkpoint-'))
const model = await openModel(base)
const prompts = [Int32Array.of(5, 6, 7, 8), Int32Array.of(5, 6, 9)]
const rss = []
for (let i = 0; i < times; i++) {
  const adapter = await model.attach(join(run, folders[i % folders.length]))
  await hiddenStates(model, prompts, { layers: [3], adapter })
  await adapter.detach()
  if (i === Math.floor(times / 3) || i === times - 1) {
    globalThis.gc()
    rss.push(process.memoryUsage().rss / 1e6)
  }
}
await model.close()
console.log(JSON.stringify(rss))
