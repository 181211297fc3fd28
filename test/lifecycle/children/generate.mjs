// What happens to a generation when the process, or its thread, ends in the middle, or memory is not there.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { openModel } from '../../../dist/lib/index.js'

const base = isMainThread ? process.argv[2] : workerData.base
const role = isMainThread ? process.argv[3] : 'endless'

/** Minutes of work for the tiny model. */
async function endless(onTokens) {
  const model = await openModel(base, { threads: 1 })
  const prompts = Array.from({ length: 4000 }, (_, p) => Int32Array.of(1, 2 + (p % 900), 3 + (p % 7)))
  await model.generate(prompts, { maxTokens: 400, ignoreEos: true, onTokens })
}

if (!isMainThread) {
  let told = false
  await endless(() => {
    if (!told) parentPort.postMessage('running')
    told = true
  })
} else if (role === 'exit') {
  await endless(() => process.exit(7))
} else if (role === 'throw') {
  await endless(() => {
    throw new Error('thrown in a token callback')
  })
} else if (role === 'worker') {
  const worker = new Worker(new URL(import.meta.url), { workerData: { base } })
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  await worker.terminate()
  const model = await openModel(base, { threads: 1 })
  const { generations } = await model.generate([Int32Array.of(1, 2, 3)], { maxTokens: 5, ignoreEos: true })
  console.log(generations[0][0].tokens.length)
  await model.close()
} else {
  const model = await openModel(base, { threads: 1 })
  const prompts = Array.from({ length: 256 }, (_, p) => Int32Array.of(1, 2 + p))
  const error = await model.generate(prompts, { maxTokens: 20_000, sequences: 256 }).catch((thrown) => thrown)
  console.log(error.code ?? error.stack ?? 'fits')
  console.error(error.message)
  const { generations } = await model.generate(prompts.slice(0, 1), { maxTokens: 5, ignoreEos: true })
  console.log(generations[0][0].tokens.length)
}
