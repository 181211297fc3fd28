import { Command } from 'commander'
import { buildAddon } from '../../lib/addon/build-addon.js'
import { notes } from '../help.js'

/** `traitscope build`: compiles the addon on request; nothing is compiled by installing the package. */
export function buildCommand(signal: AbortSignal): Command {
  return new Command('build')
    .description('compile the native addon for this machine; it then goes before the prebuilt one')
    .option('--cuda', 'with the CUDA backend (needs nvcc)')
    .option('--portable', 'kernels and backends as libraries, as in the prebuilt packages (ten minutes)')
    .option('--clean', 'from nothing, not from what an earlier build left')
    .addHelpText(
      'after',
      notes(`
Needs git, CMake and a C++17 compiler. The source of llama.cpp (34 MB) and cmake-js are fetched with npm into the cache.

Example:
  $ traitscope build`),
    )
    .action(async (options: { cuda?: boolean; portable?: boolean; clean?: boolean }) => {
      if (!(await buildAddon({ ...options, signal }))) process.exitCode = 1
    })
}
