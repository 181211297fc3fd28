/** How checkpoints and adapters meet the base, and what of them is kept: flags that commands which read weights share. */
import { type Command, InvalidArgumentError } from 'commander'
import { defaultCacheDir } from '../lib/formats/files/cache-dir.js'
import type { CheckpointOptions, LoraMode } from '../lib/model/checkpoint/opened-checkpoint.js'
import { numberList, option, underHeading } from './options.js'

export interface CheckpointFlags {
  adapterName?: string
  residualBase?: boolean
  loraMode: LoraMode
  cache: boolean
  cacheDir?: string
}

export const residualBaseOption = () =>
  option(
    '--residual-base',
    "the base is what the adapter's initialisation (PiSSA, OLoRA, CorDA, LoRA-GA, LoftQ) left of the original",
  )

export const adapterNameOption = () =>
  option(
    '--adapter-name <name>',
    'adapter to take where a folder holds several: its sub folder, or "default" for the one in the folder itself',
  )

export const loraModeOption = () =>
  option('--lora-mode <how>', 'attach adapters, merge them into a copy of the base, or what each one needs')
    .choices(['auto', 'attach', 'merge'])
    .default('auto')

export function addCacheOptions(command: Command, what: string): Command {
  return underHeading(command, 'Kept between runs:', () =>
    command
      .addOption(option('--cache-dir <dir>', `where ${what} are kept between runs`))
      .option('--no-cache', 'keep nothing between runs, and use nothing kept'),
  )
}

/** What `measure`, `watch` and `label` share. */
export const strengthsOption = () =>
  option(
    '--adapter-scale <x[,x]>',
    "also with the adapter's effect multiplied by these; as trained in any case",
  ).argParser(factors)

/** `1.5` or `1.5,2`. */
function factors(text: string): number[] {
  const parts = numberList(text)
  if (parts.some((part) => part <= 0)) {
    throw new InvalidArgumentError('expected factors above 0 separated by commas, e.g. 1.5,2.')
  }
  return parts
}

export const checkpointFromFlags = ({ loraMode, residualBase }: CheckpointFlags): CheckpointOptions => ({
  mode: loraMode,
  residualBase: residualBase === true,
})

/** Undefined where nothing is to be kept. */
export const cacheFromFlags = ({ cache, cacheDir }: CheckpointFlags): string | undefined =>
  cache ? (cacheDir ?? defaultCacheDir()) : undefined
