/**
 * Kills `traitscope label` at random moments with SIGKILL and starts it again, until it was killed so often and may end:
 *
 *     npm run build:ts && node scripts/kill-labels.mjs --kills 100 --seed 1
 *
 * Afterwards there is one answer and one grade per question, draw and step, what was on the disk before a kill is there as it
 * was, and of the calls to the judge at most those that were under way were made again. A test runs it with five kills.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { repository } from './stages.mjs'

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '100' }, seed: { type: 'string', default: '1' } },
})
const [kills, seed] = [Number(values.kills), Number(values.seed)]
const [questions, draws, steps, atOnce] = [5, 4, 3, 4]

let state = seed
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 32
}

const folder = mkdtempSync(join(tmpdir(), 'traitscope-kill-'))
const out = join(folder, 'labels')
writeFileSync(
  join(folder, 'questions.jsonl'),
  Array.from({ length: questions }, (_, i) => JSON.stringify({ id: `q${i}`, prompt: `hello ${i}` })).join(
    '\n',
  ),
)
/** Calls that were answered. */
let calls = 0
const judge = createServer((request, response) => {
  request.resume().on('end', () => {
    // Slow enough for a kill to find calls under way.
    setTimeout(() => {
      calls++
      const message = { role: 'assistant', content: String(10 + (calls % 80)) }
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ model: 'judge', choices: [{ index: 0, message, finish_reason: 'stop' }] }))
    }, 10)
  })
})
await new Promise((resolve) => judge.listen(0, '127.0.0.1', resolve))

const args = [
  ...[join(repository, 'dist/bin/traitscope.js'), 'label', '-q', '--no-cache'],
  ...['-m', join(repository, 'test/fixtures/tiny/base.gguf'), join(repository, 'test/fixtures/tiny/run')],
  ...[
    '-o',
    out,
    '--questions',
    join(folder, 'questions.jsonl'),
    '--steps',
    '20,60',
    '--draws',
    String(draws),
  ],
  ...['-n', '12', '--judge-url', `http://127.0.0.1:${judge.address().port}/v1`],
  ...['--judge-name', 'judge', '--judge-calls', String(atOnce)],
]

const logs = () => {
  const names = readdirSync(folder).includes('labels') ? readdirSync(out) : []
  return names.filter((name) => name.endsWith('.jsonl')).map((name) => join(out, name))
}
/** Whole lines of a log. */
const linesOf = (path) => readFileSync(path, 'utf8').split('\n').slice(0, -1)

let killed = 0
/** Since the labels were begun. */
let killedHere = 0
let longest = 1500
try {
  for (;;) {
    const before = new Map(logs().map((path) => [path, linesOf(path)]))
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', (text) => {
      said += text
    })
    const begun = performance.now()
    const timer = killed < kills ? setTimeout(() => child.kill('SIGKILL'), longest * random()) : undefined
    const { code, signal } = await new Promise((resolve) =>
      child.on('exit', (code, signal) => resolve({ code, signal })),
    )
    clearTimeout(timer)
    for (const [path, lines] of before) {
      assert.deepEqual(linesOf(path).slice(0, lines.length), lines, `${path} lost what it held`)
    }
    if (signal === 'SIGKILL') {
      killed++
      killedHere++
    } else {
      assert.equal(code, 0, said)
      longest = Math.max(300, performance.now() - begun)
      if (killed >= kills) break
      // It ended before it was killed: begin anew, so that every kill finds work.
      check()
      rmSync(out, { recursive: true })
      calls = 0
      killedHere = 0
    }
  }
  check()
  console.log(`killed ${killed} times: one grade per answer, nothing lost`)
} finally {
  judge.close()
  judge.closeAllConnections()
  rmSync(folder, { recursive: true, force: true })
}

function check() {
  const wanted = questions * draws * steps
  for (const path of logs()) {
    const keys = linesOf(path).map((line) => {
      const { step, prompt_id, draw } = JSON.parse(line)
      return `${step} ${prompt_id} ${draw}`
    })
    assert.equal(keys.length, wanted, path)
    assert.equal(new Set(keys).size, wanted, path)
  }
  assert.equal(logs().length, 2)
  const grades = JSON.parse(readFileSync(join(out, 'grades.json'), 'utf8'))
  for (const { traitscope } of Object.values(grades)) assert.equal(traitscope.n_total, questions * draws)
  const most = 2 * (wanted + killedHere * atOnce)
  assert.ok(calls >= 2 * wanted && calls <= most, `${calls} calls, expected ${2 * wanted} to ${most}`)
}
