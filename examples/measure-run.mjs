// Measures every checkpoint of a fine-tuning run and prints how far each trait has drifted.
//
//   node examples/measure-run.mjs [base.gguf] [run folder] [trait pack] [layer]
import { fileURLToPath } from 'node:url'
import { drift, extractDirections, loadTraitPack, measureRun, openModel } from 'traitscope'

const tiny = (name) => fileURLToPath(new URL(`../test/fixtures/tiny/${name}`, import.meta.url))
const [base = tiny('base.gguf'), run = tiny('run'), traits = tiny('pack.yaml'), layer = '2'] =
  process.argv.slice(2)

const model = await openModel(base)
try {
  const pack = await loadTraitPack(traits)
  const directions = await extractDirections(model, pack, { layers: [Number(layer)], probes: false })
  const trajectory = await measureRun(model, directions, run, {
    pack,
    onCheckpoint: ({ step, done, of }) => console.error(`step ${step} measured (${done} of ${of})`),
  })
  for (const { step, values, norm } of drift(trajectory).slice(1)) {
    const largest = values.reduce(
      (best, value, t) => (Math.abs(value) > Math.abs(values[best]) ? t : best),
      0,
    )
    const sign = values[largest] < 0 ? '-' : '+'
    console.log(`step ${step}: drift ${norm.toFixed(4)}, most in ${sign}${trajectory.traits[largest]}`)
  }
} finally {
  await model.close()
}
