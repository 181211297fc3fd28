// How far a merged model is from the same base with the adapter attached, per type of the base.
//
//   node benchmarks/merge-error.mjs BASE.gguf ADAPTER [--types F16,Q8_0] [--scale 1,0.1] [--layer N] [--prompts 20]
//     [--traits PACK]
//
// Quantises a float base with llama.cpp (`source`: takes it as it is), then compares the states of questions of a trait
// pack's evaluation (last token, no chat template). Attached, the change is exact and the base's arithmetic the same, so
// that is the reference.
// `states`: ‖merged − attached‖ / ‖attached‖. `drift`: the same over ‖attached − base‖. `base` as the type of the merged
// weights keeps the base's types; `float` is what `--lora-mode merge` writes.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../dist/bin/output.js'
import { binding } from '../dist/lib/binding.js'
import { evaluationPrompts, hiddenStates, loadTraitPack, mergeAdapter, openModel } from '../dist/lib/index.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    types: { type: 'string', default: 'source,F16,BF16,Q8_0,Q4_K_M' },
    scale: { type: 'string', default: '1' },
    layer: { type: 'string' },
    prompts: { type: 'string', default: '20' },
    traits: { type: 'string', default: 'core' },
  },
})
const [source, adapter] = positionals
if (!adapter) {
  console.error(
    'usage: node benchmarks/merge-error.mjs BASE.gguf ADAPTER [--types F16,Q8_0] [--scale 1,0.1] [--layer N] [--prompts 20]',
  )
  process.exit(2)
}

/** ‖a − b‖ over ‖b − origin‖. */
function relative(a, b, origin) {
  let difference = 0
  let norm = 0
  for (let i = 0; i < a.length; i++) {
    difference += (a[i] - b[i]) ** 2
    norm += (b[i] - (origin?.[i] ?? 0)) ** 2
  }
  return Math.sqrt(difference / norm)
}

const folder = mkdtempSync(join(tmpdir(), 'traitscope-merge-error-'))
const questions = evaluationPrompts(await loadTraitPack(values.traits))
  .slice(0, Number(values.prompts))
  .map(({ messages }) => messages.at(-1).content)
const rows = []
try {
  for (const type of values.types.split(',')) {
    const path = type === 'source' ? source : join(folder, `${type}.gguf`)
    if (type !== 'source') await binding().quantize(source, path, type, 1)
    const base = await openModel(path)
    const prompts = await base.tokenize(questions)
    const layers = [values.layer === undefined ? base.info.nLayer - 1 : Number(values.layer)]
    const states = async (model, attached) =>
      (await hiddenStates(model, prompts, { layers, adapter: attached })).data
    const bare = await states(base)
    for (const scale of values.scale.split(',').map(Number)) {
      const attached = await base.attach(adapter, { strength: scale })
      const wanted = await states(base, attached)
      const cells = []
      for (const merged of [undefined, 'float']) {
        const out = join(folder, 'merged.gguf')
        await mergeAdapter(path, adapter, out, { type: merged, strength: scale, force: true })
        const model = await openModel(out)
        const found = await states(model)
        await model.close()
        cells.push(relative(found, wanted).toExponential(1), relative(found, wanted, bare).toExponential(1))
      }
      rows.push([type, String(scale), relative(wanted, bare).toFixed(3), ...cells])
      await attached.detach()
    }
    await base.close()
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(
  table(['base', 'scale', 'drift', 'base: states', 'drift', 'float: states', 'drift'], rows).join('\n'),
)
