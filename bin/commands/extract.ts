import { Command, Option } from 'commander'
import {
  type AdapterEffect,
  type AttachedAdapter,
  adapterEffect,
  chatTokens,
  checkOutputFree,
  encodeSafetensors,
  hiddenStates,
  type Pooling,
  readPromptFile,
  TraitscopeError,
  writeFileAtomic,
} from '../../lib/index.js'
import { openFromFlags, templateFromFlags } from '../model.js'
import {
  type AdapterFlag,
  adapterFlag,
  addModelOptions,
  addOutputOptions,
  integerList,
  type ModelFlags,
  number,
  option,
  residualBaseOption,
} from '../options.js'
import { createOutput } from '../output.js'

interface Flags extends ModelFlags {
  prompts: string
  layer: number[]
  pool: Pooling
  adapter?: AdapterFlag[]
  residualBase?: boolean
  adapterScale: number
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
      option('--adapter <dir[:x]>', 'PEFT LoRA folder to apply, x times; repeatable (also --lora)').argParser(
        adapterFlag,
      ),
    )
    .addOption(option('--adapter-scale <x>', 'factor on all adapters').argParser(number).default(1))
    .addOption(residualBaseOption())
    .addOption(
      new Option('--pool <how>', 'last token, mean of all, or every token')
        .choices(['last', 'mean', 'tokens'])
        .default('last'),
    )
    .option('--raw', 'tokenize text prompts as they are, without the chat template')
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      `
The file holds hidden_states [rows, layers, n_embd], layers [layers] and prompt_rows [prompts + 1]: rows of prompt p are
prompt_rows[p] up to prompt_rows[p + 1].

Example:
  $ traitscope extract -m base.gguf -p prompts.txt --layer 14 -o states.safetensors`,
    )
  return addOutputOptions(addModelOptions(command)).action(async (flags: Flags) => {
    const output = createOutput({ quiet: flags.quiet === true })
    await checkOutputFree(flags.out, { force: flags.force === true })
    const prompts = await readPromptFile(flags.prompts)
    await using model = await openFromFlags(flags, output, signal)
    const conversations = prompts.map(
      (prompt) => prompt.messages ?? [{ role: 'user' as const, content: prompt.text }],
    )
    if (flags.raw && prompts.some((prompt) => prompt.messages)) {
      throw new TraitscopeError(
        'USAGE',
        '--raw takes text prompts only, but the file holds messages: leave --raw out',
      )
    }
    const tokens = flags.raw
      ? await model.tokenize(prompts.map((prompt) => prompt.text!))
      : await chatTokens(model, await templateFromFlags(flags, model), conversations)
    const total = tokens.reduce((sum, ids) => sum + ids.length, 0)
    const adapters: AttachedAdapter[] = []
    for (const { folder, strength } of flags.adapter ?? []) {
      const attached = await model.attach(folder, {
        strength: strength * flags.adapterScale,
        residualBase: flags.residualBase === true,
      })
      adapters.push(attached)
    }
    if (adapters.length > 0)
      output.note(describeEffect(adapters, await adapterEffect(model, adapters, { signal })))
    const progress = output.progress(`reading ${prompts.length} prompts`, { name: 'tokens', total })
    const started = performance.now()
    const states = await hiddenStates(model, tokens, {
      layers: flags.layer,
      pool: flags.pool,
      adapter: adapters,
      signal,
      onProgress: (fraction) => progress.update(fraction),
    })
    progress.done()
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
        ...(adapters.length > 0 ? { adapter: adapters.map(({ sha256 }) => sha256).join(',') } : {}),
      },
    )
    await writeFileAtomic(flags.out, bytes, { force: flags.force === true })
    const summary = {
      out: flags.out,
      shape: states.shape,
      layers: states.layers,
      tokens: states.tokens,
      seconds: Number(seconds.toFixed(3)),
    }
    if (flags.json) return output.json(summary)
    output.print(
      `${flags.out}: [${states.shape.join(', ')}], ${states.tokens.total} tokens of which ${states.tokens.computed} computed, ${seconds.toFixed(2)} s`,
    )
  })
}

/** One remark: what was matched, and what it does to a probe prompt. */
function describeEffect(adapters: readonly AttachedAdapter[], { change, firstLayer }: AdapterEffect): string {
  const modules = adapters.map(({ report }) => report.modules.length).join(' + ')
  if (firstLayer === undefined) return `adapter: ${modules} modules matched; all zero, they change nothing`
  const last = (100 * change.at(-1)!).toPrecision(2)
  return `adapter: ${modules} modules matched; a probe prompt changes from block ${firstLayer} on, the last one by ${last} %`
}
