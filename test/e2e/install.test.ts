import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot, packageVersion } from '../../lib/package.js'
// @ts-expect-error a plain script
import { serveRelease } from '../helpers/registry.mjs'
import { TINY_BASE } from '../helpers/tiny.js'
import { Workspace } from './workspace.js'

// As a user installs: both tarballs from a registry (on loopback), into an empty folder, by this machine's npm, without scripts
// and without a compiler on the PATH. The platform's package holds this checkout's own build, because the portable one takes ten
// minutes to make; test/scripts/prebuild.test.ts and scripts/test-install.mjs take that one.

const work = new Workspace()
const require = createRequire(import.meta.url)
const onWindows = process.platform === 'win32'
const platform = `@traitscope/${process.platform}-${process.arch}`

let registry: { url: string; downloads: string[]; close(): Promise<void> }
let app: string
beforeAll(async () => {
  registry = await serveRelease(work.folder)
  mkdirSync(work.path('path'))
  if (!onWindows) {
    symlinkSync(process.execPath, work.path('path', 'node'))
    symlinkSync(realpathSync('/bin/sh'), work.path('path', 'sh'))
  }
  app = emptyApp('app')
  const { code, stderr } = await npm(['install', 'traitscope', '--ignore-scripts'], app)
  if (code !== 0) throw new Error(stderr)
}, 600_000)
afterAll(() => registry?.close())

function emptyApp(name: string): string {
  const folder = work.path(name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{ "name": "app", "private": true }\n')
  return folder
}

/** Runs with nothing on the PATH but Node and a shell, and the registry as the only one; not blocking, for it answers from here. */
function run(
  args: string[],
  cwd: string,
  more: NodeJS.ProcessEnv = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const env = {
    ...(onWindows ? process.env : { PATH: work.path('path') }),
    ...work.env,
    ...{ HOME: work.folder, npm_config_registry: registry.url, npm_config_cache: work.path('npm') },
    ...more,
  }
  const child = spawn(process.execPath, args, { cwd, env, stdio: 'pipe' })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
}

/** Where npm itself is: beside the program on this PATH, wherever that leads to. */
const npmCli = (() => {
  if (process.env.npm_execpath?.endsWith('npm-cli.js')) return process.env.npm_execpath
  const folders = (process.env.PATH ?? '').split(delimiter)
  const found = folders.map((folder) => join(folder, 'npm')).find(existsSync)
  if (!found) throw new Error('npm is not on the PATH')
  const real = realpathSync(found)
  return real.endsWith('npm-cli.js') ? real : join(dirname(real), 'node_modules/npm/bin/npm-cli.js')
})()

const npm = (args: string[], cwd: string) => run([npmCli, ...args, '--no-audit', '--no-fund'], cwd)
const traitscope = (args: string[], cwd: string, env?: NodeJS.ProcessEnv) =>
  run([join(cwd, 'node_modules/traitscope/dist/bin/traitscope.js'), ...args], cwd, env)

describe('an installation from the registry', () => {
  it('should have fetched the package of this platform, a handful of others and no build tool', () => {
    expect(registry.downloads.filter((name) => name.startsWith('@traitscope/'))).toEqual([platform])
    expect(registry.downloads.length).toBeLessThan(10)
    expect(registry.downloads.filter((name) => /cmake|addon-api|api-headers/.test(name))).toEqual([])
  })

  it('should take the addon of that package, and say so', async () => {
    const { code, stdout } = await traitscope(['doctor', '--json'], app)
    expect(code).toBe(0)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ version: packageVersion, problems: [], addonOrigin: 'platform package' })
    expect(report.addon).toContain(join('app', 'node_modules', platform))
    expect(report.passedOver).toEqual([expect.stringMatching(/build.Release.traitscope\.node: not there/)])
    const page = await traitscope(['doctor'], app)
    expect(page.stdout).toMatch(/^ +platform package \(passed over: .*not there\)$/m)
  })

  it.runIf(!onWindows)('should have a command line', async () => {
    const { code, stdout } = await npm(['exec', '--no', 'traitscope', '--', '--version'], app)
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${packageVersion}\n` })
  })

  it('should run the demo, whose files it brings along', async () => {
    const { code, stdout } = await traitscope(['demo', '--speed', '0', '--json', '-q'], app)
    expect(code).toBe(0)
    const demo = JSON.parse(stdout)
    expect(demo).toMatchObject({ organism: 'gemma2' })
    for (const { points } of demo.runs) {
      expect(points.every(({ trueEm }: { trueEm?: number }) => trueEm !== undefined)).toBe(true)
    }
  })

  it('should find its own trait pack', async () => {
    const core = join(app, 'node_modules/traitscope/traits/core.yaml')
    const { code, stdout } = await traitscope(['inspect', core], app)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^kind +trait pack/)
  })

  it.each([
    ['import', 'app.mjs', "import { openModel } from 'traitscope'\n"],
    ['require from CommonJS', 'app.cjs', "const { openModel } = require('traitscope');\n"],
    ['dynamic import from CommonJS', 'later.cjs', "const { openModel } = await import('traitscope')\n"],
  ])('should load by %s', async (_, file, head) => {
    const body = `const model = await openModel(${JSON.stringify(TINY_BASE)}, { threads: 1 })
      console.log(model.info.nEmbd)
      await model.close()`
    const inside = head.includes('await')
    const text = file.endsWith('.mjs')
      ? `${head}${body}\n`
      : `${inside ? '' : head}(async () => {\n${inside ? head : ''}${body}\n})()\n`
    writeFileSync(join(app, file), text)
    expect(await run([file], app)).toEqual({ code: 0, stdout: '64\n', stderr: '' })
  })

  it('should keep its inner files to itself, package.json and schemas excepted', async () => {
    const text = `for (const name of ['traitscope/package.json', 'traitscope/formats/event.schema.json', 'traitscope/dist/lib/binding.js']) {
      try { console.log(import.meta.resolve(name).length > 0) } catch (error) { console.log(error.code) }
    }`
    writeFileSync(join(app, 'inner.mjs'), text)
    const { stdout } = await run(['inner.mjs'], app)
    expect(stdout).toBe('true\ntrue\nERR_PACKAGE_PATH_NOT_EXPORTED\n')
  })

  it.each(['nodenext', 'bundler'])(
    'should have types for a strict user with %s resolution',
    async (resolution) => {
      writeFileSync(
        join(app, 'app.mts'),
        `import { type HiddenStates, hiddenStates, openModel, watchRun } from 'traitscope'
      import { Ridge } from 'traitscope/estimators'
      import { type RunGeometry, runGeometry } from 'traitscope/evaluation'
      export async function first(): Promise<HiddenStates> {
        const model = await openModel('base.gguf', { gpuLayers: 0 })
        return hiddenStates(model, [Int32Array.of(1, 2)], { layers: [1], pool: 'last' })
      }
      // @ts-expect-error the types are real: a path is text
      openModel(1)
      export const geometry: Promise<RunGeometry> = runGeometry('runs')
      export const weights: readonly number[] = new Ridge({ alpha: 10 }).weights
      export type Watch = ReturnType<typeof watchRun>\n`,
      )
      const compilerOptions = {
        module: resolution === 'nodenext' ? 'nodenext' : 'esnext',
        moduleResolution: resolution,
        target: 'es2023',
        lib: ['es2023', 'esnext.disposable'],
        types: ['node'],
        typeRoots: [join(packageRoot, 'node_modules/@types')],
        strict: true,
        noEmit: true,
      }
      const config = { compilerOptions, files: ['app.mts'] }
      writeFileSync(join(app, 'tsconfig.json'), JSON.stringify(config))
      const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
      expect(await run([tsc, '-p', '.'], app)).toMatchObject({ code: 0, stdout: '' })
    },
  )
})

describe('an installation without the package of its platform', () => {
  it('should name the command that installs it, which does', async () => {
    const folder = emptyApp('omitted')
    const flags = ['--omit=optional', '--ignore-scripts']
    expect(await npm(['install', 'traitscope', ...flags], folder)).toMatchObject({ code: 0 })
    const broken = await traitscope(['doctor', '--json'], folder)
    expect(broken.code).toBe(1)
    const [problem] = JSON.parse(broken.stdout).problems
    expect(problem).toContain(`${platform}: not installed`)
    const command = /left out as an optional dependency: `npm (.+)`\.$/.exec(problem)
    expect(command, problem).not.toBeNull()
    expect(await npm(command![1]!.split(' '), folder)).toMatchObject({ code: 0 })
    expect(await traitscope(['doctor'], folder)).toMatchObject({ code: 0 })
  })

  it('should give an error with a code where a program uses it, never silence', async () => {
    const folder = emptyApp('program')
    expect(await npm(['install', 'traitscope', '--omit=optional'], folder)).toMatchObject({ code: 0 })
    const body = `import { openModel } from 'traitscope'
      await openModel(${JSON.stringify(TINY_BASE)}).catch(({ code, message }) => console.log(code, message))`
    writeFileSync(join(folder, 'app.mjs'), body)
    const { code, stdout } = await run(['app.mjs'], folder)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^BINDING .*not installed/)
  })

  it('should refuse one of another version', async () => {
    const folder = emptyApp('other')
    expect(await npm(['install', 'traitscope', '--ignore-scripts'], folder)).toMatchObject({ code: 0 })
    const manifest = join(folder, 'node_modules', platform, 'package.json')
    const text = readFileSync(manifest, 'utf8')
    writeFileSync(manifest, text.replace(`"version": "${packageVersion}"`, '"version": "0.0.1"'))
    const { code, stdout } = await traitscope(['doctor'], folder)
    expect(code).toBe(1)
    expect(stdout).toContain(`it is 0.0.1, expected ${packageVersion}`)
  })
})
