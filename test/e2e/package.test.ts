import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { findOrganism } from '../../lib/demo/demo-organism.js'
import { findGrades } from '../../lib/labels/grades.js'
import { packageRoot, packageVersion } from '../../lib/package.js'
// @ts-expect-error a plain script
import { mainPackage, PLATFORMS, packageOfLocalBuild } from '../../scripts/packages.mjs'
import { Workspace } from './workspace.js'

// What gets published, as folders; test/e2e/install.test.ts installs it.

const work = new Workspace()

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

const manifestOf = (folder: string) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

const main = work.path('main')
let names: string[]
beforeAll(() => {
  mainPackage(main)
  names = filesBelow(main).map((path) => relative(main, path).split(sep).join('/'))
})

describe('the published package', () => {
  it('should hold what a user needs', () => {
    const wanted = [
      'README.md',
      'package.json',
      'LICENSE',
      'THIRD_PARTY_NOTICES.md',
      'CHANGELOG.md',
      'CMakeLists.txt',
      'dist/bin/traitscope.js',
      'dist/lib/index.js',
      'dist/lib/index.d.ts',
      'scripts/build-native.mjs',
      'traits/core.yaml',
      'traits/core-2.yaml',
    ]
    expect(wanted.filter((name) => !names.includes(name))).toEqual([])
    // The demo's base, bundle and checkpoints are 6 MB of it.
    const sizes = names.map((name) => readFileSync(join(main, name)).length)
    const size = sizes.reduce((sum, each) => sum + each, 0)
    console.info(`the main package: ${(size / 2 ** 20).toFixed(2)} MiB, ${names.length} files`)
    expect(size).toBeLessThan(14 * 2 ** 20)
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

  it('should link to nothing that does not come along, but by its address', () => {
    const pages = names.filter((name) => name.endsWith('.md'))
    expect(pages).toContain('integrations/README.md')
    const links = pages.flatMap((page) => {
      const text = readFileSync(join(main, page), 'utf8')
      return [...text.matchAll(/(?:\]\(|^\[[^\]]+\]: )(?![a-z]+:|#)([^)#\s]+)/gm)].map(([, to]) => [
        page,
        posix.join(posix.dirname(page), to!),
      ])
    })
    expect(links.filter(([, to]) => !existsSync(join(main, to!)))).toEqual([])
  })

  it('should hold the scripts that `traitscope build` runs, and no others', () => {
    const needed = new Set<string>()
    const visit = (name: string) => {
      if (needed.has(name)) return
      needed.add(name)
      const text = readFileSync(join(packageRoot, name), 'utf8')
      for (const [, to] of text.matchAll(/from '\.\/(.+?)'/g)) visit(`scripts/${to}`)
    }
    visit('scripts/build-native.mjs')
    expect(names.filter((name) => name.startsWith('scripts/')).sort()).toEqual([...needed].sort())
  })

  // Compilers load no @types by themselves any more, and the declarations name Node's.
  it('should ask for the types of Node where it begins', () => {
    const entries = Object.values(manifestOf(main).exports).flatMap(
      (one) => (one as { types?: string }).types ?? [],
    )
    expect(entries.length).toBe(3)
    for (const entry of entries) {
      expect(readFileSync(join(main, entry), 'utf8')).toMatch(
        /^\/\/\/ <reference types="node" preserve="true" \/>$/m,
      )
    }
  })

  // npm 12 runs none of a dependency's, and a package manager compiles where it finds a binding.gyp.
  it('should run nothing when it is installed', () => {
    const manifest = manifestOf(main)
    expect(manifest.scripts).toBeUndefined()
    expect(manifest.gypfile).toBe(false)
    expect(names).not.toContain('binding.gyp')
  })

  it('should name a package per platform at its own version, and install no build tool', () => {
    const { dependencies, optionalDependencies, devDependencies } = manifestOf(main)
    const platforms = Object.keys(PLATFORMS).map((platform) => `@traitscope/${platform}`)
    expect(platforms.length).toBe(5)
    for (const name of platforms) expect(optionalDependencies[name]).toBe(packageVersion)
    expect(Object.keys(dependencies)).toContain('node-gyp-build')
    for (const tool of ['cmake-js', 'node-addon-api', 'node-api-headers']) {
      expect(Object.keys(dependencies)).not.toContain(tool)
      expect(devDependencies[tool]).toMatch(/^\d+\.\d+\.\d+$/) // what `traitscope build` installs
    }
  })

  it('should hold every native file of the build definition', () => {
    const cmake = readFileSync(join(packageRoot, 'CMakeLists.txt'), 'utf8')
    const sources = cmake.match(/native\/[\w/]+\.cpp/g) ?? []
    expect(sources.length).toBeGreaterThan(0)
    expect(sources.filter((name) => !names.includes(name))).toEqual([])
  })
})

describe('the package of a platform', () => {
  it('should say what it runs on, and hold the addon where node-gyp-build looks', () => {
    const folder = work.path('platform')
    packageOfLocalBuild(folder)
    const platform = `${process.platform}-${process.arch}`
    const manifest = manifestOf(folder)
    expect(manifest).toMatchObject({ name: `@traitscope/${platform}`, version: packageVersion })
    expect(manifest).toMatchObject({ os: [process.platform], cpu: [process.arch] })
    if (process.platform === 'linux') expect(manifest.libc).toEqual(['glibc'])
    expect(manifest.scripts).toBeUndefined()
    expect(existsSync(join(folder, 'prebuilds', platform, 'traitscope.node'))).toBe(true)
    for (const file of ['LICENSE', 'THIRD_PARTY_NOTICES.md'])
      expect(existsSync(join(folder, file))).toBe(true)
  })
})

describe('the repository', () => {
  const manifest = manifestOf(packageRoot)

  // `npm ci` refuses a lock file without them, and a name that nobody has published can be taken by anybody.
  it('should name no package that is not in the registry yet', () => {
    const named = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
    expect(named.filter((name) => name.startsWith('@traitscope/'))).toEqual([])
  })

  it('should build in prepare, which only a checkout runs', () => {
    const { scripts } = manifest
    expect(scripts.prepare).toContain('build-native.mjs')
    for (const each of ['preinstall', 'install', 'postinstall']) expect(scripts[each]).toBeUndefined()
    expect(manifest.gypfile).toBe(false) // else npm would run node-gyp
  })

  it('should refuse to be published as it is', () => {
    const [program, ...args] = manifest.scripts.prepublishOnly.split(' ')
    expect(program).toBe('node')
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: packageRoot, encoding: 'utf8' })
    expect(status).toBe(1)
    expect(stderr).toMatch(/a checkout is not what gets published: `npm run prebuildify/)
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
    const fileOf = (url: string) =>
      prefixes.filter((start) => url.startsWith(start)).map((start) => url.slice(start.length))[0]
    expect(ours.length).toBeGreaterThan(5)
    expect(ours.filter((url) => fileOf(url) === undefined)).toEqual([]) // of another repository than package.json's
    expect(ours.filter((url) => !existsSync(join(packageRoot, fileOf(url)!)))).toEqual([])
  })

  it('should define every link that the text uses', () => {
    const text = readme.replace(/```[\s\S]*?```|`[^`]*`/g, '')
    const used = [...text.matchAll(/\[([\w./-]+)\](?![(:])/g)].map(([, label]) => label!)
    expect(used.length).toBeGreaterThan(5)
    expect(used.filter((label) => !definitions.has(label))).toEqual([])
    expect([...definitions.keys()].filter((label) => !used.includes(label))).toEqual([])
  })
})
