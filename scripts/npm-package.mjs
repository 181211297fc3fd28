// Packages of others, fetched with the npm client at one exact version and checked: it is the only network access of ours, and its
// settings (proxy, mirror, offline cache) hold here too. lib/backends calls this as well.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

export class SetupError extends Error {}

/** First regular file called `name` in an uncompressed tar archive (ustar: 512-byte header, octal size at 124). */
export function tarEntry(tar, name) {
  for (let at = 0; at + 512 <= tar.length; ) {
    const entry = tar.toString('utf8', at, at + 100).replace(/\0.*$/s, '')
    if (entry === '') return undefined
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8)
    if (!Number.isSafeInteger(size)) return undefined
    if (entry === name) return tar.subarray(at + 512, at + 512 + size)
    at += 512 + Math.ceil(size / 512) * 512
  }
  return undefined
}

export function integrityOf(bytes) {
  return `sha512-${createHash('sha512').update(bytes).digest('base64')}`
}

/** npm sets npm_config_* for its scripts; a `--global` or `--dry-run` of the outer call must not reach a call of ours. */
export function npmEnvironment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([key]) => !/^npm_config_(global|dry_run|json|pack_destination)$/i.test(key),
    ),
  )
}

/** Runs a program; a missing program or a failure becomes a SetupError that says what to do. */
export function runOrExplain(program, args, { hint, ...options }) {
  const run = spawnSync(program, args, { encoding: 'utf8', ...options })
  if (run.error?.code === 'ENOENT') throw new SetupError(`${program} was not found. ${hint}`)
  if (run.status !== 0) {
    const output = `${run.stdout ?? ''}${run.stderr ?? ''}`.trim().split('\n').slice(-12).join('\n')
    throw new SetupError(`\`${program} ${args.join(' ')}\` failed. ${hint}\n${output}`)
  }
  return run.stdout ?? ''
}

/**
 * The tarball of a package in `folder`: one that is there and intact, or a fresh one.
 *
 * @param pinned `spec` (name@version), `file` that npm calls its tarball, `integrity`, and `what` it is, for the user
 */
export function fetchPackage({ spec, file, integrity, what }, folder, hint) {
  const tarball = join(folder, file)
  const intact = () => existsSync(tarball) && integrityOf(readFileSync(tarball)) === integrity
  if (intact()) return tarball
  mkdirSync(folder, { recursive: true })
  rmSync(tarball, { force: true })
  console.error(`traitscope: fetching ${what} with npm`)
  runOrExplain('npm', ['pack', spec, '--pack-destination', folder, '--silent'], {
    ...{ cwd: folder, env: npmEnvironment(), shell: process.platform === 'win32', hint },
  })
  if (!intact()) {
    const found = existsSync(tarball) ? integrityOf(readFileSync(tarball)) : 'no file'
    rmSync(tarball, { force: true })
    throw new SetupError(
      `the download of ${spec} has integrity ${found}, expected ${integrity}: run the command again, and if it repeats, check your npm registry.`,
    )
  }
  return tarball
}
