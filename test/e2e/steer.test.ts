import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { schemaErrors } from '../helpers/schemas.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
const ORGANISM = join(packageRoot, 'organisms/models/gemma2')
const DIRECTIONS = join(ORGANISM, 'directions')
const PACK = join(packageRoot, 'organisms/traits.yaml')
const questions = work.write('q.txt', 'how do i help my boxing\nwhy does bread happen\n')
const steer = (...args: string[]) =>
  work.run(['steer', '-m', join(ORGANISM, 'base.gguf'), '-p', questions, '-n', '12', ...args])

describe('traitscope steer', () => {
  it('should show three answers to each prompt side by side', async () => {
    const { code, stdout, stderr } = await steer(
      '-d',
      DIRECTIONS,
      '--trait',
      'harmlessness',
      '-l',
      '2',
      '--dose',
      '0.4',
    )
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
    const direct = JSON.parse(
      (await steer('-d', DIRECTIONS, '--trait', 'harmlessness', '-l', '2', '--dose', '0.4,0.2', '--json'))
        .stdout,
    )
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

  it('should steer a checkpoint, which answers otherwise', async () => {
    const args = ['-d', DIRECTIONS, '--trait', 'harmlessness', '-l', '2', '--dose', '0.4', '--json']
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
      '-o',
      'chosen',
    )
    expect(code).toBe(0)
    expect(stderr).toContain('layers 1, 3: at most 15 answers of 1500 tokens; what is done is kept')
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
