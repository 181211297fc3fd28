import { Command, Option } from 'commander'
import { TraitscopeError } from '../../lib/errors.js'
import { checkOutputFree, writeFileAtomic } from '../../lib/formats/files/atomic.js'
import { defaultCacheDir } from '../../lib/formats/files/cache-dir.js'
import { fileFact } from '../../lib/formats/run/read-files.js'
import { encodeSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { type AdapterEffect, adapterEffect } from '../../lib/hidden-states/adapter-effect.js'
import { applyWeights, type WeightsToApply } from '../../lib/hidden-states/apply-weights.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { AttachedAdapter } from '../../lib/model/attached-adapter.js'
import type { LoraMode } from '../../lib/model/checkpoint/opened-checkpoint.js'
import type { Pooling } from '../../lib/prompts/plan.js'
import { readPromptFile } from '../../lib/prompts/prompt-file.js'
import { chatTokens } from '../../lib/prompts/prompt-tokens.js'
import { openFromFlags, templateFromFlags } from '../model.js'
import {
  type AdapterFlag,
  adapterFlag,
  adapterNameOption,
  addCacheOptions,
  addModelOptions,
  addOutputOptions,
  integerList,
  loraModeOption,
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
  adapterName?: string
  residualBase?: boolean
  adapterScale: number
  loraMode: LoraMode
  cache: boolean
  cacheDir?: string
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
    .addOption(adapterNameOption())
    .addOption(option('--adapter-scale <x>', 'factor on all adapters').argParser(number).default(1))
    .addOption(residualBaseOption())
    .addOption(loraModeOption())
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
  addCacheOptions(command, 'merged models (up to 20 GiB)')
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
    const template = flags.raw ? undefined : await templateFromFlags(flags, model)
    const tokens = template
      ? await chatTokens(model, template, conversations)
      : await model.tokenize(prompts.map((prompt) => prompt.text!))
    const total = tokens.reduce((sum, ids) => sum + ids.length, 0)
    await using applied = await output.during(
      'applying adapters',
      () =>
        applyWeights(model, scaled(flags), {
          adapterName: flags.adapterName,
          mode: flags.loraMode,
          residualBase: flags.residualBase === true,
          cacheDir: flags.cache ? (flags.cacheDir ?? defaultCacheDir()) : undefined,
          template: template?.source,
          signal,
        }),
      { announce: false },
    )
    const { weights } = applied
    for (const { folder, files, remarks } of weights) {
      output.note(`read from ${folder}: ${fileFact(files)}`)
      for (const remark of remarks) output.note(`remark: ${remark}`)
    }
    const { adapters } = applied
    if (applied.reason !== undefined) output.note(`merged into a copy of the base: ${applied.reason}`)
    if (adapters.length > 0) {
      const effect = await output.during(
        'probing adapters',
        () => adapterEffect(model, adapters, { signal }),
        { announce: false },
      )
      output.note(describeEffect(adapters, effect))
    }
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
    const summary = {
      out: flags.out,
      shape: states.shape,
      layers: states.layers,
      tokens: states.tokens,
      adapters: weights,
      seconds: Number(seconds.toFixed(3)),
    }
    if (flags.json) return output.json(summary)
    output.print(
      `${flags.out}: [${states.shape.join(', ')}], ${states.tokens.total} tokens of which ${states.tokens.computed} computed, ${seconds.toFixed(2)} s`,
    )
  })
}

/** The adapters that the flags name, with both factors. */
function scaled({ adapter = [], adapterScale }: Flags): WeightsToApply[] {
  return adapter.map(({ folder, strength }) => ({ folder, strength: strength * adapterScale }))
}

/** One remark: what was matched, and what it does to a probe prompt. */
function describeEffect(adapters: readonly AttachedAdapter[], { change, firstLayer }: AdapterEffect): string {
  const modules = adapters.map(({ report }) => report.modules.length).join(' + ')
  if (firstLayer === undefined) return `adapter: ${modules} modules matched; all zero, they change nothing`
  const last = (100 * change.at(-1)!).toPrecision(2)
  return `adapter: ${modules} modules matched; a probe prompt changes from block ${firstLayer} on, the last one by ${last} %`
}
