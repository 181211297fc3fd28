import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { packageRoot } from '../../lib/package.js'
import { runCli } from '../helpers/child.js'
import { plantLibraries } from '../helpers/planted.js'
import { relativeL2, TINY_BASE, TINY_RUN } from '../helpers/tiny.js'

// A prebuild as a user gets it: the package of the platform, on a machine without compiler, cmake, git or Python. Making
// one compiles ggml once per instruction set and takes ten minutes, so it is used where it is there, or asked for.
const name = `${process.platform}-${process.arch}`
const prebuild = join(packageRoot, 'build-release', name)
const asked = process.env.TRAITSCOPE_TEST_PREBUILD === '1'
const addon = join('prebuilds', name, 'traitscope.node')
const skipped = !asked && !existsSync(join(prebuild, addon))
if (skipped) {
  console.info(
    `skipped the prebuild: ${prebuild} is not there; npm run prebuildify or TRAITSCOPE_TEST_PREBUILD=1 makes it`,
  )
}

describe.skipIf(skipped)('a prebuild', () => {
  let folder: string
  let app: string
  beforeAll(() => {
    if (asked && !existsSync(join(prebuild, addon))) {
      const made = spawnSync('npm', ['run', 'prebuildify'], { cwd: packageRoot, encoding: 'utf8' })
      if (made.status !== 0) throw new Error(made.stderr)
    }
    folder = mkdtempSync(join(tmpdir(), 'traitscope-prebuild-'))
    app = join(folder, 'traitscope')
    mkdirSync(app)
    mkdirSync(join(folder, 'bin'))
    for (const part of ['dist', 'scripts', 'traits', 'package.json']) {
      cpSync(join(packageRoot, part), join(app, part), { recursive: true })
    }
    cpSync(prebuild, join(app, 'node_modules', '@traitscope', name), { recursive: true })
    // A folder above, where its other dependencies are looked for next.
    symlinkSync(join(packageRoot, 'node_modules'), join(folder, 'node_modules'))
  }, 3_600_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** Node with a PATH that holds nothing. */
  function run(file: string, args: string[] = [], cwd = folder, more: NodeJS.ProcessEnv = {}) {
    const env = { PATH: join(folder, 'bin'), HOME: folder, XDG_CACHE_HOME: join(folder, 'cache'), ...more }
    return spawnSync(process.execPath, [join(app, file), ...args], { cwd, encoding: 'utf8', env })
  }

  it('should load, with kernels for this processor', () => {
    const { status, stdout } = run('dist/bin/traitscope.js', ['doctor', '--json'])
    expect(status).toBe(0)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ problems: [], addonOrigin: 'platform package' })
    expect(report.addon).toBe(join(app, 'node_modules/@traitscope', name, addon))
    expect(report.devices.length).toBeGreaterThan(0)
  })

  it('should load its own libraries, not those of the working directory', () => {
    const elsewhere = join(folder, 'elsewhere')
    mkdirSync(elsewhere)
    const opened = plantLibraries(elsewhere)
    expect(run('dist/bin/traitscope.js', ['doctor', '--json'], elsewhere)).toMatchObject({ status: 0 })
    expect(opened()).toBe(false)
  })

  // As the published backends are: the empty entry at the end of their search path is the working directory, before the system's.
  it.runIf(process.platform === 'linux')(
    'should open nothing of the working directory for a backend whose search path names it',
    () => {
      const [library, elsewhere] = ['backend', 'cwd'].map((part) => join(folder, part))
      for (const each of [library!, elsewhere!]) mkdirSync(each)
      const opened = plantLibraries(elsewhere!, 'libneeded.so.7')
      const needed = join(elsewhere!, 'libneeded.so.7')
      renameSync(join(elsewhere!, 'libggml-cpu-planted.so'), needed)
      const source = join(folder, 'backend.c')
      writeFileSync(source, 'int nothing(void) { return 0; }\n')
      const backend = join(library!, 'libggml-fake.so')
      const args = [
        '-shared',
        '-fPIC',
        '-o',
        backend,
        source,
        '-Wl,--no-as-needed',
        '-Wl,-rpath,$ORIGIN:',
        needed,
      ]
      expect(spawnSync('cc', args, { encoding: 'utf8' })).toMatchObject({ status: 0 })
      const { status, stdout } = run('dist/bin/traitscope.js', ['doctor', '--json'], elsewhere, {
        TRAITSCOPE_BACKEND: backend,
      })
      expect(status).toBe(1)
      expect(JSON.parse(stdout).problems[0]).toMatch(
        /TRAITSCOPE_BACKEND .*libneeded\.so\.7: cannot open shared object/,
      )
      expect(opened()).toBe(false)
    },
  )

  it('should read the states that the native build reads, base and adapter', async () => {
    const prompts = join(folder, 'prompts.txt')
    writeFileSync(prompts, 'How long does bread keep?\nName three rivers and one lake.\n')
    const extract = (out: string) => [
      ...['extract', '-m', TINY_BASE, '--adapter', join(TINY_RUN, 'checkpoint-60')],
      ...['-p', prompts, '-l', '1,3', '-o', join(folder, out), '-q'],
    ]
    expect(run('dist/bin/traitscope.js', extract('prebuild.safetensors'))).toMatchObject({ status: 0 })
    expect(await runCli(extract('native.safetensors'))).toMatchObject({ code: 0 })
    const states = async (file: string) =>
      (await readSafetensors(join(folder, file))).float32('hidden_states')
    const difference = relativeL2(await states('prebuild.safetensors'), await states('native.safetensors'))
    console.info(`prebuild against native build: relative L2 ${difference.toExponential(1)}`)
    expect(difference).toBeLessThan(1e-5)
  })
})
