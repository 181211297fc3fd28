// Watches a run folder and stops on Ctrl-C, or as soon as the drift passes a limit of your own.
//
//   node examples/watch-run.mjs [base.gguf] [run folder] [trait pack] [layer] [limit]
import { fileURLToPath } from 'node:url'
import { extractDirections, loadTraitPack, openModel, watchRun } from 'traitscope'

const tiny = (name) => fileURLToPath(new URL(`../test/fixtures/tiny/${name}`, import.meta.url))
const [base = tiny('base.gguf'), run = tiny('run'), traits = tiny('pack.yaml'), layer = '2', limit = '0.1'] =
  process.argv.slice(2)

const stop = new AbortController()
const { signal } = stop
process.once('SIGINT', () => stop.abort())

const model = await openModel(base, { signal })
try {
  const pack = await loadTraitPack(traits)
  const directions = await extractDirections(model, pack, { layers: [Number(layer)], probes: false, signal })
  for await (const event of watchRun(model, directions, run, { pack, signal, order: 'oldest' })) {
    if (event.type === 'checkpoint') {
      const { norm } = event.drift[event.primary]
      console.log(`step ${event.step}: drift ${norm.toFixed(4)}`)
      if (norm > Number(limit)) {
        console.log(`the limit of ${limit} is passed`)
        stop.abort()
      }
    }
    if (event.type === 'waiting') console.log(`waiting: ${event.reason}`)
    if (event.type === 'error') console.log(`step ${event.step} cannot be measured: ${event.error.message}`)
    if (event.type === 'end') console.log(`ended: ${event.reason}, ${event.measured} checkpoints`)
  }
} finally {
  await model.close()
}
