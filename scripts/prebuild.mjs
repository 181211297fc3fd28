// Makes the package of this platform, build-release/<platform>-<arch>/, with prebuildify: the addon, llama.cpp and ggml as shared
// libraries beside it, and one library of CPU kernels per instruction set, of which the best that the machine can run is loaded.
//
// prebuildify expects to drive node-gyp; it runs this same file in its place, which builds through CMake.
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compile } from './build-native.mjs'
import { llamaSource, root } from './llama-source.mjs'
import { releases, writePlatformPackage } from './packages.mjs'

const require = createRequire(import.meta.url)
const stage = join(root, 'build-portable')
const raw = join(stage, 'raw')
const release = join(stage, 'build', 'Release')

/** Files that belong into the package: the addon, each library once (by the name that others link to), no symlinks. */
function wanted(file) {
  return /^traitscope\.node$|^lib(llama|ggml|ggml-base)\.so\.\d+$|^libggml-cpu-.*\.so$|\.dylib$|\.dll$/.test(
    file,
  )
}

if (process.argv[2] === 'rebuild') {
  compile(join(stage, 'cmake'), {
    TRAITSCOPE_LLAMA_CPP: llamaSource(),
    TRAITSCOPE_PORTABLE: 'ON',
    TRAITSCOPE_OUTPUT: raw,
  })
  rmSync(release, { recursive: true, force: true })
  mkdirSync(release, { recursive: true })
  // llama.cpp puts its libraries into bin/ of the build.
  for (const folder of [raw, join(stage, 'cmake', 'bin')]) {
    for (const file of readdirSync(folder).filter(wanted))
      copyFileSync(join(folder, file), join(release, file))
  }
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
