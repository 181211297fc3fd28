import { Command } from 'commander'
import { type BenchProgress, type BenchReport, benchModel } from '../../lib/bench/bench.js'
import { readingRemarks } from '../../lib/conditions/reading-remarks.js'
import { parametersText } from '../../lib/formats/gguf/gguf-tensors.js'
import { refuseParent, scanRunFolder } from '../../lib/formats/run/run-folder.js'
import { percent } from '../../lib/percent.js'
import { evaluationPrompts } from '../../lib/prompts/prompt-sets.js'
import { chatTokens } from '../../lib/prompts/prompt-tokens.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { CurrentLine } from '../current-line.js'
import { notes } from '../help.js'
import { addModelOptions, type ModelFlags, openFromFlags, templateFromFlags } from '../model.js'
import { addOutputOptions, integer, number, option } from '../options.js'
import { createOutput, duration, type Output, table } from '../output.js'
import { counted } from '../text.js'

interface Flags extends ModelFlags {
  layer?: number
  traits: string
  seconds: number
  run?: string
  json?: boolean
  quiet?: boolean
}

/** `traitscope bench`: what monitoring costs with this model on this machine. */
export function benchCommand(signal: AbortSignal): Command {
  const command = new Command('bench')
    .description('measure how fast this model is read here, and what monitoring a run costs')
    .addOption(
      option('-l, --layer <n>', 'block to read, 0-based (default: the middle one)').argParser(integer),
    )
    .addOption(option('--traits <file>', 'trait pack: core, core-2 or a YAML file').default('core'))
    .addOption(
      option('--seconds <s>', 'time for each way of computing; longer passes are sampled')
        .argParser(number)
        .default(4),
    )
    .addOption(option('--run <dir>', 'a run folder: what monitoring its checkpoints costs'))
    .addHelpText(
      'after',
      notes(`
The evaluation prompts are computed in six ways, from one prompt at a time through the whole model to what measure and
watch do. Each way gets the threads and the batch size that suit it best; -t and -ub fix them.

Example:
  $ traitscope bench -m base.gguf --layer 14`),
    )
  return addOutputOptions(addModelOptions(command)).action(async (flags: Flags) => {
    const output = createOutput(flags)
    const pack = await loadTraitPack(flags.traits)
    const found = flags.run === undefined ? undefined : await scanRunFolder(flags.run)
    if (found) refuseParent(found)
    const checkpoints = found?.checkpoints
    await using model = await openFromFlags(flags, output, signal)
    const template = await templateFromFlags(flags, model, pack.acknowledgement)
    const prompts = await chatTokens(
      model,
      template,
      evaluationPrompts(pack).map(({ messages }) => messages),
    )
    const remarks = readingRemarks(model, prompts)
    for (const remark of remarks) output.remark(remark)
    using measuring = new CurrentLine(output)
    let isAnnounced = false
    const onProgress = ({ what, n, of, seconds }: BenchProgress) => {
      measuring[Symbol.dispose]()
      if (of > 0 && !isAnnounced) {
        output.note(`${of} measurements, about ${duration(seconds)}`)
        isAnnounced = true
      }
      measuring.show(of > 0 ? `${n} of ${of}: ${what}` : what)
    }
    const report = await benchModel(model, prompts, {
      layer: flags.layer,
      seconds: flags.seconds,
      threads: flags.threads === undefined ? undefined : [flags.threads],
      batchTokens: flags.batchTokens === undefined ? undefined : [flags.batchTokens],
      signal,
      onProgress,
    })
    measuring[Symbol.dispose]()
    const run = checkpoints && {
      checkpoints: checkpoints.length,
      seconds: checkpoints.length * report.checkpointSeconds,
    }
    if (flags.json) return output.json({ ...report, ...(run ? { run } : {}), remarks })
    print(report, output)
    if (run) {
      output.print(
        `${flags.run}: ${counted(run.checkpoints, 'checkpoint')}, ${duration(run.seconds)} to measure them all`,
      )
    }
  })
}

function print(report: BenchReport, output: Output): void {
  const { model, machine, layer, prompts, rows, roof, adapter } = report
  output.print(
    `${model.architecture}, ${parametersText(model.nParams)} parameters, weights mostly ${model.type}, layer ${layer} of ${model.nLayer}`,
  )
  output.print(`${machine.cpu}, ${machine.threads} threads, on ${machine.device}`)
  output.print(`${prompts.count} prompts of ${prompts.tokens} tokens in all`)
  output.print('')
  output.print(
    table(
      ['', 'seconds', 'prompts/s', 'tokens/s', 'computed', 'threads', 'batch', 'run', 'difference', 'speed'],
      rows.map((row) => [
        row.variant,
        row.seconds.toFixed(2),
        row.promptsPerSecond.toFixed(1),
        row.tokensPerSecond.toFixed(0),
        String(row.computedTokens),
        String(row.threads),
        String(row.batchTokens),
        percent(row.share, 0),
        row.difference.toExponential(0),
        `${row.speedup.toFixed(2)}x`,
      ]),
    ),
  )
  output.print([
    'run: share of the prompts that was timed, the rest is extrapolated; computed: tokens; difference: largest of the states',
    'from those of the first way, relative L2; speed: against it',
  ])
  const peak = report.peakAnonymousBytes
  output.print('')
  output.print(
    `matrix products alone  ${(roof.operationsPerSecond / 1e9).toFixed(0)} GFLOP/s, of which the pass reaches ${percent(roof.share, 0)}`,
  )
  output.print(`outside llama.cpp      ${percent(report.overheadShare, 2)} of the time`)
  output.print(
    `anonymous memory       ${peak === null ? 'cannot be read on this platform' : `${(peak / 2 ** 20).toFixed(0)} MiB at most`}`,
  )
  output.print(
    `adapter swap           ${(1000 * adapter.swapSeconds).toFixed(0)} ms besides ${(1000 * adapter.readSeconds).toFixed(0)} ms for its files (rank 16, ${adapter.modules} modules)`,
  )
  output.print(`one checkpoint         ${report.checkpointSeconds.toFixed(2)} s`)
}
