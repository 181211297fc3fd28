// Leaves with a model open and a pass running: no crash, the chosen exit code, no waiting for the pass. Or throws in the callback: the call
// rejects with just that.
import { hiddenStates, openModel } from '../../../dist/lib/index.js'

const model = await openModel(process.argv[2], { threads: 1 })
const prompts = Array.from({ length: 4000 }, (_, p) =>
  Int32Array.from({ length: 64 }, (_, i) => (p * 131 + i * 17) % 1000),
)
await hiddenStates(model, prompts, {
  layers: [3],
  onProgress: () => {
    if (process.argv[3] === 'exit') process.exit(7)
    throw new Error('thrown in a progress callback')
  },
})
