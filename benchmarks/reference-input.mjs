// Writes what lab/bench_reference.py needs: the evaluation prompts as token ids and a random adapter that fits the base.
//
//   node benchmarks/reference-input.mjs MODEL.gguf OUT_DIR
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeRandomAdapter } from '../dist/lib/hidden-states/random-adapter.js'
import { openModel } from '../dist/lib/index.js'
import { tokensOf } from './operations/read-states.mjs'

const [path, out] = process.argv.slice(2)
if (out === undefined) {
  console.error('usage: node benchmarks/reference-input.mjs MODEL.gguf OUT_DIR')
  process.exit(2)
}
mkdirSync(out, { recursive: true })
const model = await openModel(path)
const prompts = await tokensOf(model, 'evaluation')
writeFileSync(join(out, 'prompts.json'), JSON.stringify(prompts.map((ids) => [...ids])))
await writeRandomAdapter(join(out, 'adapter'), model.gguf, 16)
await model.close()
