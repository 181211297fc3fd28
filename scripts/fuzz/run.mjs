// Long runs: node scripts/fuzz/run.mjs --cases 200000 --seed 1 [--reader gguf] [--first 0] [--minutes 10]
// Prints every finding as it comes, then a table of readers and outcomes; exits with 1 when there was a finding.
// --cli runs the cases through the command line instead, --json prints one object for programs.
// A single case again: --reader gguf --seed 1 --first 123 --cases 1
import { parseArgs } from 'node:util'
import { READERS } from './cases.mjs'
import { FuzzCli } from './cli.mjs'
import { EXPECTED, FuzzWorker } from './pool.mjs'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    minutes: { type: 'string', default: 'Infinity' },
    cli: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    reader: { type: 'string', multiple: true, default: READERS },
  },
})
const unknown = values.reader.find((reader) => !READERS.includes(reader))
if (unknown !== undefined) {
  console.error(`--reader must be one of ${READERS.join(', ')}, found ${unknown}`)
  process.exit(2)
}

const worker = values.cli ? new FuzzCli() : new FuzzWorker()
const table = Object.fromEntries(values.reader.map((reader) => [reader, {}]))
const codes = {}
const deadline = Date.now() + Number(values.minutes) * 60_000
const first = Number(values.first)
const findings = []
for (let i = 0; i < Number(values.cases) && Date.now() < deadline; i++) {
  const reader = values.reader[i % values.reader.length]
  const index = first + Math.floor(i / values.reader.length)
  const { outcome, detail, message, notes } = await worker.run({ reader, seed: Number(values.seed), index })
  table[reader][outcome] = (table[reader][outcome] ?? 0) + 1
  if (outcome === 'error') codes[`${reader} ${detail}`] = (codes[`${reader} ${detail}`] ?? 0) + 1
  if (Number(values.cases) === 1) console.log(outcome, detail ?? '', message ?? '', notes)
  if (EXPECTED.includes(outcome)) continue
  const repeat = `${values.cli ? '--cli ' : ''}--reader ${reader} --seed ${values.seed} --first ${index}`
  findings.push(`${outcome}: ${repeat} [${notes.join('; ')}] ${detail ?? ''}`)
  if (!values.json) console.log(findings.at(-1))
}
await worker.close()
if (values.json) console.log(JSON.stringify({ table, codes, findings }))
else {
  console.table(table)
  console.table(codes)
}
process.exitCode = findings.length > 0 ? 1 : 0
