import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { binding } from '../../lib/binding.js'
import { packageRoot, packageVersion } from '../../lib/package.js'
import { TINY_BASE, TINY_PACK, TINY_RUN } from '../helpers/tiny.js'
import { MODEL, MODEL_AND_PACK, Workspace } from './workspace.js'

const work = new Workspace()
const COMMANDS = ['doctor', 'inspect', 'extract', 'directions', 'measure', 'watch']

let prompts: string
beforeAll(() => {
  prompts = work.write('prompts.txt', 'Name one star.\n')
})

describe('traitscope --help', () => {
  it.each(COMMANDS)('should have a runnable example for %s', async (command) => {
    const { stdout, stderr } = await work.succeed([command, '--help'])
    expect(stderr).toBe('')
    expect(stdout).toContain(`Usage: traitscope ${command}`)
    expect(stdout).toMatch(new RegExp(`Example:\n {2}\\$ traitscope ${command}`))
    // Every long option of the example is one that the command has.
    const [usage, example] = stdout.split('Example:') as [string, string]
    for (const [option] of example.matchAll(/--[a-z-]+/g)) expect(usage).toContain(option)
  })

  it('should list the commands and the exit codes', async () => {
    const { stdout } = await work.succeed(['--help'])
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'))
    const words = stdout.replaceAll(/\s+/g, ' ')
    expect(words).toContain('0 clean, 1 failure, 2 usage, 3 alarm, 4 not comparable, 130 interrupted')
  })

  it('should fit 80 columns, but for examples that are for copying', async () => {
    const { stdout } = await work.succeed(['--help'])
    const names = [...stdout.matchAll(/^ {2}([a-z-]+) {2,}\w|^ {2}([a-z-]+) [<[]/gm)].map(
      ([, a, b]) => a ?? b!,
    )
    expect(names).toEqual(expect.arrayContaining(COMMANDS))
    for (const name of names) {
      const lines = (await work.succeed([...(name === 'help' ? [] : [name]), '--help'])).stdout.split('\n')
      expect(lines.filter((line) => line.length > 80 && !line.startsWith('  $'))).toEqual([])
    }
  })

  it('should print the version', async () => {
    expect((await work.succeed(['--version'])).stdout).toBe(`${packageVersion}\n`)
  })
})

describe('usage errors', () => {
  it.each([
    ['no command', [], 'Usage: traitscope'],
    ['an unknown command', ['mesure'], "unknown command 'mesure'"],
    ['an unknown option', ['measure', ...MODEL, '--layers', '2', 'run'], "unknown option '--layers'"],
    ['a missing argument', ['measure', ...MODEL], "missing required argument 'run'"],
    ['a missing base', ['measure', 'run'], "required option '-m, --model <gguf>'"],
    ['one argument too many', ['inspect', 'a', 'b'], 'too many arguments'],
    ['a value that is no number', ['measure', ...MODEL, '-t', 'all', 'run'], 'expected a whole number'],
    ['an empty argument', ['inspect', ''], 'expected a value for <path>, found an empty one'],
    ['an empty one of several', ['watch', ...MODEL, 'run', ''], 'expected a value for <run>'],
    ['an empty option', ['watch', ...MODEL, 'run', '--stop-file='], 'expected a value for --stop-file'],
    [
      'an empty one of a list',
      ['merge', ...MODEL, '--adapter', '', '-o', 'x'],
      'expected a value for --adapter',
    ],
  ])('should exit 2 on %s', async (_, args, message) => {
    const { code, stdout, stderr } = await work.run(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
  })
})

describe('a failure for a program', () => {
  it.each([
    ['what is not there', ['inspect', 'nowhere', '--json'], 1, 'FILE_NOT_FOUND', 'nowhere, found nothing'],
    [
      'flags that are refused',
      ['inspect', '--jso', '--json', 'x'],
      2,
      'USAGE',
      "option '--jso' (Did you mean",
    ],
    ['too many arguments', ['inspect', '--json', 'a', 'b'], 2, 'USAGE', 'too many arguments'],
    [
      'a watch that never began',
      ['watch', '--jsonl', 'x'],
      2,
      'USAGE',
      "required option '-m, --model <gguf>'",
    ],
  ])('should be one JSON line on stdout, and words on stderr: %s', async (_, args, code, is, message) => {
    const finished = await work.run(args)
    expect(finished.code).toBe(code)
    expect(finished.stdout).toMatch(/^.*\n$/)
    expect(JSON.parse(finished.stdout)).toEqual({
      error: { code: is, message: expect.stringContaining(message) },
    })
    expect(finished.stderr).toContain(message.split(' (')[0])
  })

  it('should be asked for in the config file too', async () => {
    const folder = work.path('json-by-config')
    mkdirSync(folder)
    writeFileSync(join(folder, 'traitscope.config.yaml'), 'json: true\n')
    const { stdout } = await work.run(['inspect', 'nowhere'], { cwd: folder })
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'FILE_NOT_FOUND' } })
  })

  it('should be no second document where a watch has printed its events', async () => {
    const { stdout } = await work.run(['watch', '-m', 'nowhere.gguf', 'run', '--once', '--json'])
    expect(JSON.parse(stdout)).toMatchObject([
      { type: 'error', error: { code: 'FILE_NOT_FOUND' } },
      { type: 'end' },
    ])
  })
})

describe('an option that is given twice', () => {
  const remarks = async (...args: string[]) =>
    (await work.run(args)).stderr.split('\n').filter((line) => line.startsWith('remark: '))

  it('should count as it was given last, and say so', async () => {
    expect(await remarks('label', '--margin', 'core', '--margin', 'core-2')).toEqual([
      'remark: --margin core-2 counts, and --margin core before it does not',
    ])
    expect(
      await remarks('measure', '-t', '1', '--prior', '--threads=2', '--no-prior', '-q', '--json'),
    ).toEqual([
      'remark: --threads 2 counts, and --threads 1 before it does not',
      'remark: --no-prior counts, and --prior before it does not',
    ])
  })

  it('should be nothing to speak of where it says the same, or takes several', async () => {
    expect(await remarks('measure', '-q', '-q', '-t', '1', '-t', '1', '--prior', '--prior')).toEqual([])
    expect(await remarks('steer', '--adapter', 'a', '--lora', 'b:2')).toEqual([])
    expect(await remarks('convert', 'x', '-o', 'y', '--ignore-key', 'a', '--ignore-key', 'b')).toEqual([])
    expect(await remarks('report', 'x', '--labels', 'a', '--labels', 'b')).toEqual([])
  })
})

describe('words that JavaScript knows', () => {
  it.each(['constructor', '__proto__', 'toString', 'hasOwnProperty'])(
    'should be just words: %s',
    async (word) => {
      expect((await work.run([word])).stderr).toMatch(`error: unknown command '${word}'`)
      expect((await work.run([`--${word}`])).stderr).toMatch(`error: unknown option '--${word}'`)
      const inspected = await work.run(['inspect', word])
      expect(inspected.stderr).toMatch(new RegExp(`${word}.*\\[FILE_NOT_FOUND\\]\n$`))
    },
  )
})

describe('where option values come from', () => {
  const extract = async (
    name: string,
    { config, env, args = [] }: { config?: string; env?: NodeJS.ProcessEnv; args?: string[] },
  ) => {
    const cwd = join(work.folder, name)
    const inner = `${name}/traitscope.config.yaml`
    cpSync(prompts, join(cwd, 'prompts.txt'))
    if (config !== undefined) work.write(inner, config)
    const all = ['extract', '-p', prompts, '-o', join(cwd, 'out.safetensors'), '--json', ...args]
    return work.run(all, { cwd, env: env ?? {} })
  }
  const layers = ({ stdout }: { stdout: string }) => (JSON.parse(stdout) as { layers: number[] }).layers
  const model = `model: ${JSON.stringify(TINY_BASE)}\n`

  it('should take the base from the environment', async () => {
    const found = await extract('env', { env: { TRAITSCOPE_MODEL: TINY_BASE }, args: ['-l', '1'] })
    expect(layers(found)).toEqual([1])
  })

  it('should refuse a variable or a key of the file that is empty, and name it', async () => {
    const args = ['measure', ...MODEL, 'run']
    const { code, stderr } = await work.run(args, { env: { TRAITSCOPE_BUNDLE: '' } })
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/--bundle, .* in TRAITSCOPE_BUNDLE:/),
    })
    const keyed = await extract('empty', { config: `${model}chat-template: ''\n`, args: ['-l', '1'] })
    expect(keyed).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--chat-template, .* in the config file:/),
    })
  })

  it('should say why a config file cannot be read', async () => {
    mkdirSync(join(work.folder, 'folder', 'traitscope.config.yaml'), { recursive: true })
    const { code, stderr } = await extract('folder', {})
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/EISDIR.*\[FILE_ACCESS\]/) })
  })

  it('should take options from the config file, for all commands or for one', async () => {
    const config = `${model}layer: 3\nextract:\n  layer: [1, 2]\n`
    const file = await extract('file', { config })
    expect(layers(file)).toEqual([1, 2])
    expect(file.stderr).toContain('options are taken from traitscope.config.yaml\n')
    expect((await extract('file-quiet', { config, args: ['-q'] })).stderr).toBe('')
    expect(layers(await extract('shared', { config: `${model}layer: 3\n` }))).toEqual([3])
  })

  it('should take a number of the config file as it is written, which may be a name', async () => {
    const { stderr } = await extract('number', { config: `${model}layer: 1\nadapter: 004.10\n` })
    expect(stderr).toContain('found nothing; check the path')
    expect(stderr).toContain('004.10')
  })

  it('should ask no other command what a value may be', async () => {
    // Of blocks bench takes one, and extract a list.
    expect(layers(await extract('list', { config: `${model}layer: 1,3\n` }))).toEqual([1, 3])
    const cwd = join(work.folder, 'list')
    const { code, stderr } = await work.run(['bench'], { cwd })
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/layer is "1,3": expected a whole number\. \[USAGE\]\n$/),
    })
  })

  it('should rank config file < environment < flags', async () => {
    const config = 'model: nowhere.gguf\nlayer: 1\nthreads: 1\n'
    const file = await extract('rank-file', { config })
    expect(file.code).toBe(1)
    expect(JSON.parse(file.stdout)).toMatchObject({ error: { code: 'FILE_NOT_FOUND' } })
    expect(file.stderr).toContain('nowhere.gguf')
    const env = { TRAITSCOPE_MODEL: TINY_BASE, TRAITSCOPE_LAYER: '2' }
    expect(layers(await extract('rank-env', { config, env }))).toEqual([2])
    expect(layers(await extract('rank-flag', { config, env, args: ['-l', '3'] }))).toEqual([3])
    const wrong = { ...env, TRAITSCOPE_MODEL: 'elsewhere.gguf' }
    expect(layers(await extract('rank-model', { config, env: wrong, args: MODEL }))).toEqual([2])
  })

  it.each([
    ['a key that is no option', `${model}layers: 2\n`, 'layers is neither an option nor a command'],
    ['a key that the command lacks', 'extract:\n  interval: 2\n', 'extract has no option interval'],
    [
      'a program to run',
      'on-alarm: touch x\n',
      'on-alarm is taken from a flag or the environment (TRAITSCOPE_ON_ALARM) only',
    ],
    ['a module to run', 'label:\n  judge-module: x.mjs\n', 'judge-module is taken from a flag'],
    ['where to send things', 'watch:\n  webhook: http://x\n', 'webhook is taken from a flag'],
    ['a file to write over', 'stop-file: x\n', 'stop-file is taken from a flag'],
    ['the address of a tracker', 'watch:\n  trackio: http://x\n', 'trackio is taken from a flag'],
    ['a file that is written over all the time', 'prometheus: x\n', 'prometheus is taken from a flag'],
    ['an address to listen on', 'serve:\n  host: 0.0.0.0\n', 'host is taken from a flag'],
    ['replacing files', 'force: true\n', 'force is taken from a flag only'],
    ['a wrong value', `${model}layer: middle\n`, 'layer is "middle": expected whole numbers'],
    ['a wrong choice', `${model}layer: 1\npool: max\n`, 'pool is "max": Allowed choices are last, mean'],
    ['a switch that is no switch', `${model}layer: 1\nraw: often\n`, 'raw must be true or false'],
    ['a list', '- model\n', 'must be a mapping'],
    ['broken YAML', 'model: [\n', 'is not valid YAML'],
  ])('should refuse %s in the config file', async (title, config, message) => {
    const { code, stdout, stderr } = await extract(title.replaceAll(' ', '-'), { config })
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'USAGE' } })
    expect(stderr).toMatch(/^traitscope: traitscope\.config\.yaml.*\[USAGE\]\n$/)
    expect(stderr).toContain(message)
  })

  it('should not send figures to an address in the config file', async () => {
    mkdirSync(work.path('sent'))
    work.write('sent/traitscope.config.yaml', 'export:\n  out: http://127.0.0.1:9\n')
    const args = ['export', '.', '--format', 'trackio']
    const { code, stderr } = await work.run(args, { cwd: join(work.folder, 'sent') })
    expect(code).toBe(2)
    expect(stderr).toContain('out is taken from a flag only')
  })

  it('should ask for help and version however broken the config file is', async () => {
    for (const flag of ['--help', '--version']) {
      work.write('traitscope.config.yaml', 'model: [')
      const { code } = await work.run([flag])
      rmSync(work.path('traitscope.config.yaml'))
      expect(code).toBe(0)
    }
  })

  it('should let a flag win over the other of two that exclude each other', async () => {
    const made = await work.directions('exclusive')
    const measure = (args: string[], env: NodeJS.ProcessEnv) =>
      work.run(['measure', ...MODEL_AND_PACK, join(TINY_RUN, 'checkpoint-10'), ...args], { env })
    const bundle = { TRAITSCOPE_BUNDLE: 'nowhere' }
    expect(await measure(['-d', made], bundle)).toMatchObject({ code: 0 })
    expect((await measure([], bundle)).stderr).toContain('nowhere')
    const both = await measure(['-d', made, '-b', 'nowhere'], {})
    expect(both).toMatchObject({ code: 2, stderr: expect.stringContaining('not both') })
  })

  it('should take a switch from the environment by its value', async () => {
    const measure = (value: string) =>
      work.run(['measure', ...MODEL_AND_PACK, '-l', '1', moved], { env: { TRAITSCOPE_RESIDUAL_BASE: value } })
    const moved = work.path('moved')
    cpSync(join(TINY_RUN, 'checkpoint-10'), moved, { recursive: true })
    const config = join(moved, 'adapter_config.json')
    const json = JSON.parse(readFileSync(config, 'utf8')) as object
    writeFileSync(config, JSON.stringify({ ...json, init_lora_weights: 'pissa' }))
    expect(await measure('1')).toMatchObject({ code: 0 })
    for (const no of ['0', 'false', '']) expect((await measure(no)).stderr).toContain('[UNSUPPORTED]')
    expect(await measure('perhaps')).toMatchObject({ code: 2, stderr: expect.stringContaining('"perhaps"') })
    // Environment over config file.
    work.write('traitscope.config.yaml', 'residual-base: true\n')
    const codes = [(await measure('0')).code, (await work.run(['doctor'])).code]
    rmSync(work.path('traitscope.config.yaml'))
    expect(codes).toEqual([1, 0])
  })

  it('should read a switch from the config file', async () => {
    const config = `${model}layer: 1\nraw: true\n`
    const raw = JSON.parse((await extract('switch', { config })).stdout)
    const chat = JSON.parse((await extract('no-switch', { config: config.replace('true', 'false') })).stdout)
    expect(raw.tokens.total).toBeLessThan(chat.tokens.total)
  })

  it('should read a negated switch and an option called like a command', async () => {
    const cwd = work.path('negated')
    cpSync(prompts, join(cwd, 'prompts.txt'))
    const config = [
      model,
      `traits: ${JSON.stringify(TINY_PACK)}\n`,
      'no-cache: true\n',
      'directions: nowhere\n',
    ]
    work.write('negated/traitscope.config.yaml', config.join(''))
    const run = join(TINY_RUN, 'checkpoint-10')
    const missing = await work.run(['measure', run], { cwd })
    expect(missing).toMatchObject({ code: 1, stdout: '' })
    expect(missing.stderr).toContain('nowhere')
    work.write('negated/traitscope.config.yaml', `${config.slice(0, 3).join('')}layer: 1\n`)
    const env = { XDG_CACHE_HOME: work.path('never') }
    expect(await work.run(['measure', run], { cwd, env })).toMatchObject({ code: 0 })
    expect(existsSync(work.path('never'))).toBe(false)
  })
})

describe("llama.cpp's names of flags", () => {
  it.each([
    ['-ngl 0', ['-ngl', '0']],
    ['-ngl=0', ['-ngl=0']],
    ['--n-gpu-layers 0', ['--n-gpu-layers', '0']],
    ['-ub 512', ['-ub', '512']],
    ['--ubatch-size 512', ['--ubatch-size', '512']],
    ['-t 1', ['-t', '1']],
    ['--lora', ['--lora', join(TINY_RUN, 'checkpoint-10')]],
  ])('should understand %s', async (_, flags) => {
    const out = work.path('flags.safetensors')
    const args = ['extract', ...MODEL, '-p', prompts, '-l', '1', '-o', out, '--force', ...flags]
    expect((await work.succeed(args)).stdout).toMatch(/: \[1, 1, 64\]/)
  })
})

// Where a GPU is, it is used; test/device has the same flags with one.
const { devices } = binding()
describe.skipIf(devices().some(({ isGpu }) => isGpu))('flags of a GPU that is not there', () => {
  const extract = (flags: readonly string[]) =>
    work.run([
      ...['extract', ...MODEL, '-p', prompts, '-l', '1', '-o', work.path('no-gpu.safetensors'), '--force'],
      ...flags,
    ])

  it('should say in one line that the CPU computes where layers were asked for, and else nothing', async () => {
    for (const flags of [
      ['--gpu-layers', '2'],
      ['-ngl', '99', '--max-vram', '1G'],
    ]) {
      const { code, stderr } = await extract(flags)
      expect(code).toBe(0)
      expect(stderr.split('\n').filter((line) => /GPU|CPU/.test(line))).toEqual([
        expect.stringContaining('no GPU is built in and present: the CPU computes'),
      ])
    }
    for (const flags of [[], ['--device', 'cpu'], ['--device', 'auto'], ['--gpu-layers', '0']]) {
      const { code, stderr } = await extract(flags)
      expect({ code, named: /GPU|CPU/.test(stderr) }).toEqual({ code: 0, named: false })
    }
  })

  it('should refuse a device by its name, and flags that are none', async () => {
    const named = await extract(['--device', 'CUDA7'])
    expect(named).toMatchObject({ code: 1, stdout: '' })
    expect(named.stderr).toMatch(/expected a device of cpu, found CUDA7.*doctor/)
    expect((await extract(['--gpu-layers', 'many'])).code).toBe(2)
    expect((await extract(['--max-vram', 'lots'])).code).toBe(2)
  })
})

describe('an interrupted command', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)(
    'should exit 130 on %s and leave nothing behind but what it goes on from',
    async (signal) => {
      const folder = work.path(`interrupted-${signal}`)
      const cwd = join(folder, 'cwd')
      cpSync(prompts, join(cwd, 'prompts.txt'))
      const args = ['measure', ...MODEL_AND_PACK, '-l', '1,2,3', TINY_RUN, '-o', join(folder, 'out')]
      const { code, stdout, stderr } = await work.run(args, {
        cwd,
        onStart: (child) => {
          let isTold = false
          child.stderr!.on('data', (chunk) => {
            if (isTold || !String(chunk).includes('measuring')) return
            isTold = true
            child.kill(signal)
          })
        },
      })
      expect({ code, stdout }).toEqual({ code: 130, stdout: '' })
      expect(stderr).toMatch(/traitscope: interrupted\n$/)
      // Interrupted before the first step was measured it leaves nothing, later what is measured.
      expect(['cwd', 'cwd,out.partial']).toContain(readdirSync(folder).sort().join())
      await work.succeed(args, { cwd })
      expect(readdirSync(folder).sort()).toEqual(['cwd', 'out'])
    },
  )
})

describe('output', () => {
  it.runIf(process.platform !== 'win32').each([
    ['measure', ['measure', ...MODEL_AND_PACK, '-l', '1', join(TINY_RUN, 'checkpoint-10')], 0],
    // What it would have found out is unknown, so this is no clean end.
    ['watch', ['watch', ...MODEL_AND_PACK, '-l', '1', 'left', '--interval', '0.05', '--jsonl'], 141],
  ])('should end in order when a reader of %s leaves early', async (_, args, expected) => {
    const child = spawn(process.execPath, [join(packageRoot, 'dist/bin/traitscope.js'), ...args], {
      cwd: work.folder,
      env: { ...process.env, ...work.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stderr = ''
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    // Events keep coming, since what was written before the reader left may have found room in the pipe.
    const left = work.path('left')
    mkdirSync(left, { recursive: true })
    let step = 0
    const timer = setInterval(() => {
      cpSync(join(TINY_RUN, 'checkpoint-10'), join(left, `checkpoint-${++step}`), { recursive: true })
    }, 100)
    child.stdout.once('data', () => child.stdout.destroy())
    const [code, signal] = await once(child, 'close')
    clearInterval(timer)
    rmSync(left, { recursive: true })
    expect({ code, signal }).toEqual({ code: expected, signal: null })
    expect(stderr).not.toMatch(/EPIPE|bug|at .*\.js/)
  })

  it.runIf(process.platform !== 'win32').each([
    ['a command that fails', ['inspect', 'nowhere'], 1],
    ['a command that works', ['measure', ...MODEL_AND_PACK, '-l', '1', join(TINY_RUN, 'checkpoint-10')], 0],
  ])('should keep the exit code of %s when nobody reads stderr', async (_, args, expected) => {
    const child = spawn(process.execPath, [join(packageRoot, 'dist/bin/traitscope.js'), ...args], {
      cwd: work.folder,
      env: { ...process.env, ...work.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stderr.destroy()
    let stdout = ''
    child.stdout.on('data', (chunk) => {
      stdout += chunk
    })
    const [code, signal] = await once(child, 'close')
    expect({ code, signal }).toEqual({ code: expected, signal: null })
    expect(stdout.includes('1 checkpoint in')).toBe(expected === 0)
  })

  it.each([{ NO_COLOR: '1' }, { TERM: 'dumb' }, { CI: 'true' }, { FORCE_COLOR: undefined }])(
    'should have no escape sequences when piped with %o',
    async (env) => {
      const { stdout, stderr } = await work.succeed(['doctor'], { env })
      expect(stdout + stderr).not.toContain('\u001b')
    },
  )

  it('should be silent on stderr with --quiet', async () => {
    const args = ['extract', ...MODEL, '-p', prompts, '-l', '1', '-o', work.path('quiet.safetensors'), '-q']
    expect((await work.succeed(args)).stderr).toBe('')
  })
})
