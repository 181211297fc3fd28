// Makes the package of this platform, build-release/<platform>-<arch>/, with prebuildify: the addon, llama.cpp and ggml as shared
// libraries beside it, and one library of CPU kernels per instruction set, of which the best that the machine can run is loaded.
//
// prebuildify expects to drive node-gyp; it runs this same file in its place, which builds through CMake.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compilePortable, portableFolder } from './build-native.mjs'
import { root } from './llama-source.mjs'
import { releases, writePlatformPackage } from './packages.mjs'

const require = createRequire(import.meta.url)
const stage = join(root, 'build-portable')

if (process.argv[2] === 'rebuild') {
  compilePortable(portableFolder, join(stage, 'build', 'Release'))
} else {
  const prebuildify = require('prebuildify')
  mkdirSync(stage, { recursive: true })
  // prebuildify spawns one program name: a small launcher stands for `node scripts/prebuild.mjs`.
  const launcher = join(stage, process.platform === 'win32' ? 'build.cmd' : 'build.sh')
  const self = fileURLToPath(import.meta.url)
  writeFileSync(
    launcher,
    process.platform === 'win32'
      ? `@"${process.execPath}" "${self}" %*\r\n`
      : `#!/bin/sh\nexec "${process.execPath}" "${self}" "$@"\n`,
    { mode: 0o755 },
  )
  const out = join(releases, `${process.platform}-${process.arch}`)
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  prebuildify(
    {
      cwd: stage,
      out,
      name: 'traitscope',
      napi: true,
      strip: true,
      targets: [process.versions.node],
      nodeGyp: launcher,
    },
    (error) => {
      if (error) {
        console.error(`traitscope: the prebuild failed: ${error.message}`)
        process.exit(1)
      }
      writePlatformPackage(out)
      console.error(`traitscope: made ${out}`)
    },
  )
}
