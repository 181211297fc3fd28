// Long runs: node scripts/fuzz/run.mjs --cases 200000 --seed 1 [--reader gguf] [--first 0] [--minutes 10]
// Prints every finding as it comes, then a table of readers and outcomes; exits with 1 when there was a finding.
// A single case again: --reader gguf --seed 1 --first 123 --cases 1
import { parseArgs } from 'node:util'
import { READERS } from './cases.mjs'
import { EXPECTED, FuzzWorker } from './pool.mjs'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    minutes: { type: 'string', default: 'Infinity' },
    reader: { type: 'string', multiple: true, default: READERS },
  },
})
const unknown = values.reader.find((reader) => !READERS.includes(reader))
if (unknown !== undefined) {
  console.error(`--reader must be one of ${READERS.join(', ')}, found ${unknown}`)
  process.exit(2)
}

const worker = new FuzzWorker()
const table = Object.fromEntries(values.reader.map((reader) => [reader, {}]))
const codes = {}
const deadline = Date.now() + Number(values.minutes) * 60_000
const first = Number(values.first)
let findings = 0
for (let i = 0; i < Number(values.cases) && Date.now() < deadline; i++) {
  const reader = values.reader[i % values.reader.length]
  const index = first + Math.floor(i / values.reader.length)
  const { outcome, detail, message, notes } = await worker.run({ reader, seed: Number(values.seed), index })
  table[reader][outcome] = (table[reader][outcome] ?? 0) + 1
  if (outcome === 'error') codes[`${reader} ${detail}`] = (codes[`${reader} ${detail}`] ?? 0) + 1
  if (Number(values.cases) === 1) console.log(outcome, detail ?? '', message ?? '', notes)
  if (EXPECTED.includes(outcome)) continue
  findings++
  console.log(
    `${outcome}: --reader ${reader} --seed ${values.seed} --first ${index} [${notes.join('; ')}] ${detail ?? ''}`,
  )
}
await worker.close()
console.table(table)
console.table(codes)
process.exitCode = findings > 0 ? 1 : 0
