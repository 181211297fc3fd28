import { Command, Option } from 'commander'
import { readingRemarks } from '../../lib/conditions/reading-remarks.js'
import { checkOutputFree, writeFileAtomic } from '../../lib/formats/files/atomic.js'
import { encodeSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { Pooling } from '../../lib/prompts/plan.js'
import { readPromptFile } from '../../lib/prompts/prompt-file.js'
import { promptTokens } from '../../lib/prompts/prompt-tokens.js'
import {
  type AdapterFlags,
  adaptersFromFlags,
  addAdapterOptions,
  refuseIdlePromptFlags,
} from '../adapters.js'
import { notes } from '../help.js'
import { addModelOptions, inputsOf, type ModelFlags, openFromFlags, templateFromFlags } from '../model.js'
import { addOutputOptions, integerList, option } from '../options.js'
import { createOutput } from '../output.js'

interface Flags extends ModelFlags, AdapterFlags {
  prompts: string
  layer: number[]
  pool: Pooling
  raw?: boolean
  out: string
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope extract`: hidden states of a user's own prompts. */
export function extractCommand(signal: AbortSignal): Command {
  const command = new Command('extract')
    .description('write the hidden states of prompts to a safetensors file')
    .requiredOption('-p, --prompts <file>', '.txt (a prompt a line), .jsonl or .json (prompt or messages)')
    .addOption(
      option('-l, --layer <n[,n]>', 'blocks to read, 0-based').argParser(integerList).makeOptionMandatory(),
    )
    .requiredOption('-o, --out <file>', 'safetensors file to write')
    .addOption(
      new Option('--pool <how>', 'last token, mean of all, or every token')
        .choices(['last', 'mean', 'tokens'])
        .default('last'),
    )
    .option('--raw', 'tokenize text prompts as they are, without the chat template')
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      notes(`
The file holds hidden_states [rows, layers, n_embd], layers [layers] and prompt_rows [prompts + 1]: rows of prompt p are
prompt_rows[p] up to prompt_rows[p + 1].

Example:
  $ traitscope extract -m base.gguf -p prompts.txt --layer 14 -o states.safetensors`),
    )
  addAdapterOptions(command)
  return addOutputOptions(addModelOptions(command)).action(async (flags: Flags, made: Command) => {
    const output = createOutput(flags)
    refuseIdlePromptFlags(made, flags)
    await checkOutputFree(flags.out, { force: flags.force === true, inputs: inputsOf(flags) })
    const prompts = await readPromptFile(flags.prompts)
    await using model = await openFromFlags(flags, output, signal, flags.layer)
    const template = flags.raw ? undefined : await templateFromFlags(flags, model)
    const tokens = await promptTokens(model, prompts, template)
    const total = tokens.reduce((sum, ids) => sum + ids.length, 0)
    await using applied = await adaptersFromFlags(model, flags, {
      template: template?.source,
      output,
      signal,
    })
    const { adapters, weights } = applied
    const started = performance.now()
    const { layer: layers, pool } = flags
    const states = await output.during(
      `reading ${prompts.length} prompts`,
      (onProgress) =>
        hiddenStates(applied.model, tokens, { layers, pool, adapter: adapters, signal, onProgress }),
      { unit: 'tokens', total },
    )
    const seconds = (performance.now() - started) / 1000
    const bytes = encodeSafetensors(
      [
        { name: 'hidden_states', dtype: 'F32', shape: states.shape, data: states.data },
        { name: 'layers', dtype: 'I32', shape: [states.layers.length], data: Int32Array.from(states.layers) },
        { name: 'prompt_rows', dtype: 'I32', shape: [states.promptRows.length], data: states.promptRows },
      ],
      {
        pool: flags.pool,
        base: model.fingerprint,
        ...(weights.length > 0
          ? { adapter: weights.map(({ sha256 }) => sha256).join(','), adapters: JSON.stringify(weights) }
          : {}),
      },
    )
    await writeFileAtomic(flags.out, bytes, { force: flags.force === true })
    const remarks = readingRemarks(applied.model, tokens)
    for (const remark of remarks) output.remark(remark)
    const summary = {
      out: flags.out,
      shape: states.shape,
      layers: states.layers,
      tokens: states.tokens,
      adapters: weights,
      remarks,
      seconds: Number(seconds.toFixed(3)),
    }
    if (flags.json) return output.json(summary)
    output.print(
      `${flags.out}: [${states.shape.join(', ')}], ${states.tokens.total} tokens of which ${states.tokens.computed} computed, ${seconds.toFixed(2)} s`,
    )
  })
}
