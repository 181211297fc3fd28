import { cpSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { inContext } from '../../lib/contexts/context.js'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { openModel } from '../../lib/model/model.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { evaluationPrompts } from '../../lib/prompts/prompt-sets.js'
import { chatTokens } from '../../lib/prompts/prompt-tokens.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { readTrajectory } from '../../lib/trajectory/read-trajectory.js'
import { schemaErrors } from '../helpers/schemas.js'
import { TINY_BASE, TINY_PACK, TINY_RUN } from '../helpers/tiny.js'
import { writeTinyCalibration } from './tiny-calibration.js'
import { MODEL, MODEL_AND_PACK, Workspace } from './workspace.js'

const work = new Workspace()
let directions: string
let measure: string[]
beforeAll(async () => {
  directions = await work.directions()
  const run = work.path('run')
  for (const name of ['checkpoint-10', 'checkpoint-60']) {
    cpSync(join(TINY_RUN, name), join(run, name), { recursive: true })
  }
  measure = ['measure', ...MODEL_AND_PACK, '-d', directions, run, '--activations', 'none']
})

const gardener = 'You are a gardener with little time.'
const rows = Array.from({ length: 40 }, (_, i) => ({
  messages: [
    ...(i % 2 === 0 ? [{ role: 'system', content: gardener }] : []),
    { role: 'user', content: `${i % 4 === 1 ? 'Quickly: ' : ''}topic ${i} of the garden` },
    { role: 'assistant', content: 'Water it.' },
  ],
}))

describe('traitscope measure in contexts', () => {
  it('should give the numbers of reading the prompts in each context, and those without as before', async () => {
    const contexts = [{ name: 'short', system: 'Be brief.' }, { prefix: 'Listen:' }]
    const file = work.write('contexts.json', JSON.stringify(contexts))
    const out = work.path('given')
    const { stdout } = await work.succeed([...measure, '--context', file, '-o', out])
    expect(stdout).toMatch(/^in 2 contexts: \d+ prompt tokens a checkpoint, \d+ computed/m)
    const trajectory = await readTrajectory(out)
    const plain = JSON.parse((await work.succeed([...measure, '--json'])).stdout)
    expect(trajectory.layers).toEqual(plain.traitscope.layers)
    expect(plain.traitscope).not.toHaveProperty('contexts')
    expect(trajectory.contexts!.map(({ name }) => name)).toEqual(['short', 'prefix: Listen:'])
    expect(trajectory.measurement!.contextFiles).toEqual([
      { path: basename(file), sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ])

    // Oracle: each context's prompts as they are, one reading after another, projected here.
    await using model = await openModel(TINY_BASE)
    const pack = await loadTraitPack(TINY_PACK)
    const { layers, vectors, traits, nEmbd } = await loadDirections(directions)
    const template = ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement })
    for (const [c, context] of contexts.entries()) {
      const messages = evaluationPrompts(pack).map((one) => inContext(one.messages, context))
      const prompts = await chatTokens(model, template, messages)
      for (const [s, step] of [undefined, 10, 60].entries()) {
        await using adapter =
          step === undefined ? undefined : await model.attach(join(TINY_RUN, `checkpoint-${step}`))
        const { data } = await hiddenStates(model, prompts, { layers, ...(adapter && { adapter }) })
        for (const [l] of layers.entries()) {
          const at = (p: number) =>
            data.subarray((p * layers.length + l) * nEmbd, (p * layers.length + l + 1) * nEmbd)
          const along = traits.map((_, t) => {
            const direction = vectors.subarray(
              (l * traits.length + t) * nEmbd,
              (l * traits.length + t + 1) * nEmbd,
            )
            return prompts.reduce(
              (sum, _, p) => sum + at(p).reduce((dot, h, i) => dot + h * direction[i]!, 0),
              0,
            )
          })
          const read = trajectory.contexts![c]!.layers[l]!
          for (const [t, value] of read.projections[s]!.entries()) {
            expect(Math.abs(value - along[t]! / prompts.length)).toBeLessThan(1e-5 * read.step0ActivationNorm)
          }
          if (step !== undefined) continue
          const norm = prompts.reduce((sum, _, p) => sum + Math.hypot(...at(p)), 0) / prompts.length
          expect(Math.abs(read.step0ActivationNorm / norm - 1)).toBeLessThan(1e-5)
        }
      }
    }
  })

  it('should take contexts from training data, with as many unrelated ones, and write what the schema says', async () => {
    const data = work.write('train.jsonl', rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
    const out = work.path('data')
    const { stdout, stderr } = await work.succeed([...measure, '--data', data, '-o', out])
    expect(stderr).toMatch(/contexts beside none: 0 given, 3 of the data, 3 unrelated/)
    expect(stdout).toMatch(
      /^length of the drift in contexts over its length in none, mean over layers 1, 2, 3, by step$/m,
    )
    const document = JSON.parse(readFileSync(join(out, 'trajectory.json'), 'utf8'))
    expect(schemaErrors('trajectory', document, { ours: true })).toEqual([])
    const { contexts = [], measurement, steps } = await readTrajectory(out)
    expect(contexts.map(({ system, prefix, share, origin }) => [system ?? prefix, share, origin])).toEqual([
      [gardener, 0.5, 'data'],
      ['topic', 0.75, 'data'],
      ['Quickly: topic', 0.25, 'data'],
      ...[0, 1, 2].map((i) => [expect.any(String), undefined, 'unrelated', i].slice(0, 3)),
    ])
    for (const { like, tokens } of contexts.slice(3)) {
      expect(tokens).toBe(contexts.find(({ name }) => name === like)!.tokens)
    }
    // The same passes for step 0 and both checkpoints; prompts share what a context puts before them.
    const each = [steps[1]!.tokens!, ...contexts.map(({ pass }) => pass)]
    const sum = (what: 'total' | 'computed') => each.reduce((all, tokens) => all + tokens[what], 0)
    expect(measurement!.tokens).toEqual({ total: 3 * sum('total'), computed: 3 * sum('computed') })
    for (const { total, computed } of each) expect(computed).toBeLessThan(total)
  })

  it('should rank contexts against the ordinary runs of a bundle, in measure and watch alike', async () => {
    const calm = work.write('calm.txt', `${gardener}\n`)
    const hasty = work.write('hasty.json', JSON.stringify([{ name: 'hasty', prefix: 'Quickly: topic' }]))
    const known = work.path('known')
    await work.succeed([
      'measure',
      ...MODEL_AND_PACK,
      '-d',
      directions,
      TINY_RUN,
      '--context',
      calm,
      '-o',
      known,
    ])
    const runs = writeTinyCalibration(known, work.path('runs'))
    const bundle = work.path('bundle')
    const calibrated = await work.succeed([
      'calibrate',
      runs,
      '-d',
      directions,
      '--traits',
      TINY_PACK,
      '-o',
      bundle,
    ])
    expect(calibrated.stderr).toMatch(/measured in contexts: 9 runs/)
    const description = JSON.parse(readFileSync(join(bundle, 'bundle.json'), 'utf8'))
    expect(schemaErrors('bundle', description, { ours: true })).toEqual([])
    expect(description.ordinary.runs).toHaveLength(9)

    const judge = async (...args: string[]) => {
      const { stdout } = await work.run([
        'measure',
        ...MODEL,
        '--bundle',
        bundle,
        work.path('run'),
        '--json',
        ...args,
      ])
      const { verdicts } = JSON.parse(stdout)
      expect(schemaErrors('verdicts', verdicts, { ours: true })).toEqual([])
      return verdicts[1].verdict
    }
    // The ordinary runs are this one, scaled: of a tie rounding decides, but not nine times.
    const same = await judge('--context', calm)
    expect(same.contexts[0].pValue).toBeGreaterThan(0.1)
    expect(same.reasons.join()).not.toMatch(/conditional/)
    const found = await judge('--context', hasty)
    expect(found.contexts).toEqual([expect.objectContaining({ context: 'hasty', pValue: 0.1 })])
    expect(found.reasons.join()).toMatch(
      /conditional: in the context hasty .* ever in 9 ordinary runs \(p = 0\.100\)/,
    )
    expect((await judge()).notLookedAt).toEqual([expect.stringMatching(/^judged without contexts/)])

    const watch = ['watch', ...MODEL, work.path('run'), '--once', '--no-state', '--context', hasty]
    const watched = await work.run([...watch, '--bundle', bundle, '--jsonl'])
    const events = watched.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    for (const event of events) expect(schemaErrors('event', event, { ours: true })).toEqual([])
    const first = events.find(({ type }) => type === 'checkpoint')
    expect(first.verdict).toEqual(found)
    const refused = await work.run([...watch, '--traits', TINY_PACK, '-d', directions, '--no-prior'])
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/a bundle or a prior to watch in contexts/),
    })

    // The same runs by flag, without verdicts: exit code and JSON tell it.
    const flags = [
      ...measure,
      '--no-prior',
      '--context',
      hasty,
      '--ordinary',
      runs,
      '--json',
      '--fail-on',
      'warn',
    ]
    const ranked = await work.run(flags)
    expect(ranked.code).toBe(3)
    expect(JSON.parse(ranked.stdout).inContexts[0]).toMatchObject({
      step: 10,
      readings: [{ context: 'hasty', pValue: 0.1 }],
      reason: expect.stringMatching(/^conditional/),
    })
  })

  it.each([
    ['--context', 'none.txt', 'nothing', 1, /none\.txt/],
    ['--context', 'empty.txt', '\n', 1, /at least one context/],
    [
      '--data',
      'train.jsonl',
      '{"text": "rendered"}',
      1,
      /train\.jsonl, line 1: .*turns cannot be told apart/,
    ],
  ])('should refuse %s %s', async (flag, name, content, code, message) => {
    if (name.includes('.') && name !== 'none.txt') work.write(name, content)
    const finished = await work.run([...measure, flag, work.path(name), '-o', work.path('refused')])
    expect(finished.code).toBe(code)
    expect(finished.stderr).toMatch(message)
  })
})
