import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { encodeGguf } from '../../lib/formats/gguf/gguf.js'
import { packageRoot, packageVersion } from '../../lib/package.js'
import { TINY, TINY_BASE, TINY_PACK, TINY_RUN } from '../helpers/tiny.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
const OTHER_BASE = join(packageRoot, 'test/fixtures/oracles/qwen2/model.gguf')

describe('traitscope doctor', () => {
  it('should name the versions, the devices and the cache, and find no problem', async () => {
    const { code, stdout, stderr } = await work.run(['doctor'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^traitscope +${packageVersion}, llama\\.cpp v\\d`))
    expect(stdout).toContain(`node        ${process.version}`)
    expect(stdout).toContain(work.path('cache', 'traitscope'))
    expect(stdout).toContain('no problems found')
  })

  it('should print one JSON document', async () => {
    const { code, stdout } = await work.run(['doctor', '--json'])
    expect(code).toBe(0)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ version: packageVersion, problems: [], configFile: false })
    // What other programs use is not free, on whichever line.
    const { memoryFree } = report.devices.find(({ name }: { name: string }) => name === 'CPU')
    expect(Math.abs(memoryFree - report.memory.free)).toBeLessThan(report.memory.total / 100)
  })
})

describe('traitscope inspect of a folder that is none of its kinds', () => {
  it('should name the measured runs below it, else what it may be', async () => {
    for (const name of ['kept/base/rude/seed_1', 'empty']) mkdirSync(work.path(name), { recursive: true })
    work.write('kept/base/rude/seed_1/trajectory.json', '{}')
    const { stderr } = await work.run(['inspect', 'kept'])
    expect(stderr).toContain('is no run, but measured ones lie below it: name one of them (base/rude/seed_1)')
    work.write('empty/notes.md', '')
    const empty = await work.run(['inspect', 'empty'])
    expect(empty.stderr).toContain("give the trainer's output folder once something is saved there")
  })
})

describe('traitscope inspect', () => {
  let directions: string
  beforeAll(async () => {
    directions = await work.directions()
  })

  const paths = (): Record<string, string> => ({
    'gguf-model': TINY_BASE,
    run: TINY_RUN,
    directions,
    'trait-pack': TINY_PACK,
  })

  it.each([
    ['gguf-model', ['architecture', 'llama'], ['blocks', '4 (layers 0 to 3)']],
    [
      'run',
      ['step 10', 'complete, loss 0.3977; checkpoint-10/adapter_model.safetensors dc3c10019a5e'],
      ['final weights', 'those of step 60, counted once'],
    ],
    ['directions', ['layers', '1, 2, 3'], ['method', 'mean-difference, last pooling']],
    ['trait-pack', ['kind', 'trait pack'], ['questions', '6']],
  ])('should recognise a %s', async (kind, ...facts) => {
    const { code, stdout, stderr } = await work.run(['inspect', paths()[kind]!, '--json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const inspection = JSON.parse(stdout) as { kind: string; facts: [string, string][] }
    expect(inspection.kind).toBe(kind)
    expect(inspection.facts).toEqual(expect.arrayContaining(facts))
  })

  it("should recognise the reference's trajectory", async () => {
    const reference = JSON.parse(readFileSync(join(TINY, 'golden/trajectory.json'), 'utf8')) as {
      trajectory: {
        step: number
        projections: Record<string, object>
        projections_normalized: Record<string, object>
      }[]
      step0_activation_norm: Record<string, number>
      trait_order: string[]
    }
    const { trajectory, step0_activation_norm: norms, trait_order } = reference
    const path = work.write(
      'reference.json',
      JSON.stringify({
        model: 'tiny',
        measurement_layer: 3,
        trait_order,
        step0_activation_norm: norms[3],
        trajectory: trajectory.map(({ step, projections, projections_normalized }) => ({
          step,
          projections: projections[3],
          projections_normalized: projections_normalized[3],
        })),
      }),
    )
    const { code, stdout } = await work.run(['inspect', path])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^kind +trajectory \(reference/)
    expect(stdout).toMatch(/steps +0, 10, 20, 30, 40, 50, 60/)
  })

  it('should say that a run fits its base', async () => {
    const { code, stdout } = await work.run(['inspect', TINY_RUN, '-m', TINY_BASE])
    expect(code).toBe(0)
    expect(stdout).toMatch(/fits base +yes: all 8 modules match/)
  })

  it('should exit 1 when a run does not fit the base, and say why', async () => {
    const { code, stdout } = await work.run(['inspect', TINY_RUN, '-m', OTHER_BASE])
    expect(code).toBe(1)
    expect(stdout).toMatch(/fits base +no: .*model\.layers\.3\.self_attn\.q_proj.*another base model/)
  })

  it('should show what commands a terminal in a name, not send it', async () => {
    const name = 'base\u001b]0;title\u0007\u001b[2J\u009b31m\nfits base  yes'
    const path = work.write(
      'hostile.gguf',
      encodeGguf({
        metadata: [
          ['general.architecture', 'string', 'llama'],
          ['general.name', 'string', name],
          ['llama.block_count', 'u32', 1],
        ],
        tensors: [
          { name: 'token_embd.weight', shape: [2, 3], type: 'F32', data: new Float32Array(6) },
          { name: 'rope_freqs.weight', shape: [2], type: 'F32', data: new Float32Array(2) },
        ],
      }),
    )
    const plain = await work.succeed(['inspect', path])
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    const commands = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/
    expect(plain.stdout).not.toMatch(commands)
    expect(plain.stdout).toMatch(/^name +base\\u001b\]0;title.*\\u000afits base {2}yes$/m)
    expect(plain.stdout).toMatch(/^parameters +6$/m)
    const json = await work.succeed(['inspect', path, '--json'])
    expect(json.stdout).not.toMatch(commands)
    expect(Object.fromEntries(JSON.parse(json.stdout).facts).name).toBe(name)
    const absent = await work.run(['inspect', 'no\u001b[2Jwhere.gguf'])
    expect(absent.stderr).not.toMatch(commands)
    expect(absent.stderr).toContain('no\\u001b[2Jwhere.gguf')
    const flag = await work.run(['inspect', '--no\u001b[2Jthing'])
    expect(flag.stderr).not.toMatch(commands)
  })

  it.each([
    ['a missing path', 'nowhere.gguf', 'FILE_NOT_FOUND'],
    ['a file of no known kind', 'notes.md', 'UNSUPPORTED'],
    ['a broken GGUF', 'broken.gguf', 'FILE_INVALID'],
    ['another file of ours', 'a traitscope-judge-check', 'UNSUPPORTED'],
  ])('should refuse %s', async (_, named, error) => {
    const name = named.startsWith('a ') ? 'check.json' : named
    if (name === 'check.json') work.write(name, '{"kind":"traitscope-judge-check"}')
    else if (name !== 'nowhere.gguf') work.write(name, 'GGUX, not what it says')
    const { code, stdout, stderr } = await work.run(['inspect', name])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^traitscope: [^\\n]*${named}[^\\n]*\\[${error}\\]\\n$`))
  })
})
