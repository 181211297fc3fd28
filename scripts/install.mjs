// npm's install script: a working prebuild is used, an up-to-date build is kept, anything else is built from source.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { addonFile, buildNative } from './build-native.mjs'
import { root, SetupError } from './llama-source.mjs'

const require = createRequire(import.meta.url)

/** Loading is the only test that counts: a prebuild for another libc or CPU fails here. */
function loads(load) {
  try {
    load()
    return true
  } catch {
    return false
  }
}

try {
  const wantsBuild = process.env.npm_config_build_from_source !== undefined
  const prebuilt =
    !wantsBuild &&
    existsSync(join(root, 'prebuilds')) &&
    loads(() => require(require('node-gyp-build').resolve(root)))
  if (!prebuilt) buildNative()
  if (!prebuilt && !loads(() => require(addonFile))) buildNative({ clean: true })
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(`traitscope: ${error.message}`)
  process.exit(1)
}
