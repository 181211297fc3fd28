import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors, type Safetensors } from '../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { evaluationPrompts } from '../../lib/prompts/prompt-sets.js'
import { chatTokens } from '../../lib/prompts/prompt-tokens.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { relativeL2, TINY, TINY_BASE, TINY_PACK, TINY_RUN } from '../helpers/tiny.js'
import { MODEL, Workspace } from './workspace.js'

const work = new Workspace()
const ADAPTER = join(TINY_RUN, 'checkpoint-60')
const PROMPTS = ['The tap drips.', 'Is a copy of the files enough?', 'Name one star.']

let model: Model
let golden: Safetensors
let evaluation: string
let text: string
beforeAll(async () => {
  model = await openModel(TINY_BASE, { threads: 1 })
  golden = await readSafetensors(join(TINY, 'golden/states.safetensors'))
  const prompts = evaluationPrompts(await loadTraitPack(TINY_PACK))
  evaluation = work.write(
    'evaluation.jsonl',
    prompts.map(({ messages }) => JSON.stringify({ messages, note: 'ignored' })).join('\n'),
  )
  text = work.write('prompts.txt', `${PROMPTS.join('\n')}\n\n`)
})
afterAll(() => model?.close())

const extract = (out: string, ...args: string[]) =>
  work.run(['extract', ...MODEL, '-o', work.path(out), ...args])

/** The values of one layer, shape [rows, nEmbd]. */
function layerOf(file: Safetensors, index: number): Float32Array {
  const [rows, layers, width] = file.tensors.get('hidden_states')!.shape as [number, number, number]
  const all = file.float32('hidden_states')
  const values = new Float32Array(rows * width)
  for (let row = 0; row < rows; row++) {
    const at = (row * layers + index) * width
    values.set(all.subarray(at, at + width), row * width)
  }
  return values
}

describe('traitscope extract', () => {
  it.each([
    ['the bare base', 'step_0', []],
    ['an adapter', 'step_60', ['--adapter', ADAPTER]],
    [
      'several adapters with strengths and a common scale',
      'step_60',
      ['--adapter', `${ADAPTER}:2`, '--adapter', `${ADAPTER}:-1.5`, '--adapter-scale', '2'],
    ],
    [
      "llama.cpp's name of the adapter flag",
      'step_60',
      ['--lora', ADAPTER, '-ngl', '0', '-ub', '512', '-t', '1'],
    ],
  ])('should equal the reference states of messages with %s', async (title, step, flags) => {
    const out = `${title.replaceAll(/\W/g, '-')}.safetensors`
    const { code, stdout } = await extract(out, '-p', evaluation, '-l', '1,2,3', ...flags)
    expect(code).toBe(0)
    expect(stdout).toMatch(/: \[20, 3, 64\], \d+ tokens of which \d+ computed/)
    const file = await readSafetensors(work.path(out))
    expect([...file.metadata.keys()]).toEqual(expect.arrayContaining(['pool', 'base']))
    for (const [index, layer] of [1, 2, 3].entries()) {
      expect(relativeL2(layerOf(file, index), golden.float32(`${step}.layer_${layer}`))).toBeLessThan(1e-4)
    }
  })

  it('should say what the adapter does to a probe prompt', async () => {
    const { stderr } = await extract('effect.safetensors', '-p', text, '-l', '2', '--adapter', ADAPTER)
    expect(stderr).toMatch(
      /adapter: 8 modules matched, 2 above the layers that are read; a probe prompt changes from block 0 on, block 2 by \d/,
    )
    const file = await readSafetensors(work.path('effect.safetensors'))
    expect(file.metadata.get('adapter')).toMatch(/^[0-9a-f]{64}$/)
    expect(stderr).not.toContain('applied twice')
  })

  it('should say that an adapter is named twice, under whatever name', async () => {
    const copy = work.path('copy')
    cpSync(ADAPTER, copy, { recursive: true })
    const both = ['--adapter', ADAPTER, '--adapter', copy]
    const { code, stderr } = await extract('doubled.safetensors', '-p', text, '-l', '1', ...both)
    expect(code).toBe(0)
    expect(stderr).toContain(`remark: ${copy} has the weights of ${ADAPTER}: their effect is applied twice`)
  })

  it.each(['last', 'mean', 'tokens'] as const)('should equal the library with --pool %s', async (pool) => {
    const out = `${pool}.safetensors`
    expect(await extract(out, '-p', text, '-l', '2', '--pool', pool)).toMatchObject({ code: 0 })
    const messages = PROMPTS.map((content) => [{ role: 'user' as const, content }])
    const tokens = await chatTokens(model, ChatTemplate.forModel(model), messages)
    const states = await hiddenStates(model, tokens, { layers: [2], pool })
    const file = await readSafetensors(work.path(out))
    expect(file.tensors.get('hidden_states')!.shape).toEqual(states.shape)
    expect(relativeL2(file.float32('hidden_states'), states.data)).toBeLessThan(1e-5)
    expect(new Int32Array(file.bytes('prompt_rows').slice().buffer)).toEqual(states.promptRows)
    const rows = tokens.reduce((sum, ids) => sum + ids.length, 0)
    expect(states.shape[0]).toBe(pool === 'tokens' ? rows : PROMPTS.length)
  })

  it('should leave the chat template out with --raw', async () => {
    const { code, stdout } = await extract('raw.safetensors', '-p', text, '-l', '1', '--raw', '--json')
    expect(code).toBe(0)
    const tokens = await model.tokenize(PROMPTS)
    const total = tokens.reduce((sum, ids) => sum + ids.length, 0)
    expect(JSON.parse(stdout)).toMatchObject({ shape: [3, 1, 64], layers: [1], tokens: { total } })
    const states = await hiddenStates(model, tokens, { layers: [1] })
    const file = await readSafetensors(work.path('raw.safetensors'))
    expect(relativeL2(file.float32('hidden_states'), states.data)).toBeLessThan(1e-5)
  })

  it('should write the same bytes again with --force, and refuse without it', async () => {
    const args = ['-p', text, '-l', '1', '-t', '1']
    expect(await extract('twice.safetensors', ...args)).toMatchObject({ code: 0 })
    const first = readFileSync(work.path('twice.safetensors'))
    const refused = await extract('twice.safetensors', ...args, '--pool', 'mean')
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toContain('already exists; choose another name or pass --force [FILE_EXISTS]')
    expect(readFileSync(work.path('twice.safetensors')).equals(first)).toBe(true)
    expect(await extract('twice.safetensors', ...args, '--force')).toMatchObject({ code: 0 })
    expect(readFileSync(work.path('twice.safetensors')).equals(first)).toBe(true)
  })

  it('should refuse an adapter of another base and write nothing', async () => {
    const other = join(packageRoot, 'test/fixtures/oracles/qwen2/model.gguf')
    const misfit = ['-m', other, '-p', text, '--raw', '-l', '1', '--adapter', ADAPTER]
    const { code, stderr } = await extract('misfit.safetensors', ...misfit)
    expect(code).toBe(1)
    expect(stderr).toMatch(/\[ADAPTER_MISMATCH\]\n$/)
    expect(existsSync(work.path('misfit.safetensors'))).toBe(false)
  })

  it('should ask for a template when the base has none, and take one from a file', async () => {
    const bytes = readFileSync(TINY_BASE)
    // Renaming the key leaves a base without a template, byte for byte the same model.
    const at = bytes.indexOf('tokenizer.chat_template')
    bytes.write('tokenizer.xhat_template', at)
    const bare = work.write('bare.gguf', bytes)
    const args = ['extract', '-m', bare, '-p', text, '-l', '1', '-o', work.path('bare.safetensors')]
    const refused = await work.run(args)
    expect(refused.code).toBe(1)
    expect(refused.stderr).toMatch(/--chat-template.*\[TEMPLATE\]\n$/)
    const template = join(TINY_RUN, 'chat_template.jinja')
    expect(await work.run([...args, '--chat-template', template])).toMatchObject({ code: 0 })
    expect(await work.run([...args, '--raw', '--force'])).toMatchObject({ code: 0 })
  })

  it.each([
    ['a layer that the model does not have', ['-l', '4'], 2, '[USAGE]'],
    ['a layer that is no number', ['-l', 'middle'], 2, 'expected whole numbers separated by commas'],
    ['an unknown pooling', ['-l', '1', '--pool', 'max'], 2, 'Allowed choices are last, mean, tokens'],
    ['a missing adapter', ['-l', '1', '--adapter', 'nowhere'], 1, '[FILE_NOT_FOUND]'],
    ['messages with --raw', ['-l', '1', '--raw', '-p', 'evaluation.jsonl'], 2, '[USAGE]'],
    ['missing prompts', ['-l', '1', '-p', 'nowhere.txt'], 1, '[FILE_NOT_FOUND]'],
  ])('should refuse %s', async (_, args, expected, message) => {
    const { code, stdout, stderr } = await extract('refused.safetensors', '-p', text, ...args)
    expect({ code, stdout }).toEqual({ code: expected, stdout: '' })
    expect(stderr).toContain(message)
    expect(existsSync(work.path('refused.safetensors'))).toBe(false)
  })
})
