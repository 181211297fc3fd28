// The packages as they are published, made in build-release/: traitscope itself, and one per platform with its prebuilt addon.
//
//   npm run prebuildify          build-release/<platform>-<arch>/, compiled for every processor of this platform
//   node scripts/packages.mjs    build-release/traitscope/ beside it, and a tarball of each folder there
//       --all                    only where the package of every platform is there
//
// The repository's manifest names no package per platform: `npm ci` fails over one that is not in the registry yet, and a name
// that nobody has published could be published by anybody. The manifest that is published names them, at its own version.
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from './llama-source.mjs'
import { runOrExplain, SetupError } from './npm-package.mjs'

export const releases = join(root, 'build-release')

/** What each platform package runs on; there is one C library elsewhere than on Linux. */
export const PLATFORMS = {
  'linux-x64': { os: ['linux'], cpu: ['x64'], libc: ['glibc'] },
  'linux-arm64': { os: ['linux'], cpu: ['arm64'], libc: ['glibc'] },
  'darwin-arm64': { os: ['darwin'], cpu: ['arm64'] },
  'darwin-x64': { os: ['darwin'], cpu: ['x64'] },
  'win32-x64': { os: ['win32'], cpu: ['x64'] },
}

const source = () => JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const write = (path, manifest) => writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`)

/** Writes what belongs beside `prebuilds/<platform>/` in the folder of a platform's package. */
export function writePlatformPackage(folder, platform = `${process.platform}-${process.arch}`) {
  const runsOn = PLATFORMS[platform]
  if (!runsOn)
    throw new SetupError(
      `there is no package for ${platform}, only for ${Object.keys(PLATFORMS).join(', ')}.`,
    )
  const { version, homepage, repository, bugs, license, engines } = source()
  write(join(folder, 'package.json'), {
    name: `@traitscope/${platform}`,
    version,
    description: `The native addon of traitscope for ${platform}; installed with traitscope, of no use alone.`,
    ...{ homepage, repository, bugs, license, engines, ...runsOn },
    files: ['prebuilds'],
    preferUnplugged: true,
  })
  writeFileSync(
    join(folder, 'README.md'),
    `# @traitscope/${platform}\n\nThe native addon of [traitscope](${homepage}) for ${platform}. It comes with \`npm install traitscope\`.\n`,
  )
  for (const file of ['LICENSE', 'THIRD_PARTY_NOTICES.md']) copyFileSync(join(root, file), join(folder, file))
}

/** The platform's package with the addon of build/Release in it, for tests: it runs on this processor alone. */
export function packageOfLocalBuild(folder) {
  const platform = `${process.platform}-${process.arch}`
  const prebuilds = join(folder, 'prebuilds', platform)
  mkdirSync(prebuilds, { recursive: true })
  cpSync(join(root, 'build', 'Release'), prebuilds, { recursive: true })
  writePlatformPackage(folder, platform)
}

/** What differs in the published manifest: no scripts, a package per platform, nothing that a package manager would compile. */
function publishedManifest() {
  const { scripts: _, files, optionalDependencies, ...manifest } = source()
  const platforms = Object.keys(PLATFORMS).map((platform) => [`@traitscope/${platform}`, manifest.version])
  return {
    ...manifest,
    files: files.filter((file) => file !== 'binding.gyp'),
    optionalDependencies: { ...optionalDependencies, ...Object.fromEntries(platforms) },
  }
}

/** Fills a folder with what the main package publishes. */
export function mainPackage(folder) {
  rmSync(folder, { recursive: true, force: true })
  const hint = 'Its output says why.'
  const [{ files }] = JSON.parse(
    runOrExplain('npm', ['pack', '--json', '--dry-run', '--ignore-scripts'], {
      ...{ cwd: root, hint, shell: process.platform === 'win32' },
    }),
  )
  const manifest = publishedManifest()
  for (const { path } of files) {
    if (path === 'binding.gyp') continue
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    copyFileSync(join(root, path), join(folder, path))
  }
  write(join(folder, 'package.json'), manifest)
}

/** The tarball of a package's folder, as the registry would get it. */
export function packFolder(folder, destination) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', destination]
  const shell = process.platform === 'win32'
  const [{ filename }] = JSON.parse(
    runOrExplain('npm', args, { cwd: folder, shell, hint: 'Its output says why.' }),
  )
  return join(destination, filename)
}

function main() {
  if (process.argv.includes('--refuse'))
    throw new SetupError(
      `a checkout is not what gets published: \`npm run prebuildify && node scripts/packages.mjs\`, then publish the folders in ${releases}.`,
    )
  const missing = Object.keys(PLATFORMS).filter(
    (name) => !existsSync(join(releases, name, 'prebuilds', name)),
  )
  if (process.argv.includes('--all') && missing.length > 0)
    throw new SetupError(`${releases} holds no prebuild for ${missing.join(', ')}.`)
  mainPackage(join(releases, 'traitscope'))
  for (const name of readdirSync(releases)) {
    const folder = join(releases, name)
    if (existsSync(join(folder, 'package.json'))) console.log(packFolder(folder, releases))
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main()
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`traitscope: ${error.message}`)
    process.exit(1)
  }
}
