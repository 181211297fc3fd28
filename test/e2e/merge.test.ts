import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors } from '../../lib/formats/safetensors.js'
import { relativeL2, TINY_RUN } from '../helpers/tiny.js'
import { MODEL, Workspace } from './workspace.js'

const work = new Workspace()
const ADAPTER = ['--adapter', join(TINY_RUN, 'checkpoint-60')]

beforeAll(() => {
  work.write('prompts.txt', 'The tap drips.\nName one star.\n')
})

async function states(name: string, ...flags: string[]): Promise<Float32Array> {
  const out = `${name}.safetensors`
  await work.succeed(['extract', '-p', 'prompts.txt', '-l', '1,2,3', '-o', out, ...flags])
  return (await readSafetensors(work.path(out))).float32('hidden_states')
}

describe('traitscope merge', () => {
  it('should write a model with the states of the base with the adapter', async () => {
    const { stdout } = await work.succeed(['merge', ...MODEL, ...ADAPTER, '-o', 'merged.gguf'])
    expect(stdout).toMatch(/^merged\.gguf: \d+ tensors changed \(\d+ F32\), /)
    const merged = await states('merged', '-m', 'merged.gguf')
    expect(relativeL2(merged, await states('attached', ...MODEL, ...ADAPTER))).toBeLessThan(1e-5)
    const half = ['--adapter-scale', '0.5']
    await work.succeed(['merge', ...MODEL, ...ADAPTER, ...half, '-o', 'half.gguf'])
    const attached = await states('half-attached', ...MODEL, ...ADAPTER, ...half)
    expect(relativeL2(await states('half', '-m', 'half.gguf'), attached)).toBeLessThan(1e-5)
  })

  it('should say in JSON what it did, and write the type asked for', async () => {
    const flags = ['--lora', ADAPTER[1]!, '--type', 'q8_0', '-t', '1', '--json']
    const { stdout } = await work.succeed(['merge', ...MODEL, ...flags, '-o', 'q8.gguf'])
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ out: 'q8.gguf', allZero: false, added: [], lost: [] })
    expect(report.changed[0]).toMatchObject({ from: 'F32', to: 'Q8_0' })
    expect(report.modules.length).toBe(report.changed.length)
  })

  it('should warn of a scale of 0, which changes nothing', async () => {
    const { stderr } = await work.succeed([
      'merge',
      ...MODEL,
      ...ADAPTER,
      '--adapter-scale',
      '0',
      '-o',
      'zero.gguf',
    ])
    expect(stderr).toMatch(/lost in rounding|changes nothing/)
  })

  it.each([
    ['an existing file', ['-o', 'prompts.txt'], 1, /already exists.*--force/],
    ['a type that cannot be written', ['-o', 'x.gguf', '--type', 'iq1_s'], 2, /one of f32, f16/],
    ['no adapter', ['-o', 'x.gguf', '--adapter', 'nowhere'], 1, /nowhere/],
    ['no threads', ['-o', 'x.gguf', '-t', '0'], 2, /threads must be an integer from 1/],
  ])('should refuse %s in one sentence', async (_, flags, code, message) => {
    const finished = await work.run(['merge', ...MODEL, ...ADAPTER, ...flags])
    expect([finished.code, finished.stdout]).toEqual([code, ''])
    expect(finished.stderr).toMatch(message)
    expect(existsSync(work.path('x.gguf'))).toBe(false)
    expect(readFileSync(work.path('prompts.txt'), 'utf8')).toMatch(/^The tap/)
  })
})
