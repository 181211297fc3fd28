// Opens models and forgets them: garbage collection must free what close() would have.
import { setTimeout } from 'node:timers/promises'
import { hiddenStates, openModel } from '../../../dist/lib/index.js'

const rss = []
for (let i = 0; i < 24; i++) {
  const model = await openModel(process.argv[2], { mmap: false })
  await hiddenStates(model, [Int32Array.of(5, 6, 7)], { layers: [3] })
  if (i % 4 === 3) {
    globalThis.gc()
    await setTimeout(10)
    globalThis.gc()
    rss.push(process.memoryUsage().rss / 1e6)
  }
}
console.log(JSON.stringify(rss))
