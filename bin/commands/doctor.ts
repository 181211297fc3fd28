import { existsSync } from 'node:fs'
import { availableParallelism, freemem, release, totalmem } from 'node:os'
import { Command } from 'commander'
import { diagnose } from '../../lib/binding.js'
import { defaultCacheDir } from '../../lib/formats/files/cache-dir.js'
import { checkDevices, type DeviceCheck } from '../../lib/model/self-check.js'
import { createOutput } from '../output.js'

const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`

/** The larger error of the two passes, by type. */
function describeCheck({ errors }: DeviceCheck): string {
  const each = errors.map(
    ({ type, unsplit, split, atMost }) =>
      `${type} ${Math.max(unsplit, split).toExponential(1)} (at most ${atMost})`,
  )
  return `self-check against the CPU, relative L2: ${each.join(', ')}`
}

/** ggml calls all memory of a machine free, whoever uses it. */
const withFreeMemory = <T extends { isGpu: boolean; name: string; memoryFree: number }>(device: T): T =>
  device.name === 'CPU' && !device.isGpu ? { ...device, memoryFree: freemem() } : device

/** `traitscope doctor`: what is built and what this machine offers. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'show what is built, which devices and how much memory there are, and what to do about a problem',
    )
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ traitscope doctor')
    .action(async (options: { json?: boolean }) => {
      const output = createOutput()
      const diagnosis = diagnose()
      const checks = await output.during('checking devices', () => checkDevices(), { announce: false })
      const report = {
        ...diagnosis,
        devices: diagnosis.devices.map(withFreeMemory),
        checks,
        problems: [
          ...diagnosis.problems,
          ...checks.flatMap(({ device, problem }) => (problem ? [`${problem}; ${device} is not used`] : [])),
        ],
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
      if (report.addonOrigin) {
        const why = report.passedOver.map((place) => ` (passed over: ${place})`).join('')
        output.print(`            ${report.addonOrigin}${why}`)
      }
      output.print(
        `cpu         ${report.threads} threads, ${gib(report.memory.free)} of ${gib(report.memory.total)} free`,
      )
      if (report.cpuFeatures)
        output.print(`            ${report.cpuFeatures.replace(/^CPU : | = 1| \|/g, '')}`)
      for (const device of report.devices) {
        const kind = device.isGpu ? 'gpu' : 'device'
        output.print(
          `${kind.padEnd(12)}${device.name}: ${device.description}, ${gib(device.memoryFree)} of ${gib(device.memoryTotal)} free`,
        )
        const check = checks.find((each) => each.device === device.name)
        if (check && check.errors.length > 0) output.print(`            ${describeCheck(check)}`)
      }
      for (const path of report.backends) output.print(`backend     ${path}`)
      for (const { name, value, ours } of report.precision) {
        output.print(`precision   ${name}=${value}${ours ? ' (set by traitscope)' : ' (yours)'}`)
      }
      output.print(`cache       step 0 of measured bases in ${report.cacheDir}`)
      if (report.problems.length === 0) return output.print(output.color('green', 'no problems found'))
      for (const problem of report.problems) output.print(`${output.color('red', 'problem')}     ${problem}`)
    })
}
