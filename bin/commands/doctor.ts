import { existsSync } from 'node:fs'
import { availableParallelism, freemem, release, totalmem } from 'node:os'
import { Command } from 'commander'
import { diagnose } from '../../lib/binding.js'
import { defaultCacheDir } from '../../lib/formats/files/cache-dir.js'
import { createOutput } from '../output.js'

const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`

/** `traitscope doctor`: what is built and what this machine offers. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'show what is built, which devices and how much memory there are, and what to do about a problem',
    )
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ traitscope doctor')
    .action((options: { json?: boolean }) => {
      const output = createOutput()
      const report = {
        ...diagnose(),
        platform: `${process.platform} ${release()} ${process.arch}`,
        node: process.version,
        threads: availableParallelism(),
        memory: { free: freemem(), total: totalmem() },
        cacheDir: defaultCacheDir(),
        configFile: existsSync('traitscope.config.yaml'),
      }
      process.exitCode = report.problems.length === 0 ? 0 : 1
      if (options.json) return output.json(report)
      output.print(`traitscope  ${report.version}, llama.cpp ${report.llamaCpp}`)
      output.print(`node        ${report.node} on ${report.platform}`)
      output.print(`addon       ${report.addon ?? 'not loaded'}`)
      output.print(
        `cpu         ${report.threads} threads, ${gib(report.memory.free)} of ${gib(report.memory.total)} free`,
      )
      if (report.cpuFeatures) output.print(`            ${report.cpuFeatures}`)
      for (const device of report.devices) {
        const kind = device.isGpu ? 'gpu' : 'device'
        output.print(
          `${kind.padEnd(12)}${device.name}: ${device.description}, ${gib(device.memoryFree)} of ${gib(device.memoryTotal)} free`,
        )
      }
      for (const { name, value, ours } of report.precision) {
        output.print(`precision   ${name}=${value}${ours ? ' (set by traitscope)' : ' (yours)'}`)
      }
      output.print(`cache       step 0 of measured bases in ${report.cacheDir}`)
      if (report.problems.length === 0) return output.print(output.color('green', 'no problems found'))
      for (const problem of report.problems) output.print(`${output.color('red', 'problem')}     ${problem}`)
    })
}
