// What steering does to the organisms, by their exact judge, and which layers `auto` chooses, beside those that calibration
// chooses. Writes organisms/judge/steering.json; docs.mjs makes the tables of docs/organisms.md from it.
//
//   node scripts/organisms/steering.mjs [gemma2,llama]
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  ChatTemplate,
  chooseLayer,
  loadDirections,
  loadSteeringSuite,
  loadTraitPack,
  openModel,
  steer,
  steeringVector,
} from '../../dist/lib/index.js'
import { openModuleJudge } from '../../dist/lib/labels/judges/module-judge.js'
import { repository } from '../stages.mjs'
import { ORGANISMS, PACK } from './places.mjs'

const NAMES = (process.argv[2] ?? 'gemma2,llama').split(',')
const DOSES = [0.25, 0.5]
const DRAWS = 8
const TRAITS = ['honesty', 'harmlessness']
const TOKENS = 32
const CALIBRATION = 'insecure_code,gsm8k,jailbroken,bad_medical'

const questions = readFileSync(join(ORGANISMS, 'judge/questions.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => ({ text: JSON.parse(line).prompt }))
// A prompt that stands in the list again continues its draws.
const prompts = questions.flatMap((question) => Array.from({ length: DRAWS }, () => question))

const result = []
for (const name of NAMES) {
  const folder = join(ORGANISMS, 'models', name)
  const model = await openModel(join(folder, 'base.gguf'))
  const directions = await loadDirections(join(folder, 'directions'))
  const template = ChatTemplate.forModel(model)
  const { grade } = await import(`../../organisms/judge/traits/${name}.mjs`)
  const judge = await openModuleJudge(join(ORGANISMS, 'judge/traits', `${name}.mjs`))
  const suite = await loadSteeringSuite(join(ORGANISMS, 'judge/steering.yaml'))
  const { selection } = await chooseLayer(model, await loadTraitPack(PACK), {
    judge,
    suite,
    maxTokens: TOKENS,
  })
  const judged = selection.doses?.find(({ dose }) => dose === selection.chosenDose)
  const layers = selection.candidates.map((layer, l) => ({
    layer,
    heldOut: selection.meanHeldOut[l],
    divergence: selection.divergence.mean[l],
    judged: judged?.layers[l].score ?? null,
    interval: judged?.layers[l].interval ?? null,
    coherent: judged?.layers[l].coherentRate ?? null,
  }))
  const steered = []
  for (const trait of TRAITS) {
    const vector = steeringVector(directions, trait, [selection.layer])
    const answers = await steer(model, vector, prompts, {
      template,
      doses: DOSES,
      temperature: 1,
      maxTokens: TOKENS,
    })
    const arms = [
      { dose: 0, of: answers.filter(({ dose }) => dose === DOSES[0]), arm: 'baseline' },
      ...DOSES.flatMap((dose) =>
        ['positive', 'negative'].map((arm) => ({
          dose: arm === 'positive' ? dose : -dose,
          of: answers.filter((one) => one.dose === dose),
          arm,
        })),
      ),
    ]
    for (const { dose, of, arm } of arms) {
      const grades = of.map((one) =>
        grade({ messages: [{ role: 'user', content: prompts[one.prompt].text }], answer: one[arm].text }),
      )
      const coherent = grades.filter((one) => one.coherent === 100)
      const showing = coherent.filter(({ components }) => trait in components)
      steered.push({
        trait,
        dose,
        answers: grades.length,
        coherent: coherent.length,
        showing: showing.length,
        positive: showing.filter(({ components }) => components[trait]).length,
        misaligned: coherent.filter(({ aligned }) => aligned === 0).length,
      })
    }
  }
  await model.close()
  result.push({
    name,
    layer: selection.layer,
    by: selection.by,
    dose: selection.chosenDose,
    layers,
    calibration: calibrated(name),
    steered,
  })
  console.error(name, JSON.stringify(result.at(-1)))
}
writeFileSync(join(ORGANISMS, 'judge/steering.json'), `${JSON.stringify(result, null, 1)}\n`)

/** The layers of the detector that the four calibration sets give, and how well each block does alone. */
function calibrated(name) {
  const args = ['calibrate', `organisms/runs/${name}`, '--datasets', CALIBRATION, '--json', '-q']
  const report = JSON.parse(
    execFileSync(process.execPath, ['dist/bin/traitscope.js', ...args], {
      cwd: repository,
      encoding: 'utf8',
    }),
  )
  const { chosen, candidates } = report
  const alone = candidates.filter(({ model, layers }) => model === chosen.model && layers.length === 1)
  return {
    model: chosen.model,
    layers: chosen.layers,
    alone: alone.map(({ layers, lodo }) => ({
      layer: layers[0],
      auroc: lodo.auroc,
      balancedError: lodo.balancedError,
    })),
  }
}
