import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { packageRoot, packageVersion } from '../package.js'

/** Where an addon comes from: compiled on this machine because somebody asked for it, or the prebuilt package of the platform. */
export type AddonOrigin = 'local build' | 'platform package'

/** A place where the addon may be. */
export interface AddonPlace {
  origin: AddonOrigin
  /** The addon, or the name of the package that would hold it. */
  at: string
  /** Why it holds nothing to load. */
  problem?: string
}

/** Folder that a build on this machine fills. */
const localBuild = join(packageRoot, 'build', 'Release')

/** Package with the prebuilt addon of this platform, whether it is published or not. */
export const platformPackage = `@traitscope/${process.platform}-${process.arch}`

const require = createRequire(join(packageRoot, 'package.json'))

/** In the order in which they are tried: a build of one's own wins, because only who wanted it makes one. */
export function addonPlaces(): AddonPlace[] {
  const built = join(localBuild, 'traitscope.node')
  return [
    { origin: 'local build', at: built, ...(existsSync(built) ? {} : { problem: 'not there' }) },
    inPlatformPackage(),
  ]
}

function inPlatformPackage(): AddonPlace {
  const origin = 'platform package'
  let manifest: string
  try {
    manifest = require.resolve(`${platformPackage}/package.json`)
  } catch {
    return { origin, at: platformPackage, problem: 'not installed' }
  }
  const folder = dirname(manifest)
  const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
  if (version !== packageVersion)
    return { origin, at: folder, problem: `it is ${version}, expected ${packageVersion}` }
  try {
    const { resolve } = require('node-gyp-build') as { resolve(folder: string): string }
    return { origin, at: resolve(folder) }
  } catch (error) {
    return { origin, at: folder, problem: (error as Error).message.trim().replace(/\s+/g, ' ') }
  }
}

/**
 * Loads an addon.
 *
 * @throws TraitscopeError `BINDING` when it is of another version; what the system's loader says otherwise.
 */
export function loadAddon<T extends { version: string }>(path: string): T {
  const addon: T = require(path)
  if (addon.version === packageVersion) return addon
  throw new TraitscopeError(
    'BINDING',
    `it was built for traitscope ${addon.version ?? 'before 0.1.0'}, expected ${packageVersion}`,
  )
}
