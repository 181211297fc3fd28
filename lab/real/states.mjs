// node lab/real/states.mjs BASE.gguf LAYERS OUT [PACK]: the states that directions are made of, question-major per trait and pole, as OUT.f32 and
// what they are as OUT.json: input of estimators.py. Needs `npm run build`.
import { writeFileSync } from 'node:fs'
import { hiddenStates } from '../../dist/lib/hidden-states/hidden-states.js'
import { openModel } from '../../dist/lib/model/model.js'
import { ChatTemplate } from '../../dist/lib/prompts/chat-template.js'
import { extractionPrompts } from '../../dist/lib/prompts/prompt-sets.js'
import { chatTokens } from '../../dist/lib/prompts/prompt-tokens.js'
import { loadTraitPack, selectTraits } from '../../dist/lib/prompts/trait-pack.js'

const [path, layersText, out, source = 'core'] = process.argv.slice(2)
const layers = layersText.split(',').map(Number)
const pack = await loadTraitPack(source)
const traits = selectTraits(pack, 'core')
const model = await openModel(path, { threads: 1, layers })
const template = ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement })
const parts = []
for (const trait of traits) {
  const { positive, negative } = extractionPrompts(pack, trait)
  for (const pole of [positive, negative]) {
    const { data } = await hiddenStates(model, await chatTokens(model, template, pole), { layers })
    parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
  }
}
const about = {
  base: { name: model.info.name, fingerprint: model.fingerprint },
  pack: { name: pack.name, version: pack.version, contentHash: pack.contentHash },
  layers,
  nEmbd: model.info.nEmbd,
  questions: pack.questions.length,
  traits: traits.map(({ name }) => name),
}
writeFileSync(`${out}.f32`, Buffer.concat(parts))
writeFileSync(`${out}.json`, JSON.stringify(about))
await model.close()
