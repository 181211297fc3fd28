// Attaches, applies and detaches adapters many times; prints resident memory after warm-up and at the end, in MB.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { hiddenStates, openModel } from '../../../dist/lib/index.js'

const [base, run, times] = process.argv.slice(2)
const folders = readdirSync(run).filter((name) => name.startsWith('checkpoint-'))
const model = await openModel(base)
const prompts = [Int32Array.of(5, 6, 7, 8), Int32Array.of(5, 6, 9)]
const rss = []
for (let i = 0; i < Number(times); i++) {
  const adapter = await model.attach(join(run, folders[i % folders.length]))
  await hiddenStates(model, prompts, { layers: [3], adapter })
  await adapter.detach()
  if (i === 50 || i === Number(times) - 1) {
    globalThis.gc()
    rss.push(process.memoryUsage().rss / 1e6)
  }
}
await model.close()
console.log(JSON.stringify(rss))
