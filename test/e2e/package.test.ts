import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative, sep } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import { findOrganism } from '../../lib/demo/demo-organism.js'
import { findGrades } from '../../lib/labels/grades.js'
import { packageRoot, packageVersion } from '../../lib/package.js'
import { TINY_BASE } from '../helpers/tiny.js'
import { Workspace } from './workspace.js'

// The tarball as a user installs it, in an empty project, without network and without compiling: the addon is copied
// from this checkout. Building it from the tarball's source takes minutes; CI does that once, in its own clone.

const work = new Workspace()
const require = createRequire(import.meta.url)
const onWindows = process.platform === 'win32'
const { dependencies } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>
}

function run(program: string, args: string[], cwd: string) {
  const env = { ...process.env, ...work.env }
  const done = spawnSync(program, args, { cwd, env, encoding: 'utf8', shell: onWindows })
  return { code: done.status, stdout: done.stdout, stderr: done.stderr }
}

/** Names of the regular files in an uncompressed ustar archive. */
function tarNames(tar: Buffer): string[] {
  const names: string[] = []
  for (let at = 0; at + 512 <= tar.length; ) {
    const field = (from: number, length: number) =>
      tar.toString('utf8', at + from, at + from + length).replace(/\0.*$/s, '')
    if (field(0, 100) === '') break
    const prefix = field(345, 155)
    names.push(prefix === '' ? field(0, 100) : `${prefix}/${field(0, 100)}`)
    at += 512 + 512 * Math.ceil(Number.parseInt(field(124, 12), 8) / 512)
  }
  return names
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

let app: string
let tarball: string
let names: string[]
beforeAll(() => {
  // Without scripts: dist/ is there, and rebuilding it would pull it from under the other tests.
  const packed = run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', work.folder],
    packageRoot,
  )
  if (packed.code !== 0) throw new Error(packed.stderr)
  const file = readdirSync(work.folder).find((name) => name.endsWith('.tgz'))!
  tarball = work.path(file)
  names = tarNames(gunzipSync(readFileSync(tarball))).map((name) => name.replace(/^package\//, ''))

  app = work.path('app')
  mkdirSync(app)
  work.write('app/package.json', '{ "name": "app", "private": true }\n')
  const flags = ['--ignore-scripts', '--offline', '--no-audit', '--no-fund']
  const installed = run('npm', ['install', tarball, ...flags], app)
  // npm's cache does not always hold what a fresh resolution asks for; the layout is then made by hand.
  if (installed.code !== 0) layOut()
  console.info(`installed ${installed.code === 0 ? 'by npm from its cache' : 'by unpacking'}`)
  const release = 'build/Release'
  const addon = join(packageRoot, release, 'traitscope.node')
  if (existsSync(addon)) cpSync(addon, join(app, 'node_modules/traitscope', release, 'traitscope.node'))
})

function layOut(): void {
  const modules = join(app, 'node_modules')
  mkdirSync(join(modules, '.bin'), { recursive: true })
  const unpacked = run('tar', ['-xzf', tarball, '-C', modules], app)
  if (unpacked.code !== 0) throw new Error(unpacked.stderr)
  cpSync(join(modules, 'package'), join(modules, 'traitscope'), { recursive: true })
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(join(packageRoot, 'node_modules', name), join(modules, name), 'junction')
  }
  if (!onWindows) {
    symlinkSync('../traitscope/dist/bin/traitscope.js', join(modules, '.bin/traitscope'))
  }
}

describe('the npm tarball', () => {
  it('should hold what a user needs', () => {
    const wanted = [
      'README.md',
      'package.json',
      'LICENSE',
      'THIRD_PARTY_NOTICES.md',
      'CHANGELOG.md',
      'CMakeLists.txt',
      'binding.gyp',
      'dist/bin/traitscope.js',
      'dist/lib/index.js',
      'dist/lib/index.d.ts',
      'scripts/install.mjs',
      'traits/core.yaml',
    ]
    expect(wanted.filter((name) => !names.includes(name))).toEqual([])
    const size = readFileSync(tarball).length
    const prebuilds = names.filter((name) => name.startsWith('prebuilds/'))
    console.info(
      `tarball: ${(size / 2 ** 20).toFixed(2)} MiB, ${names.length} files, ${prebuilds.length} of them prebuilds`,
    )
    // The demo's base, bundle and checkpoints are 6 MB of it, the rest is under one.
    if (prebuilds.length === 0) expect(size).toBeLessThan(7 * 2 ** 20)
  })

  it('should hold nothing else', () => {
    const top = new Set(names.map((name) => name.split('/')[0]))
    for (const folder of ['test', 'lab', 'lib', 'bin', 'benchmarks', 'build', 'deps', 'node_modules']) {
      expect(top.has(folder)).toBe(false)
    }
    expect(names.filter((name) => name.startsWith('docs/') && !name.endsWith('.schema.json'))).toEqual([])
    expect(names.filter((name) => /\.(gguf|test\.[jt]s|tgz)$|__pycache__/.test(name))).toEqual([
      'organisms/models/gemma2/base.gguf',
    ])
    // Build results of llama.cpp and sources of another tree have no place under native/.
    expect(names.filter((name) => name.startsWith('native/') && !/\.(cpp|h|txt|md)$/.test(name))).toEqual([])
  })

  it('should bring of the organisms what the demo reads, and nothing that it does not', async () => {
    const { base, bundle, runs } = await findOrganism()
    const named = [
      join(packageRoot, 'organisms/demo.json'),
      base,
      ...filesBelow(bundle),
      ...runs.flatMap(({ checkpoints }) => filesBelow(dirname(checkpoints[0]!.path))),
      ...(await Promise.all(runs.map(({ id }) => findGrades(join(dirname(bundle), '../runs/gemma2', id))))),
    ].map((path) => relative(packageRoot, path!).split(sep).join('/'))
    expect(names.filter((name) => name.startsWith('organisms/')).sort()).toEqual(named.sort())
  })

  it('should hold the scripts that installing runs, and no others', () => {
    const { scripts } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
    const needed = new Set<string>()
    const visit = (name: string) => {
      if (needed.has(name)) return
      needed.add(name)
      const text = readFileSync(join(packageRoot, name), 'utf8')
      for (const [, to] of text.matchAll(/from '\.\/(.+?)'/g)) visit(`scripts/${to}`)
    }
    visit(scripts.install.replace('node ', ''))
    visit(scripts.build.replace('node ', ''))
    expect(names.filter((name) => name.startsWith('scripts/')).sort()).toEqual([...needed].sort())
  })

  it('should hold every native file of the build definition', () => {
    const cmake = readFileSync(join(packageRoot, 'CMakeLists.txt'), 'utf8')
    const sources = cmake.match(/native\/[\w/]+\.cpp/g) ?? []
    expect(sources.length).toBeGreaterThan(0)
    expect(sources.filter((name) => !names.includes(name))).toEqual([])
  })
})

describe('README on npm', () => {
  const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')
  const { repository } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
  const name = repository.replace(/^github:/, '')
  const prefixes = [
    `https://github.com/${name}/blob/main/`,
    `https://github.com/${name}/tree/main/`,
    `https://raw.githubusercontent.com/${name}/main/`,
  ]
  const definitions = new Map(
    [...readme.matchAll(/^\[([^\]]+)\]: (\S+)$/gm)].map(([, label, url]) => [label!, url!]),
  )

  // There is no docs/ beside README on npm: a link must carry the whole address.
  it('should have no relative link and no picture from a folder', () => {
    expect(definitions.size).toBeGreaterThan(5)
    const inline = [...readme.matchAll(/\]\(([^)]+)\)/g)].map(([, to]) => to!)
    expect(inline.filter((to) => !/^https:|^#/.test(to))).toEqual([])
    expect([...definitions.values()].filter((url) => !url.startsWith('https://'))).toEqual([])
  })

  it('should link to files that are there, in the repository that package.json names', () => {
    const ours = [...definitions.values()].filter((url) => url.includes('/main/'))
    for (const url of ours) {
      const prefix = prefixes.find((start) => url.startsWith(start))
      expect(prefix, `${url} is of another repository than ${name}`).toBeDefined()
      expect(existsSync(join(packageRoot, url.slice(prefix!.length))), url).toBe(true)
    }
  })

  it('should define every link that the text uses', () => {
    const text = readme.replace(/```[\s\S]*?```|`[^`]*`/g, '')
    const used = [...text.matchAll(/\[([\w./-]+)\](?![(:])/g)].map(([, label]) => label!)
    expect(used.length).toBeGreaterThan(5)
    expect(used.filter((label) => !definitions.has(label))).toEqual([])
    expect([...definitions.keys()].filter((label) => !used.includes(label))).toEqual([])
  })
})

describe('the installed package', () => {
  it.runIf(!onWindows)('should have a command line', () => {
    const doctor = run('npx', ['--no-install', 'traitscope', 'doctor', '--json'], app)
    expect(doctor.code).toBe(0)
    const report = JSON.parse(doctor.stdout)
    expect(report).toMatchObject({ version: packageVersion, problems: [] })
    expect(report.addon).toContain(join('app', 'node_modules', 'traitscope'))
  })

  it('should run the demo, whose files it brings along', () => {
    const cli = join(app, 'node_modules/traitscope/dist/bin/traitscope.js')
    const { code, stdout } = run(process.execPath, [cli, 'demo', '--speed', '0', '--json', '-q'], app)
    expect(code).toBe(0)
    const demo = JSON.parse(stdout)
    expect(demo).toMatchObject({ organism: 'gemma2' })
    for (const { points } of demo.runs) {
      expect(points.every(({ trueEm }: { trueEm?: number }) => trueEm !== undefined)).toBe(true)
    }
  })

  it('should find its own trait pack', () => {
    const core = join(app, 'node_modules/traitscope/traits/core.yaml')
    const cli = join(app, 'node_modules/traitscope/dist/bin/traitscope.js')
    const { code, stdout } = run(process.execPath, [cli, 'inspect', core], app)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^kind +trait pack/)
  })

  it.each([
    ['import', 'app.mjs', "import { openModel } from 'traitscope'\n"],
    ['dynamic import from CommonJS', 'app.cjs', ''],
  ])('should load by %s', (_, file, head) => {
    const body = `const model = await openModel(${JSON.stringify(TINY_BASE)}, { threads: 1 })
      console.log(model.info.nEmbd)
      await model.close()`
    const text = head
      ? `${head}${body}\n`
      : `import('traitscope').then(async ({ openModel }) => {\n${body}\n})\n`
    writeFileSync(join(app, file), text)
    expect(run(process.execPath, [file], app)).toEqual({ code: 0, stdout: '64\n', stderr: '' })
  })

  it('should keep its inner files to itself, package.json and schemas excepted', () => {
    const text = `for (const name of ['traitscope/package.json', 'traitscope/formats/event.schema.json', 'traitscope/dist/lib/binding.js']) {
      try { console.log(import.meta.resolve(name).length > 0) } catch (error) { console.log(error.code) }
    }`
    writeFileSync(join(app, 'inner.mjs'), text)
    const { stdout } = run(process.execPath, ['inner.mjs'], app)
    expect(stdout).toBe('true\ntrue\nERR_PACKAGE_PATH_NOT_EXPORTED\n')
  })

  it.each(['nodenext', 'bundler'])('should have types for a strict user with %s resolution', (resolution) => {
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
    expect(run(process.execPath, [tsc, '-p', '.'], app)).toMatchObject({ code: 0, stdout: '' })
  })
})
