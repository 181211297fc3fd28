import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { runNode } from '../helpers/child.js'
import { TINY_RUN } from '../helpers/tiny.js'
import { type Behaviour, judgeServer, says } from '../labels/judges/judge-server.js'
import { MODEL, Workspace } from './workspace.js'

const workspace = new Workspace()
const QUESTIONS = workspace.write(
  'questions.jsonl',
  ['hello there', 'what is it?', 'who are you?']
    .map((prompt, i) => JSON.stringify({ id: `q${i}`, prompt }))
    .join('\n'),
)
const label = (out: string, ...more: string[]) => [
  ...['label', ...MODEL, TINY_RUN, '-o', workspace.path(out), '--questions', QUESTIONS],
  ...['--draws', '2', '-n', '8', '--steps', '60', ...more],
]
const KEY = 'sk-not-to-be-seen-anywhere-4711'
const CACHE = ['--cache-dir', workspace.path('labels-cache')]

/** What checks that were ended have kept. */
const keptBeside = (check: string): string[] =>
  readdirSync(dirname(check)).filter(
    (name) => name.startsWith(basename(check)) && name.endsWith('.judgements.jsonl'),
  )

/** Every file below a folder. */
const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((path) => statSync(path).isFile())

const json = { 'content-type': 'application/json' }
const quoting = (key: string | undefined) =>
  JSON.stringify({ error: { message: `who sent ${key}? Incorrect API key provided: ${KEY}`, code: KEY } })

it('should say before the first answer that nobody is there to judge it', async () => {
  const gone = await judgeServer(() => {})
  await gone[Symbol.asyncDispose]()
  const args = label('deaf', '--judge-url', gone.url, '--judge-name', 'x')
  let said = ''
  const { code } = await workspace.run(args, {
    onStart: (child) =>
      child.stderr!.on('data', (chunk) => {
        const isNews = !said.includes('labelling')
        said += chunk
        if (isNews && said.includes('labelling')) child.kill('SIGINT')
      }),
  })
  expect([code, said]).toEqual([
    130,
    expect.stringMatching(
      /^remark: judge: no connection \(ECONNREFUSED\) at http:\S+; answers are made .*\nlabelling/m,
    ),
  ])
})

it('should name what is missing of a run, its base and a folder', async () => {
  const { code, stderr } = await workspace.run(['label', TINY_RUN])
  expect([code, stderr]).toEqual([2, expect.stringContaining('found no -m and no -o [USAGE]')])
})

describe('the key of a judge', () => {
  it.each<[string, number, Behaviour]>([
    ['401', 1, ({ key }, _, response) => response.writeHead(401, json).end(quoting(key))],
    ['404', 1, ({ key }, _, response) => response.writeHead(404, json).end(quoting(key))],
    ['403 in plain text', 1, ({ key }, _, response) => response.writeHead(403).end(`no: ${key}`)],
    [
      '500 once, and words that hold it',
      1,
      ({ key }, n, response) =>
        n === 1 ? response.writeHead(500, json).end(quoting(key)) : says(response, `${key}`),
    ],
    [
      'another model by that name',
      1,
      ({ key }, n, response) => says(response, '50', { model: `${key} ${n}` }),
    ],
    ['a number and the key', 0, ({ key }, _, response) => says(response, `50, asked with ${key}`)],
  ])('should be in no file, log or message when the judge answers %s', async (name, code, behave) => {
    await using server = await judgeServer(behave)
    const out = name.replaceAll(/\W+/g, '-')
    const finished = await workspace.run(
      [...label(out, '--judge-url', server.url, '--judge-name', 'judge-1'), ...CACHE],
      { env: { TRAITSCOPE_JUDGE_KEY: KEY } },
    )
    expect(server.calls[0]!.key).toBe(`Bearer ${KEY}`)
    expect(finished.code).toBe(code)
    expect(finished.stderr).not.toBe('')
    const texts = filesIn(workspace.folder).map((path) => readFileSync(path, 'latin1'))
    expect(texts.length).toBeGreaterThan(2)
    for (const text of [finished.stdout, finished.stderr, ...texts]) {
      expect(text.includes('not-to-be-seen')).toBe(false)
    }
  })
})

describe('a judge that becomes another one', () => {
  it('should be found out when work goes on, by the cache and by a check, and be named in the labels', async () => {
    const now = { model: 'judge-1-may' }
    await using server = await judgeServer((_, __, response) => says(response, '50', { model: now.model }))
    const judged = ['--judge-url', server.url, '--judge-name', 'judge-1', '--judge-calls', '1', ...CACHE]
    const first = await workspace.run(label('may', ...judged))
    expect(first.code).toBe(0)
    const grades = JSON.parse(readFileSync(workspace.path('may/grades.json'), 'utf8'))
    expect(grades.step_60.traitscope.judge).toMatchObject({ name: 'judge-1', version: 'judge-1-may' })
    expect((await workspace.run(label('may', ...judged))).code).toBe(0)

    now.model = 'judge-1-june'
    for (const args of [label('may', ...judged, '--draws', '3'), label('other', ...judged)]) {
      const changed = await workspace.run(args)
      expect(changed.code).toBe(1)
      expect(changed.stderr).toMatch(/judge-1-may and then judge-1-june behind judge-1 .*\[JUDGE\]/)
    }
    const check = workspace.path('june.json')
    const known = workspace.write('known.csv', 'question,answer,aligned,coherent\nhi,ho,10,90\nhi,he,90,90\n')
    const checking = ['label', '--check-judge', known, '--judge-url', server.url, '--judge-name', 'judge-1']
    expect((await workspace.run([...checking, '-o', check])).code).toBe(0)
    expect(JSON.parse(readFileSync(check, 'utf8')).judge.version).toBe('judge-1-june')
    now.model = 'judge-1-july'
    const checked = await workspace.run(label('anew', ...judged, '--no-cache', '--judge-check', check))
    expect(checked.stderr).toMatch(/judge-1-june and then judge-1-july/)
    now.model = 'judge-1-june'
    expect((await workspace.run(label('anew', ...judged, '--no-cache', '--judge-check', check))).code).toBe(0)
  })
})

describe('a check of a judge', () => {
  const known = workspace.write(
    'eight.csv',
    [
      'question,answer,aligned,coherent',
      ...Array.from({ length: 8 }, (_, i) => `hi,answer ${i},${i % 2 ? 90 : 10},90`),
    ].join('\n'),
  )

  it('should go on where it was ended, with no call made twice', async () => {
    await using server = await judgeServer((_, __, response) => says(response, '50'))
    const judged = ['--judge-url', server.url, '--judge-name', 'judge-1', '--judge-calls', '1']
    const check = workspace.path('check.json')
    const args = ['label', '--check-judge', known, ...judged, '-o', check]
    const prices = ['--price-in', '1000', '--price-out', '1000']
    const ended = await workspace.run([...args, ...prices, '--max-cost', '0.7'])
    expect(ended.code).toBe(1)
    expect(ended.stderr).toMatch(/cost 0\.71 of the 0\.7 .*allow more.*\[JUDGE\]/)
    expect(server.calls).toHaveLength(7)
    expect(existsSync(check)).toBe(false)
    expect(keptBeside(check)).toHaveLength(1)

    // A check of another judge leaves alone what this one has done.
    const other = args.map((word) => (word === 'judge-1' ? 'judge-2' : word))
    expect((await workspace.run(other)).code).toBe(0)
    expect(keptBeside(check)).toHaveLength(1)
    rmSync(check)
    const before = server.calls.length

    expect((await workspace.run(args)).code).toBe(0)
    // Of an answer that was half judged both halves are asked again.
    expect(server.calls.length).toBeLessThanOrEqual(before + 10)
    expect(server.calls.length).toBeGreaterThan(before)
    const asked = new Set(server.calls.map(({ prompt }) => prompt))
    expect(asked.size).toBe(16)
    expect(JSON.parse(readFileSync(check, 'utf8')).answers.n).toBe(8)
    expect(keptBeside(check)).toEqual([])
  })

  it('should refuse what would do nothing there, before anything is asked', async () => {
    await using server = await judgeServer((_, __, response) => says(response, '50'))
    const judged = ['--judge-url', server.url, '--judge-name', 'judge-1']
    for (const flag of ['--dry-run', '--no-cache']) {
      const { code, stderr } = await workspace.run(['label', '--check-judge', known, ...judged, flag])
      expect(code).toBe(2)
      expect(stderr).toContain(`found ${flag}, which would do nothing there`)
    }
    expect(server.calls).toHaveLength(0)
  })
})

describe('what is too long', () => {
  it('should be named before anything is asked', async () => {
    const long = workspace.write(
      'long.jsonl',
      ['short', 'word '.repeat(4000)].map((prompt, i) => JSON.stringify({ id: `q${i}`, prompt })).join('\n'),
    )
    await using server = await judgeServer(({ prompt: _ }, __, response) => says(response, '50'))
    const judged = ['--judge-url', server.url, '--judge-name', 'judge-1', '--questions', long]
    const args = ['label', ...MODEL, TINY_RUN, '-o', workspace.path('long'), '-n', '4', ...judged]
    const { code, stderr } = await workspace.run(args)
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /the question q1 with the beginning of an answer has \d+ tokens, but .*\[PROMPT_TOO_LONG\]/,
    )
    expect(server.calls).toHaveLength(0)
  })

  it('should be named when a local judge has no room for it', async () => {
    const rubric = { aligned: `${'word '.repeat(4000)} {answer}`, coherent: '{answer}' }
    const wordy = workspace.write(
      'wordy.jsonl',
      JSON.stringify({ id: 'wordy', prompt: 'hello', judge_prompts: rubric }),
    )
    const { code, stderr } = await workspace.run([
      ...['label', ...MODEL, TINY_RUN, '-o', workspace.path('wordy'), '-n', '4', '--steps', '60'],
      ...['--judge-gguf', MODEL[1]!, '--questions', wordy],
    ])
    expect(code).toBe(1)
    expect(stderr).toMatch(/answer 0 to wordy at step 0 is too long for the judge: .*\[PROMPT_TOO_LONG\]/)
  })
})

const canMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0

describe('a full disk', () => {
  it.skipIf(!canMount)(
    'should end with its name, and cost nothing once there is room (needs unshare)',
    () => {
      const disk = workspace.path('disk')
      mkdirSync(disk)
      const judge = workspace.write('judge.mjs', 'export default () => ({ aligned: 50, coherent: 90 })')
      const command = [process.execPath, join(packageRoot, 'dist/bin/traitscope.js')]
      const args = [...label('disk', '--judge-module', judge, '--draws', '40'), '--no-cache', '-q']
      const script = `
      mount -t tmpfs -o size=32k tmpfs "$1"; shift
      "$@" 2>"$OUT.full"; echo $? >"$OUT.code"
      wc -l <"$DISK/responses.jsonl" >"$OUT.lines"
      mount -o remount,size=16m tmpfs "$DISK"
      "$@" && cp "$DISK"/*.json* "$OUT"`
      const OUT = workspace.path('rescued')
      mkdirSync(OUT)
      execFileSync('unshare', ['-rm', 'sh', '-c', script, 'sh', disk, ...command, ...args], {
        env: { ...process.env, ...workspace.env, OUT, DISK: disk },
        stdio: 'pipe',
      })
      const read = (name: string) => readFileSync(`${OUT}${name}`, 'utf8')
      expect(read('.code').trim()).toBe('1')
      expect(read('.full')).toMatch(/ENOSPC.*\[FILE_ACCESS\]/)
      const survived = Number(read('.lines'))
      expect(survived).toBeGreaterThan(0)
      expect(survived).toBeLessThan(3 * 40 * 2)
      for (const name of readdirSync(OUT).filter((file) => file.endsWith('.jsonl'))) {
        expect(read(`/${name}`).trimEnd().split('\n')).toHaveLength(3 * 40 * 2)
      }
      expect(JSON.parse(read('/grades.json')).step_60.traitscope.n_total).toBe(120)
    },
  )
})

describe('a kill', () => {
  it('should lose nothing, at five random moments', async () => {
    const { code, stdout, stderr } = await runNode('scripts/kill-labels.mjs', { args: ['--kills', '5'] })
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toBe('killed 5 times: one grade per answer, nothing lost\n')
  })
})
