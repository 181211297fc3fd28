// The oldest glibc and libstdc++ that the libraries in a folder run with, from the versions of the symbols that they import.
//
//   node scripts/glibc-floor.mjs build-release/linux-x64 [--at-most 2.28]
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runOrExplain, SetupError } from './npm-package.mjs'

/** Newest version by prefix (`GLIBC`, `GLIBCXX`) that the dynamic symbols of a file need, from objdump's listing. */
export function newestVersions(listing) {
  const newest = {}
  for (const [, name, version] of listing.matchAll(/\((GLIBC|GLIBCXX|CXXABI)_([\d.]+)\)/g)) {
    if (newest[name] === undefined || compare(version, newest[name]) > 0) newest[name] = version
  }
  return newest
}

function compare(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number))
  const at = left.findIndex((part, i) => part !== (right[i] ?? 0))
  return at < 0 ? left.length - right.length : left[at] - (right[at] ?? 0)
}

function main([folder, flag, most]) {
  if (!folder) throw new SetupError('give the folder of a platform package')
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(node|so(\.\d+)?)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
  if (files.length === 0) throw new SetupError(`${folder} holds no library`)
  const floor = {}
  for (const file of files) {
    const hint = 'It is part of binutils.'
    const newest = newestVersions(runOrExplain('objdump', ['-T', file], { hint, maxBuffer: 1 << 28 }))
    for (const [name, version] of Object.entries(newest))
      if (floor[name] === undefined || compare(version, floor[name]) > 0) floor[name] = version
  }
  console.log(
    `${files.length} libraries: ${Object.entries(floor)
      .map((each) => each.join(' '))
      .join(', ')}`,
  )
  if (flag === '--at-most' && compare(floor.GLIBC, most) > 0)
    throw new SetupError(`they need glibc ${floor.GLIBC}, expected at most ${most}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main(process.argv.slice(2))
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`traitscope: ${error.message}`)
    process.exit(1)
  }
}
