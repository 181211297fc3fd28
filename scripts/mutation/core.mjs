// Mutation run over native/core: a seeded draw of line mutations, each compiled, linked and run against the core's tests.
//
//   node scripts/mutation/core.mjs [--count 100] [--seed 1]       about half an hour
//
// A mutation that does not compile is drawn again. What a crash, a failed check or more than two minutes tell is noticed.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildFolder, buildNative } from '../build-native.mjs'
import { root } from '../llama-source.mjs'

const { values } = parseArgs({
  options: { count: { type: 'string', default: '100' }, seed: { type: 'string', default: '1' } },
})
const core = join(root, 'native', 'core')
const work = join(root, 'build', 'mutation', 'core')
const model = join(root, 'test/fixtures/tiny/base.gguf')

/** Each turns a line into a mutant, or leaves it as it is. clang-format puts spaces around binary operators. */
const OPERATORS = [
  swap('<', '<='),
  swap('<=', '<'),
  swap('>', '>='),
  swap('>=', '>'),
  swap('==', '!='),
  swap('!=', '=='),
  swap('&&', '||'),
  swap('||', '&&'),
  swap('+', '-'),
  swap('-', '+'),
  swap('*', '/'),
  swap('/', '*'),
  swap('+=', '-='),
  swap('-=', '+='),
  (line) => line.replace(/\btrue\b/, 'false'),
  (line) => line.replace(/\bfalse\b/, 'true'),
  (line) => line.replace(/(?<=[ (])(\d+)(?=[;,) ])/, (n) => `${Number(n) + 1}`),
  (line) => line.replace(/\bif \((?!!)(.+)\) \{$/, 'if (!($1)) {'),
  (line) => line.replace(/\+\+(?=\w)|(?<=\w)\+\+/, '--'),
  (line) => line.replace(/^\s*(?:[\w.>\-[\]]+ [-+*]?= .*|[\w.>:-]+\(.*\));$/, ';'),
]

function swap(from, to) {
  return (line) => line.replace(` ${from} `, ` ${to} `)
}

if (spawnSync('ninja', ['--version']).status !== 0) throw new Error('expected ninja, found none; install it')
buildNative()
execFileSync('cmake', ['--build', buildFolder, '--target', 'core_test', '--parallel', '2'], { stdio: 'pipe' })
const commands = execFileSync('ninja', ['-C', buildFolder, '-t', 'commands', 'core_test'], {
  encoding: 'utf8',
  maxBuffer: 2 ** 28,
})
  .split('\n')
  .filter((line) => line.includes('core_test'))
const link = commands.find((line) => / -o core_test /.test(line))
mkdirSync(work, { recursive: true })

const random = generator(Number(values.seed))
const candidates = shuffled(allMutants())
const wanted = Number(values.count)
const survivors = []
let noticed = 0
let drawn = 0
for (const mutant of candidates) {
  if (noticed + survivors.length >= wanted) break
  drawn++
  const verdict = judge(mutant)
  if (verdict === 'no program') continue
  if (verdict === 'survived') survivors.push(mutant)
  else noticed++
  const { file, number, line, changed } = mutant
  console.log(`${verdict}  ${file}:${number}: ${line.trim()}  ->  ${changed.trim()}`)
}
const total = noticed + survivors.length
console.log(
  `${noticed} of ${total} noticed (${((100 * noticed) / total).toFixed(0)} %), ${drawn} drawn, seed ${values.seed}`,
)

function allMutants() {
  return (
    readdirSync(core)
      // What measures speed makes no number.
      .filter((name) => name.endsWith('.cpp') && name !== 'matmul_rate.cpp')
      .sort()
      .flatMap((file) => {
        const lines = readFileSync(join(core, file), 'utf8').split('\n')
        return lines.flatMap((line, i) => {
          // Comments, includes and texts are no code.
          if (/^\s*(\/\/|#|\/\*|\*)/.test(line) || line.includes('"')) return []
          return OPERATORS.map((operator) => operator(line))
            .filter((changed) => changed !== line)
            .map((changed) => ({ file, number: i + 1, line, changed }))
        })
      })
  )
}

function judge({ file, number, changed }) {
  const lines = readFileSync(join(core, file), 'utf8').split('\n')
  lines[number - 1] = changed
  const source = join(work, file)
  const object = join(work, `${basename(file, '.cpp')}.o`)
  const program = join(work, 'core_test')
  writeFileSync(source, lines.join('\n'))
  const own = `native/core/${file}`
  const compile = commands.find((line) => line.includes(own) && line.includes(' -c '))
  const made = compile
    .replace(new RegExp(`-o \\S*${escaped(own)}\\.o`), `-o ${object}`)
    .replace(new RegExp(`-c \\S*${escaped(own)}`), `-c ${source}`)
    .replace(/-MF \S+/, `-MF ${object}.d`)
  if (!succeeds(made)) return 'no program'
  const linked = link
    .replace(new RegExp(`\\S*${escaped(own)}\\.o`), object)
    .replace(/ -o core_test /, ` -o ${program} `)
  if (!succeeds(linked)) return 'no program'
  const { status, error } = spawnSync(program, [model], { stdio: 'ignore', timeout: 120_000 })
  return status === 0 && !error ? 'survived' : 'noticed '
}

function succeeds(command) {
  // Warnings are errors in this build: a mutant may warn.
  return (
    spawnSync(command.replaceAll('-Werror', ''), { cwd: buildFolder, shell: true, stdio: 'ignore' })
      .status === 0
  )
}

function escaped(text) {
  return text.replace(/[.\\/]/g, '\\$&')
}

/** Mulberry32: uniform in [0, 1), the same for a seed everywhere. */
function generator(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

function shuffled(values) {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[values[i], values[j]] = [values[j], values[i]]
  }
  return values
}
