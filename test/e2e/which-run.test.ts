import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { sha256 } from '../../lib/formats/files/hash.js'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { TINY_BASE, TINY_RUN } from '../helpers/tiny.js'
import { MODEL_AND_PACK, Workspace } from './workspace.js'

const work = new Workspace()
let measure: string[]
let dpo: string
let other: string
beforeAll(async () => {
  measure = [...MODEL_AND_PACK, '-d', await work.directions()]
  // As DPO leaves a run: the frozen reference sorts before the trained adapter.
  dpo = work.path('dpo')
  for (const step of [10, 60]) {
    const folder = join(dpo, `checkpoint-${step}`)
    adapter(10, join(folder, 'reference'))
    adapter(step, join(folder, 'trained'))
    cpSync(join(TINY_RUN, `checkpoint-${step}/trainer_state.json`), join(folder, 'trainer_state.json'))
  }
  adapter(10, join(dpo, 'reference'))
  adapter(60, join(dpo, 'trained'))
  // Of another base, and with another template beside it.
  other = work.path('other')
  const checkpoint = join(other, 'checkpoint-10')
  cpSync(join(TINY_RUN, 'checkpoint-10'), checkpoint, { recursive: true })
  const config = join(checkpoint, 'adapter_config.json')
  const text = readFileSync(config, 'utf8').replace(
    /("base_model_name_or_path": )"[^"]*"/,
    '$1"someone/other"',
  )
  writeFileSync(config, text)
  writeFileSync(join(checkpoint, 'chat_template.jinja'), '{{ messages[0].content }}')
})

function adapter(step: number, to: string): void {
  for (const name of ['adapter_config.json', 'adapter_model.safetensors']) {
    cpSync(join(TINY_RUN, `checkpoint-${step}`, name), join(to, name))
  }
}

const TRAINED = 'trained/adapter_model.safetensors'
const hashOf = (path: string) => sha256(readFileSync(path))
const prompts = () => work.write('prompts.txt', 'Two keys?')

describe('a run with a frozen and a trained adapter', () => {
  it('should be refused by measure, whole or one checkpoint of it', async () => {
    for (const path of [dpo, join(dpo, 'checkpoint-60')]) {
      const { code, stdout, stderr } = await work.run(['measure', ...measure, path])
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/several adapters: reference, trained; .*--adapter-name NAME \[AMBIGUOUS\]\n$/)
    }
  })

  it('should be measured by the name, with the numbers of that adapter', async () => {
    const named = await work.succeed([
      'measure',
      ...measure,
      dpo,
      '--adapter-name',
      'trained',
      '--json',
      '-q',
    ])
    const plain = await work.succeed(['measure', ...measure, TINY_RUN, '--json', '-q'])
    const { trajectory, traitscope } = JSON.parse(named.stdout)
    const at = (step: number) =>
      JSON.parse(plain.stdout).trajectory.find((one: { step: number }) => one.step === step)
    expect(trajectory.slice(0, 3)).toEqual([at(0), at(10), at(60)])
    expect(traitscope.finalAliasOf).toBe(60)
    const path = join('checkpoint-60', TRAINED)
    expect(traitscope.steps[2].files[0]).toEqual({ path, sha256: hashOf(join(dpo, path)) })
    expect(traitscope.measurement.remarks).toEqual([
      expect.stringMatching(/not measured.*: reference \(adapter\)$/),
    ])
  })

  it('should be an error of every checkpoint in a watch, until it is named', async () => {
    const { code, stdout, stderr } = await work.run(['watch', ...measure, dpo, '--once'])
    expect(code).toBe(1)
    expect(stdout.trimEnd().split('\n')).toHaveLength(1)
    expect(stderr).toMatch(/error at step 10: .*\[AMBIGUOUS\]\nerror at step 60/)
    expect(stderr).toMatch(/no checkpoint of .* could be measured: the errors say why/)
    const named = await work.succeed(['watch', ...measure, dpo, '--once', '--adapter-name', 'trained'])
    expect(named.stdout).toContain(
      `checkpoint-60/${TRAINED} ${hashOf(join(dpo, 'trained/adapter_model.safetensors')).slice(0, 12)}`,
    )
  })

  it('should be described by inspect as it would be measured', async () => {
    const { code, stdout } = await work.run(['inspect', dpo, '-m', TINY_BASE])
    expect(code).toBe(1)
    expect(stdout).toMatch(/step 10 .*cannot be measured: .*reference, trained/)
    const named = await work.succeed(['inspect', dpo, '-m', TINY_BASE, '--adapter-name', 'trained'])
    expect(named.stdout).toMatch(
      /step 60 +complete, .*; checkpoint-60\/trained\/adapter_model\.safetensors [0-9a-f]{12}\n/,
    )
    expect(named.stdout).toMatch(/final weights +those of step 60, counted once/)
  })

  it('should be refused by extract and merge, until it is named', async () => {
    const checkpoint = join(dpo, 'checkpoint-60')
    const states = work.path('states.safetensors')
    const merged = work.path('merged.gguf')
    const extract = [
      'extract',
      '-m',
      TINY_BASE,
      '-p',
      prompts(),
      '-l',
      '1',
      '--adapter',
      checkpoint,
      '-o',
      states,
    ]
    const merge = ['merge', '-m', TINY_BASE, '--adapter', checkpoint, '-o', merged, '--json']
    for (const command of [extract, merge]) {
      const { code, stderr } = await work.run(command)
      expect(code).toBe(1)
      expect(stderr).toMatch(/reference, trained.*\[AMBIGUOUS\]\n$/)
    }
    const file = { path: TRAINED, sha256: hashOf(join(checkpoint, TRAINED)) }
    const extracted = await work.succeed([...extract, '--adapter-name', 'trained', '--json'])
    expect(JSON.parse(extracted.stdout).adapters[0].files[0]).toEqual(file)
    const { metadata } = await readSafetensors(states)
    expect(JSON.parse(metadata.get('adapters')!)[0].files[0]).toEqual(file)
    const { stdout } = await work.succeed([...merge, '--adapter-name', 'trained'])
    expect(JSON.parse(stdout).files[0]).toEqual(file)
  })
})

describe('a base and a template that are not those of the checkpoint', () => {
  const base = /names "someone\/other" as its base, and this one is called "/
  const template = /its own chat template \(chat_template\.jinja\) is not the one/

  it('should be remarks of measure, its JSON and its files', async () => {
    const out = work.path('measured')
    const { stdout } = await work.succeed(['measure', ...measure, other, '-o', out])
    const json = (await work.succeed(['measure', ...measure, other, '--json', '-q'])).stdout
    const texts = [
      stdout,
      json,
      ...['trajectory.json', 'run_manifest.json'].map((name) => readFileSync(join(out, name), 'utf8')),
    ]
    for (const text of texts) {
      expect(text.replaceAll('\\"', '"')).toMatch(base)
      expect(text).toMatch(template)
    }
  })

  it('should be remarks of watch and its events', async () => {
    const { stderr } = await work.succeed(['watch', ...measure, other, '--once'])
    expect(stderr).toMatch(base)
    expect(stderr).toMatch(template)
    const { stdout } = await work.succeed([
      'watch',
      ...measure,
      other,
      '--once',
      '--jsonl',
      '-q',
      '--no-state',
    ])
    const events = stdout.split('\n').map((line) => line && JSON.parse(line))
    const event = events.find(({ type }) => type === 'checkpoint')
    expect(event.remarks).toEqual([expect.stringMatching(base), expect.stringMatching(template)])
  })

  it('should be remarks of inspect, extract and merge', async () => {
    const inspected = await work.succeed(['inspect', other, '-m', TINY_BASE, '--json'])
    const adapter = ['--adapter', join(other, 'checkpoint-10')]
    const extract = ['extract', '-m', TINY_BASE, '-p', prompts(), '-l', '1', ...adapter, '--json']
    const extracted = await work.succeed([...extract, '-o', work.path('other.safetensors')])
    const merged = await work.succeed([
      'merge',
      '-m',
      TINY_BASE,
      ...adapter,
      '-o',
      work.path('other.gguf'),
      '--json',
    ])
    const remarks = [
      JSON.parse(inspected.stdout).remarks,
      JSON.parse(extracted.stdout).adapters[0].remarks,
      JSON.parse(merged.stdout).remarks,
    ]
    for (const found of remarks) {
      expect(found).toEqual([expect.stringMatching(base), expect.stringMatching(template)])
    }
    expect(extracted.stderr).toMatch(template)
  })
})

describe('a folder that is no run', () => {
  it('should be refused by the names of those in it', async () => {
    const parent = work.path('parent')
    cpSync(join(TINY_RUN, 'checkpoint-10'), join(parent, 'saves/a/lora/checkpoint-10'), { recursive: true })
    adapter(60, join(parent, 'b'))
    for (const command of ['measure', 'watch']) {
      const { code, stderr } = await work.run([command, ...measure, parent])
      expect(code).toBe(1)
      expect(stderr).toMatch(
        /no weights of its own, but b \(adapter\), saves\/a\/lora \(run\): name one of them.* \[AMBIGUOUS\]\n$/,
      )
    }
    const { code, stderr } = await work.run(['inspect', parent])
    expect(code).toBe(1)
    expect(stderr).toMatch(/saves\/a\/lora \(run\)/)
  })
})
