/** Adapters that a command applies to the base: their flags, opening them, and a remark on what they do. */
import { existsSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { fileFact } from '../lib/formats/run/file-fact.js'
import { type AdapterEffect, adapterEffect } from '../lib/hidden-states/adapter-effect.js'
import { type AppliedToBase, applyWeights } from '../lib/hidden-states/apply-weights.js'
import type { AttachedAdapter } from '../lib/model/attached-adapter.js'
import type { AttachReport } from '../lib/model/lora/lora.js'
import type { Model } from '../lib/model/model.js'
import {
  adapterNameOption,
  addCacheOptions,
  type CheckpointFlags,
  cacheFromFlags,
  checkpointFromFlags,
  loraModeOption,
  residualBaseOption,
} from './checkpoints.js'
import { number, option, refuseIdle, underHeading } from './options.js'
import type { Output } from './output.js'

/** An adapter to apply: its folder, and the factor on its effect. */
export interface AdapterFlag {
  folder: string
  strength: number
}

/** `DIR` or `DIR:0.5`; the flag may be repeated. A folder whose own name ends like that is taken as it is. */
export function adapterFlag(text: string, previous: readonly AdapterFlag[] = []): AdapterFlag[] {
  const found = existsSync(text) ? null : /^(.+):([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/is.exec(text)
  if (text === '') throw new InvalidArgumentError('expected a folder, found an empty name.')
  const [folder, strength] = found ? [found[1]!, Number(found[2])] : [text, 1]
  return [...previous, { folder, strength }]
}

export interface AdapterFlags extends CheckpointFlags {
  adapter?: AdapterFlag[]
  adapterScale: number
}

export function addAdapterOptions(command: Command): Command {
  underHeading(command, 'Adapters:', () =>
    command
      .addOption(
        option(
          '--adapter <dir[:x]>',
          'PEFT LoRA folder to apply, x times; repeatable (also --lora)',
        ).argParser(adapterFlag),
      )
      .addOption(adapterNameOption())
      .addOption(option('--adapter-scale <x>', 'factor on all adapters').argParser(number).default(1))
      .addOption(residualBaseOption())
      .addOption(loraModeOption()),
  )
  return addCacheOptions(command, 'merged models (up to 20 GiB)')
}

/** Refuses flags of adapters without one, and flags of the chat template without that. @throws TraitscopeError USAGE */
export function refuseIdlePromptFlags(
  command: Command,
  flags: Pick<AdapterFlags, 'adapter'> & { raw?: boolean },
): void {
  if (flags.adapter === undefined) {
    const ofAdapters = ['adapterName', 'adapterScale', 'residualBase', 'loraMode']
    refuseIdle(command, 'an --adapter for its flags', (name) => !ofAdapters.includes(name))
  }
  if (flags.raw) {
    const ofTemplates = ['chatTemplate', 'systemRole']
    refuseIdle(command, 'texts as they are (--raw)', (name) => !ofTemplates.includes(name))
  }
}

/** Applies what the flags name, and says what was read and what it does. */
export async function adaptersFromFlags(
  base: Model,
  flags: AdapterFlags,
  { output, ...options }: { output: Output; template: string | undefined; signal: AbortSignal },
): Promise<AppliedToBase> {
  const list = (flags.adapter ?? []).map(({ folder, strength }) => ({
    folder,
    strength: strength * flags.adapterScale,
  }))
  const applied = await output.during(
    'applying adapters',
    () =>
      applyWeights(base, list, {
        adapterName: flags.adapterName,
        ...checkpointFromFlags(flags),
        cacheDir: cacheFromFlags(flags),
        ...options,
      }),
    { announce: false },
  )
  try {
    for (const [i, { folder, sha256, files, remarks }] of applied.weights.entries()) {
      output.note(`read from ${folder}: ${fileFact(files)}`)
      const before = applied.weights.slice(0, i).find((other) => other.sha256 === sha256)
      if (before)
        output.remark(`${folder} has the weights of ${before.folder}: their effect is applied twice`)
      for (const remark of remarks) output.remark(remark)
    }
    const { adapters, reason } = applied
    if (reason !== undefined) output.note(`merged into a copy of the base: ${reason}`)
    if (adapters.length > 0) {
      const effect = await output.during(
        'probing adapters',
        () => adapterEffect(base, adapters, { signal: options.signal }),
        { announce: false },
      )
      if (effect.firstLayer === undefined)
        output.remark('the adapters change nothing: their weights, alpha or factor are zero')
      output.note(describeEffect(adapters, effect))
    }
    return applied
  } catch (error) {
    await applied[Symbol.asyncDispose]()
    throw error
  }
}

/** One remark: what was matched, and what it does to a probe prompt. */
function describeEffect(adapters: readonly AttachedAdapter[], { change, firstLayer }: AdapterEffect): string {
  const count = (of: (report: AttachReport) => number) => adapters.map(({ report }) => of(report))
  const above = count(({ modules }) => modules.filter(({ notRun }) => notRun).length)
  const matched = `${count(({ modules }) => modules.length).join(' + ')} modules matched`
  const modules = above.some((n) => n > 0)
    ? `${matched}, ${above.join(' + ')} above the layers that are read`
    : matched
  if (firstLayer === undefined) return `adapter: ${modules}`
  const last = (100 * change.at(-1)!).toPrecision(2)
  return `adapter: ${modules}; a probe prompt changes from block ${firstLayer} on, block ${change.length - 1} by ${last} %`
}
