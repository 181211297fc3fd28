// Mutation run over the TypeScript that a verdict is made of: Stryker changes it in some thousand small ways, and the unit
// tests must notice. Files of HELD must reach 90 %; the others are told.
//
//   node scripts/mutation/run.mjs [--processes 2] [file or folder ...]     default: all of SCOPE; about an hour on two idle cores
//
// Stryker is 64 MB in 170 packages, so it is no dependency: it is fetched into build/mutation once.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const STRYKER = '9.6.1'
const SCOPE = [
  'lib/detector',
  'lib/drift',
  'lib/trajectory',
  'lib/model/lora',
  'lib/formats/files/keyed-store.ts',
]
const HELD = [
  'lib/detector/detector.ts',
  'lib/detector/novelty.ts',
  'lib/detector/prediction-bands.ts',
  'lib/detector/run-verdicts.ts',
  'lib/detector/trajectory-verdicts.ts',
  'lib/detector/step-alarm.ts',
  'lib/detector/verdict.ts',
  'lib/formats/files/keyed-store.ts',
  'lib/trajectory/step0-cache.ts',
]
const LEAST = 0.9

const root = fileURLToPath(new URL('../..', import.meta.url))
const home = join(root, 'build', 'mutation')
const report = join(home, 'mutation.json')
const { values, positionals } = parseArgs({
  options: { processes: { type: 'string', default: '2' } },
  allowPositionals: true,
})
const scope = positionals.length > 0 ? positionals : SCOPE

install()
const config = {
  testRunner: 'vitest',
  plugins: [join(home, 'node_modules/@stryker-mutator/vitest-runner/dist/src/index.js')],
  vitest: { configFile: 'scripts/mutation/vitest.config.mjs', related: true },
  coverageAnalysis: 'perTest',
  mutate: scope.map((path) => (path.endsWith('.ts') ? path : `${path}/**/*.ts`)),
  // What a message says is held by tests that read it, not by every word of it.
  mutator: { excludedMutations: ['StringLiteral'] },
  concurrency: Number(values.processes),
  ignorePatterns: ['build/cmake', 'build/mutation', 'deps', 'dist', 'benchmarks'],
  // TypeScript 7 has no API that Stryker could rewrite a tsconfig with, and vitest needs none.
  tsconfigFile: 'none.json',
  tempDirName: join(home, 'sandbox'),
  reporters: ['progress-append-only', 'json'],
  jsonReporter: { fileName: report },
  incremental: true,
  incrementalFile: join(home, 'incremental.json'),
}
writeFileSync(join(home, 'stryker.json'), JSON.stringify(config, null, 2))
const bin = join(home, 'node_modules/@stryker-mutator/core/bin/stryker.js')
const { status } = spawnSync(process.execPath, [bin, 'run', join(home, 'stryker.json')], {
  cwd: root,
  stdio: 'inherit',
})
if (status !== 0) process.exit(status ?? 1)
process.exitCode = tell(JSON.parse(readFileSync(report, 'utf8')))

function install() {
  mkdirSync(join(home, 'node_modules'), { recursive: true })
  const found = join(home, 'node_modules/@stryker-mutator/core/package.json')
  if (!existsSync(found) || JSON.parse(readFileSync(found, 'utf8')).version !== STRYKER) {
    writeFileSync(join(home, 'package.json'), '{ "private": true }')
    const packages = ['core', 'vitest-runner'].map((name) => `@stryker-mutator/${name}@${STRYKER}`)
    // The runner takes the project's own vitest, not another copy.
    const flags = ['--legacy-peer-deps', '--no-audit', '--no-fund', '--ignore-scripts']
    execFileSync('npm', ['install', ...flags, ...packages], { cwd: home, stdio: 'inherit' })
  }
  const vitest = join(home, 'node_modules/vitest')
  rmSync(vitest, { recursive: true, force: true })
  symlinkSync(join(root, 'node_modules/vitest'), vitest)
}

/** Prints the score by file and every survivor; 1 when a held file falls short. */
function tell({ files }) {
  let short = 0
  const lines = []
  const all = { killed: 0, counted: 0 }
  for (const [path, { mutants, source }] of Object.entries(files).sort()) {
    const text = source.split('\n')
    const is = (...kinds) => mutants.filter((mutant) => kinds.includes(mutant.status))
    const killed = is('Killed', 'Timeout').length
    const survivors = is('Survived', 'NoCoverage')
    const counted = killed + survivors.length
    if (counted === 0) continue
    all.killed += killed
    all.counted += counted
    const held = HELD.includes(path)
    const low = held && killed / counted < LEAST
    if (low) short++
    lines.push(
      `${path}: ${killed} of ${counted} (${((100 * killed) / counted).toFixed(1)} %)${low ? ', TOO FEW' : held ? ', held' : ''}`,
    )
    for (const { location, mutatorName, replacement, status } of survivors) {
      const { line } = location.start
      const change = (replacement ?? '').replace(/\s+/g, ' ').slice(0, 90)
      lines.push(
        `  ${status === 'Survived' ? 'survived' : 'no test'} ${line}: ${text[line - 1].trim().slice(0, 90)}  [${mutatorName}: ${change}]`,
      )
    }
  }
  console.log(lines.join('\n'))
  console.log(`all: ${all.killed} of ${all.counted} (${((100 * all.killed) / all.counted).toFixed(1)} %)`)
  return short > 0 ? 1 : 0
}
