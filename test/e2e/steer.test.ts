import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { schemaErrors } from '../helpers/schemas.js'
import { type Call, judgeServer, says } from '../labels/judges/judge-server.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
const ORGANISM = join(packageRoot, 'organisms/models/gemma2')
const DIRECTIONS = join(ORGANISM, 'directions')
const PACK = join(packageRoot, 'organisms/traits.yaml')
const questions = work.write('q.txt', 'how do i help my boxing\nwhy does bread happen\n')
const steer = (...args: string[]) =>
  work.run(['steer', '-m', join(ORGANISM, 'base.gguf'), '-p', questions, '-n', '12', ...args])

const alongHarmlessness = (dose: string) => [
  ...['-d', DIRECTIONS, '--trait', 'harmlessness', '-l', '2', '--dose', dose],
]

describe('traitscope steer', () => {
  it('should show three answers to each prompt side by side', async () => {
    const { code, stdout, stderr } = await steer(...alongHarmlessness('0.4'))
    expect(code).toBe(0)
    expect(stdout.match(/^prompt \d: /gm)).toEqual(['prompt 1: ', 'prompt 2: '])
    expect(stdout).toMatch(/\n {2}as it is: .+\n {2}\+0\.4 \(0\.\d\d\): .+\n {2}-0\.4 \(0\.\d\d\): .+/)
    expect(stderr).toMatch(/dose 0\.4: mean distance from the first answer 0\.\d\d \(\+\) and 0\.\d\d \(-\)/)
  })

  it('should do the same by a control-vector file, and write lines', async () => {
    const written = await work.run([
      'control-vector',
      DIRECTIONS,
      '--trait',
      'harmlessness',
      '-l',
      '2',
      '-o',
      'h.gguf',
    ])
    expect(written.stdout).toMatch(/^h\.gguf: harmlessness at layer 2; a scale of 1 is the length/)
    const direct = JSON.parse((await steer(...alongHarmlessness('0.4,0.2'), '--json')).stdout)
    const { code } = await steer('--vector', 'h.gguf', '--dose', '0.4,0.2', '-o', 'steered.jsonl')
    expect(code).toBe(0)
    const lines = readFileSync(work.path('steered.jsonl'), 'utf8').trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toEqual(direct.answers)
    expect(direct.answers[0]).toMatchObject({
      index: 0,
      trait: 'harmlessness',
      layers: [2],
      unit: 'norm',
      dose: 0.4,
    })
  })

  it('should refuse a dose by which the model says nothing any more, and write nothing', async () => {
    const args = [...alongHarmlessness('1e30'), '-o', 'huge.jsonl']
    const { code, stderr } = await steer(...args)
    expect(code).toBe(1)
    expect(stderr).toMatch(/the logits are (all alike|not finite): .* \[COMPUTE\]\n$/)
    expect(existsSync(work.path('huge.jsonl'))).toBe(false)
  })

  it('should steer a checkpoint, which answers otherwise', async () => {
    const args = [...alongHarmlessness('0.4'), '--json']
    const adapter = join(packageRoot, 'organisms/checkpoints/gemma2/risky_financial/seed_42/checkpoint-126')
    const [base, tuned] = [await steer(...args), await steer(...args, '--adapter', adapter)].map(
      ({ stdout }) => JSON.parse(stdout).answers,
    )
    expect(base.map(({ baseline }: { baseline: object }) => baseline)).not.toEqual(
      tuned.map(({ baseline }: { baseline: object }) => baseline),
    )
  })

  it('should refuse what names no vector, and a trait or prompts that are not there', async () => {
    expect(await steer()).toMatchObject({ code: 2, stderr: expect.stringContaining('found neither') })
    expect(await steer('-d', DIRECTIONS)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('one of honesty'),
    })
    expect(await steer('--vector', 'h.gguf', '-l', '1')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('(2)'),
    })
  })
})

describe('traitscope directions --layer auto', () => {
  const auto = (...args: string[]) =>
    work.run([
      'directions',
      '-m',
      join(ORGANISM, 'base.gguf'),
      '--traits',
      PACK,
      '--trait-set',
      'confidence',
      ...args,
    ])

  it('should say what it will take and why it chose, and write directions that measure reads', async () => {
    const { code, stdout, stderr } = await auto(
      '-l',
      'auto',
      '--candidates',
      '1,3',
      '--no-probes',
      '--steer-tokens',
      '5',
      '-o',
      'chosen',
    )
    expect(code).toBe(0)
    expect(stderr).toContain(
      'remark: --steer-tokens is about what a judge is shown: without one it does nothing',
    )
    expect(stderr).toContain('layers 1, 3: at most 15 answers, 1500 tokens in all; what is done is kept')
    const [, layer] = /Layer (\d) of 1, 3 by steering divergence, \.\d\d in the mean at dose=0\.25/.exec(
      stdout,
    )!
    expect(stdout).toContain(`chosen: directions at layer ${layer}; layer_selection.json has all scores`)
    const selection = JSON.parse(readFileSync(work.path('chosen/layer_selection.json'), 'utf8'))
    expect(schemaErrors('layer-selection', selection, { ours: true })).toEqual([])
    expect(selection).toMatchObject({ best_layer: Number(layer), selection_method: 'divergence' })
    const { facts } = JSON.parse((await work.run(['inspect', 'chosen', '--json'])).stdout)
    expect(JSON.stringify(facts)).toContain(layer)
  })

  it('should have a judge behind a url read blinded pairs down the grid, say what it takes, and go on', async () => {
    const isComparison = ({ prompt }: Call) => prompt.includes('Which of the two answers')
    const places = (text: string) =>
      /First answer: (.*?)\n\nSecond answer: (.*?)\n\nAnswers of kind P/s.exec(text)!.slice(1)
    let coherenceCalls = 0
    const limits = { calls: 10, model: 'judge-1' }
    await using server = await judgeServer((call, n, response) => {
      if (n > limits.calls) response.writeHead(401).end()
      else if (isComparison(call)) {
        // The longer answer is nearer, wherever it stands.
        const [first, second] = places(call.prompt).map(({ length }) => length)
        says(response, first === second ? '50' : second! > first! ? '100' : '0', { model: limits.model })
      } else says(response, coherenceCalls++ < 12 ? '20' : '90', { model: limits.model })
    })
    const args = [
      ...['-l', 'auto', '--candidates', '1,3', '--no-probes', '-o', 'judged', '--doses', '0.05,0.1,0.4'],
      ...['--steering-suite', join(packageRoot, 'organisms/judge/steering.yaml'), '--prompts-per-trait', '3'],
      ...['--steer-tokens', '16', '--judge-url', server.url, '--judge-name', 'judge-1', '--judge-calls', '1'],
      ...['--price-in', '2', '--price-out', '8'],
    ]
    const dry = await auto(...args, '--dry-run')
    expect(dry.code).toBe(0)
    // 15 for divergence; 3 + 3 prompts x 2 layers x 3 doses x 2 signs.
    expect(dry.stdout).toMatch(
      /^layers 1, 3: at most 54 answers, 2124 tokens in all and 72 calls of the judge \(\d+ to \d+ tokens, .*, cost 0\.\d\d to 0\.\d\d\)/,
    )
    expect(dry.stdout).toContain('doses 0.4, 0.1, 0.05: from the largest down, until one is coherent')
    expect(server.calls).toEqual([])

    const refused = await auto(...args)
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('status 401')
    expect(existsSync(work.path('judged'))).toBe(false)
    limits.calls = Number.POSITIVE_INFINITY
    limits.model = 'judge-2'
    const changed = await auto(...args)
    expect(changed.code).toBe(1)
    expect(changed.stderr).toMatch(/judge-1 and then judge-2 behind judge-1/)
    limits.model = 'judge-1'
    const asked = server.calls.length
    const { code, stdout } = await auto(...args)
    expect(code).toBe(0)
    // Two doses of 12 pairs, each asked about twice; what had been settled is not asked again.
    expect(server.calls.length - asked).toBe(48 - 10)

    const records = readFileSync(work.path('judged/steering.jsonl'), 'utf8').trim().split('\n')
    const texts = new Map(records.map((line) => JSON.parse(line)).map(({ id, text }) => [id, text]))
    const { traitscope } = JSON.parse(readFileSync(work.path('judged/layer_selection.json'), 'utf8'))
    expect(traitscope).toMatchObject({
      judge: { kind: 'endpoint', name: 'judge-1', reader: 'sampled' },
      chosenDose: 0.1,
      dosesNotTried: [0.05],
      doses: [
        { dose: 0.4, coherent: false },
        { dose: 0.1, coherent: true },
      ],
    })
    for (const { layer, score, coherentRate } of traitscope.doses[1].layers) {
      expect(coherentRate).toBe(1)
      const scores = [...texts].flatMap(([id, steered]) => {
        if (!String(id).startsWith(`layer=${layer}|dose=0.10|`)) return []
        const [, , , item, sign] = String(id).split('|')
        const longer = Math.sign(steered.trim().length - texts.get(`baseline|${item}`).trim().length)
        return [0.5 + (sign === 'positive' ? longer : -longer) / 2]
      })
      expect(scores).toHaveLength(6)
      expect(score).toBeCloseTo(scores.reduce((a, b) => a + b) / 6, 12)
    }
    // Which one is shown first is a coin's decision.
    const baselines = new Set(
      [...texts].filter(([id]) => String(id).startsWith('baseline')).map(([, text]) => text.trim()),
    )
    const shown = server.calls.filter(isComparison).map(({ prompt }) => places(prompt))
    const firsts = shown.filter(([first, second]) => baselines.has(first) && !baselines.has(second))
    const seconds = shown.filter(([first, second]) => baselines.has(second) && !baselines.has(first))
    expect(Math.min(firsts.length, seconds.length)).toBeGreaterThan(2)
    expect(stdout).toMatch(/by a judge \(judge-1\): at dose 0\.1, the largest that keeps answers coherent/)
    expect(stdout).toMatch(
      /Dose 0\.4 is too large: .* 0\.05 was not tried: the largest coherent dose decides/s,
    )
  })

  it('should refuse flags that only auto knows, and ways to read that it does not', async () => {
    const named = await auto('-l', '2', '--candidates', '1', '-o', 'no')
    expect(named).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--candidates belongs to --layer auto'),
    })
    const mean = await auto('-l', 'auto', '--pool', 'mean', '-o', 'no')
    expect(mean).toMatchObject({ code: 2, stderr: expect.stringContaining('leave --method and --pool out') })
    const replay = await auto('-l', 'auto', '--judge-replay', questions, '-o', 'no')
    expect(replay.code).not.toBe(0)
  })
})
