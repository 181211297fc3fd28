import { Command } from 'commander'
import { inspectPath } from '../../lib/inspect/inspect.js'
import { adapterNameOption } from '../checkpoints.js'
import { addOutputOptions, option } from '../options.js'
import { createOutput } from '../output.js'

/** `traitscope inspect`: what a file or folder is, whether it is valid, and whether it fits a base. */
export function inspectCommand(_signal: AbortSignal): Command {
  const command = new Command('inspect')
    .description(
      'say what a GGUF, adapter, run folder, directions, bundle, trajectory or trait pack is, and check it',
    )
    .argument('<path>', 'file or folder')
    .addOption(option('-m, --model <gguf>', 'also say whether it fits this base, or was made on it'))
    .addOption(adapterNameOption())
    .addHelpText('after', '\nExample:\n  $ traitscope inspect out/ -m base.gguf')
  return addOutputOptions(command).action(
    async (
      path: string,
      flags: { model?: string; adapterName?: string; json?: boolean; quiet?: boolean },
      made: Command,
    ) => {
      const output = createOutput(flags)
      const inspection = await output.during(
        `looking at ${path}`,
        (onProgress) => inspectPath(path, { base: flags.model, adapterName: flags.adapterName, onProgress }),
        { announce: false, unit: 'checkpoints' },
      )
      if (inspection.fits?.ok === false) process.exitCode = 1
      if (inspection.fits === undefined && made.getOptionValueSource('model') === 'cli')
        output.remark(
          `nothing is compared with ${flags.model}: ${path} is a ${inspection.kind.replaceAll('-', ' ')}`,
        )
      if (flags.json) return output.json(inspection)
      const labels = [...inspection.facts.map(([label]) => label), ...(inspection.fits ? ['fits base'] : [])]
      const width = Math.max(...labels.map(({ length }) => length))
      for (const [label, value] of inspection.facts) output.print(`${label.padEnd(width)}  ${value}`)
      if (inspection.fits) {
        const { ok, reason } = inspection.fits
        output.print(
          `${'fits base'.padEnd(width)}  ${ok ? output.color('green', 'yes') : output.color('red', 'no')}: ${reason}`,
        )
      }
    },
  )
}
