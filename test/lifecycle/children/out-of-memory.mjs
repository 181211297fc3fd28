// Runs with little address space: what does not fit must reject with a code, never end the process.
import { hiddenStates, openModel } from '../../../dist/lib/index.js'

const [base, what] = process.argv.slice(2)
try {
  const options = what === 'load' ? { mmap: false } : { batchTokens: 8192 }
  const model = await openModel(base, { device: 'cpu', ...options }) // whose memory this process's is
  await hiddenStates(model, [Int32Array.of(5, 6, 7)], { layers: [0] })
  console.log('fits')
} catch (error) {
  console.log(error.code ?? error.stack)
  console.error(error.message)
}
