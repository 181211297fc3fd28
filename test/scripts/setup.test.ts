import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'

// What a user meets who lacks something: a copy of the build scripts runs with a PATH that holds only what we put there.
let folder: string
let project: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'traitscope-setup-'))
  project = join(folder, 'project')
  mkdirSync(project)
  for (const part of ['scripts', 'native', 'dist', 'CMakeLists.txt', 'package.json', 'tsconfig.build.json']) {
    cpSync(join(packageRoot, part), join(project, part), { recursive: true })
  }
  symlinkSync(join(packageRoot, 'node_modules'), join(project, 'node_modules'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a script of the copy; `programs` are stand-ins on the PATH, name -> shell script. */
function run(
  script: string,
  programs: Record<string, string>,
  env: NodeJS.ProcessEnv = {},
  args: string[] = [],
  where = project,
) {
  const path = mkdtempSync(join(folder, 'path-'))
  for (const [name, body] of Object.entries(programs)) {
    writeFileSync(join(path, name), `#!/bin/sh\n${body}\n`)
    chmodSync(join(path, name), 0o755)
  }
  return spawnSync(process.execPath, [join(where, script), ...args], {
    cwd: where,
    encoding: 'utf8',
    env: { PATH: path, HOME: folder, ...env },
  })
}

const ok = 'exit 0'
const build = 'scripts/build-native.mjs'

describe.runIf(process.platform !== 'win32')('the build', () => {
  it.each([
    ['cmake', {}, {}, [], /cmake was not found\. Install CMake 3\.18/],
    ['a compiler', { cmake: ok }, {}, [], /no C\+\+ compiler was found\. Install one with C\+\+17/],
    ['git', { cmake: ok, 'c++': ok }, {}, [], /git was not found\. Install git/],
    [
      'nvcc for --cuda',
      { cmake: ok, 'c++': ok },
      { CUDACXX: 'no-nvcc' },
      ['--cuda'],
      /needs nvcc, which was not found/,
    ],
    [
      'a network',
      { cmake: ok, 'c++': ok, git: ok, npm: 'exit 1' },
      {},
      [],
      /TRAITSCOPE_LLAMA_CPP.*the next run continues here/,
    ],
    [
      'a llama.cpp where TRAITSCOPE_LLAMA_CPP points',
      { cmake: ok, 'c++': ok },
      { TRAITSCOPE_LLAMA_CPP: '/' },
      [],
      /holds no include\/llama\.h/,
    ],
  ])('should say what to do without %s', (_, programs, env, args, message) => {
    const { status, stderr } = run(build, programs as Record<string, string>, env, args)
    expect(status).toBe(1)
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('should refuse a download with another content, and not keep it', () => {
    const npm =
      'while [ "$1" != --pack-destination ]; do shift; done; echo tampered > "$2/node-llama-cpp-3.22.1.tgz"'
    const { status, stderr } = run(build, { cmake: ok, 'c++': ok, git: ok, npm })
    expect(status).toBe(1)
    expect(stderr).toMatch(/has integrity sha512-.*expected sha512-bltIipu/)
    expect(existsSync(join(project, 'deps/node-llama-cpp-3.22.1.tgz'))).toBe(false)
  })

  it('should refuse an unknown option', () => {
    const { status, stderr } = run(build, {}, {}, ['--fast'])
    expect(status).toBe(1)
    expect(stderr).toMatch(/unknown option --fast; known are --cuda, --portable, --clean/)
  })
})

// In the copy: in the project itself a stale addon would be built anew while other tests run with it.
describe('the build of a checkout', () => {
  beforeAll(async () => {
    cpSync(join(packageRoot, 'build/Release'), join(project, 'build/Release'), { recursive: true })
    const { markBuilt } = await import(join(project, 'scripts/build-native.mjs'))
    markBuilt({ cuda: false })
  })
  afterAll(() => rmSync(join(project, 'build'), { recursive: true }))

  it('should do nothing when the addon is already built', () => {
    const { status, stderr } = run(build, {})
    expect({ status, stderr }).toEqual({ status: 0, stderr: 'traitscope: the native engine is up to date\n' })
  })

  it('should build when a source is newer than the addon', () => {
    appendFileSync(join(project, 'native/core/engine.cpp'), '// changed\n')
    const { status, stderr } = run(build, {})
    expect(status).toBe(1)
    expect(stderr).toMatch(/cmake was not found/)
  })
})

// A package from the registry has no TypeScript beside it, and none of the build's tools.
describe.runIf(process.platform !== 'win32')('the build of an installed package', () => {
  it('should install its tools into the cache, at the versions of the package, or say what it lacks', () => {
    const installed = join(folder, 'installed')
    mkdirSync(installed)
    for (const part of ['scripts', 'native', 'dist', 'CMakeLists.txt', 'package.json'])
      cpSync(join(packageRoot, part), join(installed, part), { recursive: true })
    const llama = join(folder, 'llama')
    mkdirSync(join(llama, 'include'), { recursive: true })
    writeFileSync(join(llama, 'include/llama.h'), '')
    const env = { TRAITSCOPE_LLAMA_CPP: llama, XDG_CACHE_HOME: join(folder, 'cache') }
    const npm = 'pwd >&2; echo "$@" >&2; exit 1'
    const { status, stderr } = run(build, { cmake: ok, 'c++': ok, npm }, env, [], installed)
    expect(status).toBe(1)
    const { devDependencies } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
    for (const tool of ['cmake-js', 'node-addon-api', 'node-api-headers'])
      expect(stderr).toContain(`${tool}@${devDependencies[tool]}`)
    expect(stderr).toContain(join(folder, 'cache/traitscope/build/tools-cmake-js'))
    expect(stderr).toMatch(/Check the network or npm registry settings; the next run continues here/)
  })
})

describe('an installation without the addon', () => {
  it('should say what was tried and what to do', () => {
    const { status, stdout } = run('dist/bin/traitscope.js', {}, {}, ['doctor'])
    expect(status).toBe(1)
    expect(stdout).toMatch(
      /problem.*could not be loaded; tried .*build\/Release\/traitscope\.node: not there; @traitscope\/\S+: not installed\. .*npm run build/,
    )
  })

  it('should take no build of another version', () => {
    mkdirSync(join(project, 'build/Release'), { recursive: true })
    cpSync(join(packageRoot, 'build/Release/traitscope.node'), join(project, 'build/Release/traitscope.node'))
    const manifest = readFileSync(join(project, 'package.json'), 'utf8')
    writeFileSync(join(project, 'package.json'), manifest.replace(/"version": "[^"]+"/, '"version": "9.9.9"'))
    const { status, stdout } = run('dist/bin/traitscope.js', {}, {}, ['doctor'])
    writeFileSync(join(project, 'package.json'), manifest)
    expect(status).toBe(1)
    expect(stdout).toMatch(/traitscope\.node: it was built for traitscope [\d.]+, expected 9\.9\.9/)
  })

  it('should name the failure of a broken addon', () => {
    mkdirSync(join(project, 'build/Release'), { recursive: true })
    writeFileSync(join(project, 'build/Release/traitscope.node'), 'no library')
    const { status, stderr } = run('dist/bin/traitscope.js', {}, {}, [
      'extract',
      '-m',
      'x.gguf',
      '-p',
      'x.txt',
      '--layer',
      '0',
      '-o',
      'x',
    ])
    expect(status).toBe(1)
    expect(stderr).toMatch(/\[(BINDING|FILE_NOT_FOUND)\]/)
    const doctor = run('dist/bin/traitscope.js', {}, {}, ['doctor', '--json'])
    expect(JSON.parse(doctor.stdout).problems[0]).toMatch(
      /traitscope\.node: .*(invalid ELF|too short|not a mach-o|dlopen)/i,
    )
  })
})
