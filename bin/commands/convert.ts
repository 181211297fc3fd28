import { Command, Option } from 'commander'
import { convertModel } from '../../lib/conversion/convert-model.js'
import { notes } from '../help.js'
import { addOutputOptions, repeated } from '../options.js'
import { createOutput, type Output } from '../output.js'

interface Flags {
  out: string
  type?: 'f32' | 'f16' | 'bf16'
  name?: string
  pre?: string
  ignoreKey?: string[]
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope convert`: a Hugging Face model folder as one GGUF file. */
export function convertCommand(signal: AbortSignal): Command {
  const command = new Command('convert')
    .description('convert a Hugging Face model folder to a GGUF base')
    .argument('<folder>', 'folder with config.json, safetensors and the tokenizer')
    .requiredOption('-o, --out <gguf>', 'file to write')
    .addOption(
      new Option('--type <type>', 'of the weight matrices (default: as they are stored)').choices([
        'f32',
        'f16',
        'bf16',
      ]),
    )
    .option('--name <text>', "general.name of the file (default: the folder's name)")
    .option('--pre <rule>', "llama.cpp's name of the tokenizer's splitting rule (default: recognised)")
    .addOption(
      new Option(
        '--ignore-key <name>',
        'a key of its JSON files that changes nothing, by the name that a refusal gives it; repeatable',
      ).argParser(repeated),
    )
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      notes(`
Llama, Mistral, Qwen2 and 2.5, Qwen3, Gemma 2, Gemma 3, Phi-3 and Phi-4. Use it for the base of a fine-tuning run; whole
fine-tuned checkpoints need no converting, measure and watch read them.

Example:
  $ traitscope convert models/Qwen2.5-7B-Instruct -o base.gguf`),
    )
  return addOutputOptions(command).action(async (folder: string, flags: Flags) => {
    const output = createOutput(flags)
    const report = await inTwoParts(output, folder, flags.out, (onProgress) =>
      convertModel(folder, flags.out, {
        type: flags.type && ({ f32: 'F32', f16: 'F16', bf16: 'BF16' } as const)[flags.type],
        name: flags.name,
        pre: flags.pre,
        ignoreKeys: flags.ignoreKey,
        force: flags.force === true,
        signal,
        onProgress,
      }),
    )
    for (const key of report.ignoredKeys) output.remark(`ignored: ${key}`)
    for (const remark of report.remarks) output.remark(remark)
    if (report.compared.texts > 0) {
      output.note(
        `${report.compared.ids} token ids of ${report.compared.texts} texts are those of Hugging Face's tokenizer`,
      )
    }
    if (flags.json) return output.json({ path: flags.out, ...report })
    output.print(
      `${flags.out}: ${report.architecture}, ${report.blocks} blocks, ${report.tensors} tensors in ${report.type}, tokenizer ${report.pre}`,
    )
  })
}

/** A file that is written whole is still to be proved, which takes a while too. */
async function inTwoParts<T>(
  output: Output,
  folder: string,
  out: string,
  work: (onProgress: (fraction: number) => void) => Promise<T>,
): Promise<T> {
  let line = output.progress(`converting ${folder}`)
  let isWritten = false
  try {
    return await work((fraction) => {
      if (isWritten) return
      line.update(fraction)
      if (fraction < 1) return
      isWritten = true
      line.done()
      line = output.progress(`all is written: opening ${out} and reading a prompt`)
    })
  } finally {
    line.done()
  }
}
