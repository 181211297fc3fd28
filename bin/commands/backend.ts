import { Command } from 'commander'
import {
  addBackend,
  addedFile,
  keptFolders,
  mib,
  publishedBackend,
  removeBackend,
} from '../../lib/backends/backends.js'
import { PUBLISHED } from '../../lib/backends/published.js'
import { missingLibraries } from '../../lib/backends/system.js'
import { diagnose } from '../../lib/binding.js'
import { notes } from '../help.js'
import { createOutput } from '../output.js'

/** `traitscope backend`: what drives a GPU, fetched on request instead of compiled. */
export function backendCommand(): Command {
  return new Command('backend')
    .description('compute on a GPU without a compiler: add, list and remove prebuilt ggml backends')
    .addCommand(add())
    .addCommand(list())
    .addCommand(remove())
}

function add(): Command {
  return new Command('add')
    .argument('<name>', 'vulkan or cuda')
    .description(
      'fetch a backend of the same llama.cpp, as node-llama-cpp publishes it (MIT), into the cache',
    )
    .option('--dry-run', 'say what it would take, and fetch nothing')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      notes(`
A prebuilt addon loads it from then on; TRAITSCOPE_BACKEND=FILE (an absolute path) loads another one.

Example:
  $ traitscope backend add vulkan`),
    )
    .action(async (name: string, options: { dryRun?: boolean; json?: boolean }) => {
      const output = createOutput()
      const backend = publishedBackend(name)
      const missing = missingLibraries(backend)
      const { spec, downloadBytes, keptBytes } = backend
      output.note(`${spec} (MIT): ${mib(downloadBytes)} to fetch, ${mib(keptBytes)} to keep`)
      for (const each of missing) output.note(`missing on this system: ${each}`)
      const facts = { name, spec, downloadBytes, keptBytes, missing }
      if (options.dryRun) return options.json ? output.json(facts) : undefined
      const path = await addBackend(backend)
      const { backends, devices, problems } = diagnose()
      const found = devices.filter(({ backend: driver }) => driver.toLowerCase().startsWith(name))
      const loaded = backends.includes(path) && found.length > 0
      process.exitCode = loaded ? 0 : 1
      if (options.json) return output.json({ ...facts, path, loaded, devices: found, problems })
      output.print(`added ${path}`)
      for (const device of found) output.print(`device      ${device.name}: ${device.description}`)
      for (const problem of problems) output.print(`${output.color('red', 'problem')}     ${problem}`)
      if (!loaded && problems.length === 0)
        output.print(
          `${output.color('red', 'problem')}     it was loaded and finds no device: is the driver installed?`,
        )
    })
}

function list(): Command {
  return new Command('list')
    .description('show which backends there are for this platform, and which were added')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ traitscope backend list')
    .action((options: { json?: boolean }) => {
      const output = createOutput()
      const platform = `${process.platform}-${process.arch}`
      const { backends: loaded, problems } = diagnose()
      const known = PUBLISHED.filter((each) => each.platform === platform)
      const backends = known.map((backend) => {
        const { name, spec, downloadBytes } = backend
        const path = addedFile(backend)
        return { name, spec, downloadBytes, path, loaded: path !== undefined && loaded.includes(path) }
      })
      const older = keptFolders().filter((name) => !known.some(({ file }) => file === `${name}.tgz`))
      if (options.json) return output.json({ platform, backends, older, problems })
      if (known.length === 0) output.print(`none is published for ${platform}`)
      for (const { name, spec, downloadBytes, path, loaded: isLoaded } of backends) {
        const state = path
          ? `${isLoaded ? 'loaded' : 'not loaded'}: ${path}`
          : `${mib(downloadBytes)} to fetch`
        output.print(`${name.padEnd(12)}${spec}, ${state}`)
      }
      for (const name of older) output.print(`${'older'.padEnd(12)}${name}, of another version: not loaded`)
      for (const problem of problems) output.print(`${output.color('red', 'problem')}     ${problem}`)
    })
}

function remove(): Command {
  return new Command('remove')
    .argument('<name>', 'vulkan or cuda')
    .description('delete a backend that was added, of whatever version')
    .addHelpText('after', '\nExample:\n  $ traitscope backend remove vulkan')
    .action(async (name: string) => {
      const bytes = await removeBackend(publishedBackend(name))
      createOutput().print(bytes === 0 ? `${name} was not added` : `removed ${name}: ${mib(bytes)}`)
    })
}
