// node lab/real/answer_states.mjs BASE.gguf LAYERS ANSWERS.jsonl OUT: what a fitted judge reads of every answer, as OUT.f32, layer by layer
// [answers, 2 nEmbd] (mean over all tokens, then the last one). Input of judge.py. Needs `npm run build`.
import { readFileSync, writeFileSync } from 'node:fs'
import { answerStates } from '../../dist/lib/labels/judges/answer-states.js'
import { openModel } from '../../dist/lib/model/model.js'

const [path, layersText, answers, out] = process.argv.slice(2)
const layers = layersText.split(',').map(Number)
const texts = readFileSync(answers, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line, i) => ({ name: `answer ${i + 1}`, ...JSON.parse(line) }))
const model = await openModel(path, { threads: 1, layers })
const states = await answerStates(model, texts, layers, {
  onProgress: (share) => process.stderr.write(`\r${Math.round(100 * share)} %`),
})
writeFileSync(
  `${out}.f32`,
  Buffer.concat(states.map(({ data }) => Buffer.from(Float32Array.from(data).buffer))),
)
await model.close()
