import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { packageRoot, packageVersion } from '../package.js'
import { type AddonPlace, platformPackage } from './find-addon.js'

/** A package manager of JavaScript. */
export type PackageManager = 'npm' | 'pnpm' | 'yarn' | 'bun'

const LOCK_FILES: readonly (readonly [string, PackageManager])[] = [
  ['package-lock.json', 'npm'],
  ['npm-shrinkwrap.json', 'npm'],
  ['pnpm-lock.yaml', 'pnpm'],
  ['yarn.lock', 'yarn'],
  ['bun.lock', 'bun'],
  ['bun.lockb', 'bun'],
]

/**
 * Who installed what lies in `folder`: the nearest lock file says so. Where there is none, or two, whoever runs this process,
 * by the name that it gives itself in the environment.
 */
export function packageManager(folder: string, env: NodeJS.ProcessEnv = process.env): PackageManager {
  const agent = LOCK_FILES.find(([, name]) => env.npm_config_user_agent?.startsWith(`${name}/`))?.[1]
  for (let at = folder; ; at = dirname(at)) {
    const found = LOCK_FILES.filter(([file]) => existsSync(join(at, file))).map(([, name]) => name)
    if (found.length > 0) return agent && found.includes(agent) ? agent : found[0]!
    if (dirname(at) === at) return agent ?? 'npm'
  }
}

/** Where this package is, and what its manifest names. */
export interface Installation {
  root: string
  manager: PackageManager
  /** The published manifest names a package per platform, the repository's does not. */
  platforms: readonly string[]
  /** By `npm install --global`, which keeps no manifest beside its packages. */
  global: boolean
}

function installation(): Installation {
  const { optionalDependencies = {} } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
  return {
    root: packageRoot,
    manager: packageManager(packageRoot),
    platforms: Object.keys(optionalDependencies).filter((name) => name.startsWith('@traitscope/')),
    global: isGlobal(packageRoot),
  }
}

/**
 * Whether npm installed it for everybody: there is no manifest beside the outermost node_modules. The inner ones are the stores of
 * pnpm and of linked installs.
 */
export function isGlobal(root: string): boolean {
  const modules = root.indexOf(`${sep}node_modules${sep}`)
  return modules >= 0 && !existsSync(join(root.slice(0, modules), 'package.json'))
}

const ADD: Readonly<Record<PackageManager, string>> = {
  npm: 'npm install --include=optional --save-optional',
  pnpm: 'pnpm add --save-optional',
  yarn: 'yarn add --optional',
  bun: 'bun add --optional',
}

const EXEC: Readonly<Record<PackageManager, string>> = {
  npm: 'npx traitscope',
  pnpm: 'pnpm exec traitscope',
  yarn: 'yarn traitscope',
  bun: 'bunx traitscope',
}

/** How this user runs a command of ours. */
export function commandLine(
  args: string,
  { manager, global, root }: Pick<Installation, 'manager' | 'global' | 'root'> = installation(),
): string {
  if (!root.includes(`${sep}node_modules${sep}`)) return `npx traitscope ${args}`
  return global ? `traitscope ${args}` : `${EXEC[manager]} ${args}`
}

/** What to do when none of the places gave an addon: one sentence with the command. */
export function nextStep(
  places: readonly Required<AddonPlace>[],
  at: Installation = installation(),
  libc: string = systemLibc(),
): string {
  const [built, prebuilt] = ['local build', 'platform package'].map((origin) =>
    places.find((place) => place.origin === origin),
  )
  if (/\blib(cuda|cublas|nccl)/.test(built?.problem ?? ''))
    return "It was built with --cuda: put the libraries of CUDA and of the driver on the loader's path (LD_LIBRARY_PATH), or build without."
  const build = `\`${commandLine('build', at)}\` (needs git, CMake and a C++17 compiler)`
  if (at.platforms.length === 0) {
    const isInstalled = at.root.includes(`${sep}node_modules${sep}`)
    return isInstalled
      ? `This package is from the repository, by git or \`npm pack\`, and no prebuilt one belongs to it: run ${build}.`
      : `This is a checkout, which builds its own: run \`npm run build\` in ${at.root} (needs git, CMake and a C++17 compiler).`
  }
  if (!at.platforms.includes(platformPackage) || libc === 'musl')
    return `There is no prebuilt package for ${process.platform}-${process.arch} with ${libc}; compile one: ${build}.`
  if (prebuilt?.problem !== 'not installed')
    return `Install the same version of both packages again, or compile one for this machine: ${build}.`
  const add = at.global
    ? `npm install --global --include=optional traitscope@${packageVersion}`
    : `${ADD[at.manager]} ${platformPackage}@${packageVersion}`
  return `Install the prebuilt package, which was left out as an optional dependency: \`${add}\`.`
}

/** `glibc`, `musl`, or `no libc` where the platform has but one. */
function systemLibc(): string {
  if (process.platform !== 'linux') return 'no libc'
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
}
