// How many texts differ between batch sizes, per type of the weights, and whether each first differing token was as near
// a choice as rounding explains.
//
//   node benchmarks/batch-differences.mjs MODEL.gguf [--types source,F16,BF16,Q8_0,Q4_K_M] [--prompts 40] [--tokens 48]
//     [--sequences 8,40] [--threads 1]
//
// Compared with one sequence at a time: greedy, and sampled at temperature 1 (and with top-p .9, top-k 50, min-p .02).
// `error`: the largest change of a chosen token's log-probability. `margin`: the surest choice that fell otherwise, in
// units of logits; rounding explains it where it is below twice the error of a logit that docs/accuracy.md states for
// float32 weights. Other types round activations too, differently in batches of different sizes.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../dist/bin/output.js'
import { batchDifferences } from '../dist/lib/bench/batch-differences.js'
import { binding } from '../dist/lib/binding.js'
import { openModel } from '../dist/lib/index.js'
import { tokensOf } from './operations/read-states.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    types: { type: 'string', default: 'source,F16,BF16,Q8_0,Q4_K_M' },
    prompts: { type: 'string', default: '40' },
    tokens: { type: 'string', default: '48' },
    sequences: { type: 'string', default: '8,40' },
    threads: { type: 'string', default: '1' },
  },
})
const [source] = positionals
if (!source) {
  console.error(
    'usage: node benchmarks/batch-differences.mjs MODEL.gguf [--types source,F16,BF16,Q8_0,Q4_K_M]',
  )
  process.exit(2)
}
const WAYS = {
  greedy: {},
  sampled: { temperature: 1 },
  truncated: { temperature: 1, topP: 0.9, topK: 50, minP: 0.02 },
}

const folder = mkdtempSync(join(tmpdir(), 'traitscope-batches-'))
const rows = []
try {
  for (const type of values.types.split(',')) {
    const path = type === 'source' ? source : join(folder, 'model.gguf')
    if (type !== 'source') await binding().quantize(source, path, type, Number(values.threads))
    const model = await openModel(path, { threads: Number(values.threads) })
    const prompts = (await tokensOf(model, 'evaluation')).slice(0, Number(values.prompts))
    for (const [way, sampling] of Object.entries(WAYS)) {
      const generate = async (sequences) =>
        (
          await model.generate(prompts, {
            ...sampling,
            maxTokens: Number(values.tokens),
            logprobs: {},
            margins: true,
            sequences,
          })
        ).generations
      const alone = await generate(1)
      for (const sequences of values.sequences.split(',').map(Number)) {
        const found = batchDifferences(alone, await generate(sequences))
        const margins = found.differing.map(({ margin }) => margin)
        rows.push([
          type === 'source' ? basename(source) : type,
          way,
          String(sequences),
          `${found.differing.length} of ${found.sequences}`,
          found.error.toExponential(1),
          margins.length > 0 ? Math.max(...margins).toExponential(1) : '-',
        ])
        console.error(rows.at(-1).join('  '))
      }
    }
    await model.close()
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(table(['weights', 'choice', 'at once', 'texts differ', 'error', 'margin'], rows).join('\n'))
