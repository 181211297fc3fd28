import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type AddonPlace, platformPackage } from '../../lib/addon/find-addon.js'
import {
  commandLine,
  isGlobal,
  nextStep,
  type PackageManager,
  packageManager,
} from '../../lib/addon/next-step.js'
import { packageVersion } from '../../lib/package.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-next-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('packageManager', () => {
  function project(name: string, ...locks: string[]): string {
    const inner = join(folder, name, 'node_modules', 'traitscope')
    mkdirSync(inner, { recursive: true })
    for (const lock of locks) writeFileSync(join(folder, name, lock), '')
    return inner
  }

  it.each([
    ['package-lock.json', 'npm'],
    ['npm-shrinkwrap.json', 'npm'],
    ['pnpm-lock.yaml', 'pnpm'],
    ['yarn.lock', 'yarn'],
    ['bun.lock', 'bun'],
    ['bun.lockb', 'bun'],
  ])('should tell by the nearest lock file: %s', (lock, manager) => {
    // Whoever runs the process may be another: npx in a project of pnpm's.
    const env = { npm_config_user_agent: 'npm/12.0.0 node/v24.0.0 linux x64' }
    expect(packageManager(project(lock, lock), env)).toBe(manager)
  })

  it('should ask the process where there are two lock files, or none', () => {
    const two = project('two', 'package-lock.json', 'yarn.lock')
    expect(packageManager(two, { npm_config_user_agent: 'yarn/4.0.0 npm/? node/v22' })).toBe('yarn')
    expect(packageManager(two, {})).toBe('npm')
    const none = project('none')
    expect(packageManager(none, { npm_config_user_agent: 'pnpm/11.0.0 npm/? node/v22' })).toBe('pnpm')
    expect(packageManager(none, {})).toBe('npm')
  })
})

describe('isGlobal', () => {
  it('should tell by the manifest beside the outermost node_modules', () => {
    const project = join(folder, 'global')
    mkdirSync(project)
    const [plain, stored] = ['traitscope', '.pnpm/traitscope@0.1.0/node_modules/traitscope'].map((path) =>
      join(project, 'node_modules', path),
    )
    expect([plain!, stored!].map(isGlobal)).toEqual([true, true])
    writeFileSync(join(project, 'package.json'), '{}')
    expect([plain!, stored!, project].map(isGlobal)).toEqual([false, false, false])
  })
})

describe('nextStep', () => {
  const root = join(folder, 'app', 'node_modules', 'traitscope')
  const platforms = [platformPackage]
  const places = (prebuilt: string, built = 'not there'): Required<AddonPlace>[] => [
    { origin: 'local build', at: 'build', problem: built },
    { origin: 'platform package', at: platformPackage, problem: prebuilt },
  ]
  const step = (
    of: Partial<Parameters<typeof nextStep>[1]> & object,
    prebuilt = 'not installed',
    libc = 'glibc',
  ) => nextStep(places(prebuilt), { root, manager: 'npm', platforms, global: false, ...of }, libc)

  it.each<[PackageManager, string]>([
    ['npm', 'npm install --include=optional --save-optional'],
    ['pnpm', 'pnpm add --save-optional'],
    ['yarn', 'yarn add --optional'],
    ['bun', 'bun add --optional'],
  ])('should install the package that was left out with %s', (manager, command) => {
    expect(step({ manager })).toContain(`\`${command} ${platformPackage}@${packageVersion}\``)
  })

  it('should install all again where npm did so for everybody', () => {
    expect(step({ global: true })).toContain(
      `\`npm install --global --include=optional traitscope@${packageVersion}\``,
    )
  })

  it.each<[PackageManager, string]>([
    ['npm', 'npx traitscope build'],
    ['pnpm', 'pnpm exec traitscope build'],
    ['yarn', 'yarn traitscope build'],
    ['bun', 'bunx traitscope build'],
  ])('should compile with %s where no prebuilt package runs', (manager, command) => {
    expect(step({ manager }, 'version GLIBC_2.38 not found')).toContain(`\`${command}\``)
    expect(step({ manager, platforms: ['@traitscope/other'] })).toContain(`\`${command}\``)
    expect(step({ manager }, 'not installed', 'musl')).toMatch(/no prebuilt package for .* with musl/)
  })

  it('should build a checkout in its own folder', () => {
    expect(step({ platforms: [], root: folder })).toContain(`\`npm run build\` in ${folder}`)
    expect(step({ platforms: [] })).toMatch(/^This package is from the repository.*`npx traitscope build`/)
  })

  it('should name what a build with CUDA lacks', () => {
    const lacking = places('not installed', 'libcudart.so.13: cannot open shared object file')
    expect(nextStep(lacking, { root, manager: 'npm', platforms, global: false }, 'glibc')).toMatch(
      /built with --cuda: .*LD_LIBRARY_PATH/,
    )
  })
})

describe('commandLine', () => {
  it('should be what the user types', () => {
    const root = join(folder, 'node_modules', 'traitscope')
    expect(commandLine('doctor', { manager: 'pnpm', global: false, root })).toBe(
      'pnpm exec traitscope doctor',
    )
    expect(commandLine('doctor', { manager: 'npm', global: true, root })).toBe('traitscope doctor')
    expect(commandLine('doctor', { manager: 'npm', global: false, root: folder })).toBe(
      'npx traitscope doctor',
    )
  })
})
