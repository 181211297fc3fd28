// One trial in a process of its own: JSON arguments in, one JSON line out.
import { openModel } from '../dist/lib/index.js'
import { OPERATIONS } from './cases.mjs'

const settings = JSON.parse(process.argv[2])
const operation = OPERATIONS[settings.operation]
const { run } = await import(operation.module)
const [threads, others] = settings.threads ?? []
const model = await openModel(settings.model, others === undefined ? { threads } : {})
try {
  const layer = settings.layer ?? Math.floor(model.info.nLayer / 2)
  const result = await run(model, { ...settings, operation, layer })
  console.log(JSON.stringify({ layer, ...result }))
} finally {
  await model.close()
}
