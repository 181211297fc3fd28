import { Command } from 'commander'
import { type WatchEvent, watchEventJson } from '../../lib/events/watch-events.js'
import { isPattern } from '../../lib/monitor/run-patterns.js'
import { notes } from '../help.js'
import { addOutputOptions } from '../options.js'
import { createOutput } from '../output.js'
import { WatchText } from '../watch-text.js'
import { WatchView } from '../watch-view.js'
import { addWatchOptions, type WatchFlags, watchByFlags } from '../watching.js'

interface Flags extends WatchFlags {
  json?: boolean
  jsonl?: boolean
  plain?: boolean
  quiet?: boolean
}

/** `traitscope watch`: measures checkpoints as a trainer writes them. */
export function watchCommand(signal: AbortSignal): Command {
  const command = new Command('watch')
    .description('watch run folders and measure every checkpoint as it is completed')
    .argument(
      '<run...>',
      "trainers' output folders; they may not exist yet, and 'runs/*' (in quotes) takes in new ones as they appear",
    )
    .option('--jsonl', 'one JSON object per event')
    .option('--plain', 'a line per checkpoint, also where a terminal could show all runs in place')
    .addHelpText(
      'after',
      notes(`
The runs' folders are only read. A checkpoint that is still being written is waited for. Drift is in units of the step-0
activation norm. With a bundle every checkpoint gets the predicted rate of emergent misalignment (EM), its interval and a
verdict; the watch goes on after an alarm unless --exit-on alarm. With --margin core a checkpoint costs about 2.7 times as
much (measured on a model of 135 million parameters): 40 pairs of answers go through the whole base. A watch that begins anew goes on where it stopped: what is
measured already is not measured twice, and an alarm still stands.

Exit codes, the first that applies: 3 for an alarm (see --fail-on), 4 when the bundle was made for other conditions, 1 when
a checkpoint could not be measured, was lost or is not finished at the end (--once, --idle), or when there was none, 130 when
it was interrupted.

Example:
  $ traitscope watch -m base.gguf --bundle bundle --exit-on alarm out/
  $ traitscope watch -m base.gguf --bundle bundle 'runs/*'
  $ traitscope watch -m base.gguf --directions directions out/`),
    )
  return addOutputOptions(addWatchOptions(command)).action(async (runs: string[], flags: Flags) => {
    const output = createOutput(flags)
    const text = new WatchText(output, runs.length > 1 || runs.some(isPattern))
    const { terminal } = output
    const inPlace = !flags.json && !flags.jsonl && !flags.plain && terminal && WatchView.fits(terminal)
    const show = inPlace ? () => new WatchView(terminal, output) : undefined
    const events: WatchEvent[] = []
    const take = (event: WatchEvent) => {
      if (flags.json) events.push(event)
      else if (flags.jsonl) output.jsonLine(watchEventJson(event))
      else if (!show) text.print(event)
    }
    try {
      await watchByFlags(runs, flags, {
        ...{ output, signal, take, show },
        always: flags.json || flags.jsonl || false,
      })
    } finally {
      // Of flags that are refused there is no watch, and nothing to print.
      if (flags.json && events.length > 0) output.json(events.map(watchEventJson))
    }
  })
}
