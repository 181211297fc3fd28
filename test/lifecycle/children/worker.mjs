// Two worker threads with a model each; one works to its end, the other is terminated in the middle of a pass.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { hiddenStates, openModel } from '../../../dist/lib/index.js'

if (isMainThread) {
  const start = (role) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { base: process.argv[2], role } })
    const message = new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    return { worker, message }
  }
  const short = start('short')
  const endless = start('endless')
  await endless.message
  await endless.worker.terminate()
  console.log(await short.message)
  await short.worker.terminate()
} else {
  const model = await openModel(workerData.base, { threads: 1 })
  if (workerData.role === 'short') {
    const { data } = await hiddenStates(model, [Int32Array.of(5, 6, 7)], { layers: [3] })
    parentPort.postMessage(data.length)
    await model.close()
  } else {
    const prompts = Array.from({ length: 4000 }, (_, p) =>
      Int32Array.from({ length: 64 }, (_, i) => (p * 131 + i * 17) % 1000),
    )
    let told = false
    await hiddenStates(model, prompts, {
      layers: [3],
      onProgress: () => {
        if (!told) parentPort.postMessage('running')
        told = true
      },
    })
  }
}
