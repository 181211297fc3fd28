import { dirname } from 'node:path'
import { Command } from 'commander'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import { countedKinds } from '../../lib/formats/gguf/gguf-tensors.js'
import { fileFact } from '../../lib/formats/run/file-fact.js'
import { filesBelow } from '../../lib/formats/run/read-files.js'
import { type MergeReport, mergeAdapter } from '../../lib/model/merge/merge.js'
import { MERGE_TYPE_NAMES, mergeType } from '../../lib/model/merge/merge-types.js'
import { baseTemplateRemark } from '../../lib/prompts/own-template.js'
import { adapterNameOption, residualBaseOption } from '../checkpoints.js'
import { notes } from '../help.js'
import { addOutputOptions, integer, number, option } from '../options.js'
import { createOutput, type Output } from '../output.js'

interface Flags {
  model: string
  adapter: string
  adapterName?: string
  out: string
  type?: string
  adapterScale: number
  residualBase?: boolean
  threads?: number
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope merge`: a base and an adapter become one GGUF. */
export function mergeCommand(signal: AbortSignal): Command {
  const command = new Command('merge')
    .description('merge a PEFT adapter into a GGUF base')
    .addOption(
      option('-m, --model <gguf>', 'base model; of a split one the first part').makeOptionMandatory(),
    )
    .addOption(option('--adapter <dir>', 'PEFT LoRA folder to merge (also --lora)').makeOptionMandatory())
    .addOption(adapterNameOption())
    .requiredOption('-o, --out <gguf>', 'file to write')
    .option(
      '--type <type>',
      `type of the changed weights: float (F16, or F32 where it is), ${MERGE_TYPE_NAMES.join(', ').toLowerCase()} (default: as in the base)`,
    )
    .addOption(option('--adapter-scale <x>', 'factor on the whole change').argParser(number).default(1))
    .addOption(residualBaseOption())
    .addOption(option('-t, --threads <n>', 'CPU threads (default: all)').argParser(integer))
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      notes(`
Tensors that the adapter does not change are copied byte for byte. DoRA, biases, modules_to_save, trainable tokens and
adapters on embeddings and heads are merged too; what the architecture has no place for is refused.

Example:
  $ traitscope merge -m base.gguf --adapter out/checkpoint-40 -o merged.gguf`),
    )
  return addOutputOptions(command).action(async (flags: Flags) => {
    const output = createOutput(flags)
    const started = performance.now()
    const report = await output.during(`merging ${flags.adapter} into ${flags.model}`, (onProgress) =>
      mergeAdapter(flags.model, flags.adapter, flags.out, {
        adapterName: flags.adapterName,
        type: flags.type === undefined ? undefined : mergeType(flags.type),
        strength: flags.adapterScale,
        residualBase: flags.residualBase === true,
        threads: flags.threads,
        force: flags.force === true,
        signal,
        onProgress,
      }),
    )
    const seconds = (performance.now() - started) / 1000
    const files = filesBelow(flags.adapter, report.files)
    const otherTemplate = await baseTemplateRemark(
      [dirname(report.files[0]!.path)],
      await readGguf(flags.model),
    )
    const remarks = otherTemplate === undefined ? report.remarks : [...report.remarks, otherTemplate]
    if (flags.json) {
      const rest = { seconds: Number(seconds.toFixed(3)) }
      return output.json({ out: flags.out, ...report, adapter: flags.adapter, files, remarks, ...rest })
    }
    printReport(output, flags.out, report, seconds)
    output.print(`read from ${flags.adapter}: ${fileFact(files)}`)
    for (const remark of remarks) output.remark(remark)
  })
}

function printReport(output: Output, out: string, report: MergeReport, seconds: number): void {
  const counts = countedKinds(
    report.changed.map(({ from, to }) => (from === undefined || from === to ? to : `${from} to ${to}`)),
  )
  output.print(`${out}: ${report.changed.length} tensors changed (${counts}), ${seconds.toFixed(1)} s`)
  if (report.added.length > 0) output.print(`added: ${report.added.join(', ')}`)
  if (report.allZero)
    output.remark('the adapter changes nothing: all its weights are zero, or its alpha or --adapter-scale is')
  else if (report.lost.length > 0) {
    output.remark(
      `the change of ${report.lost.length} tensors is lost in rounding, e.g. ${report.lost[0]}; a finer --type keeps it`,
    )
  }
}
