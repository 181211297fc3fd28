import { Command } from 'commander'
import { loadBundle } from '../../lib/detector/bundle.js'
import { messageOf, TraitscopeError } from '../../lib/errors.js'
import { listStates, listStatesAgain, runState, type WatchedRun } from '../../lib/events/state-folder.js'
import { watchEventJson } from '../../lib/events/watch-events.js'
import { isPattern } from '../../lib/monitor/run-patterns.js'
import { livePage } from '../../lib/report/live-page.js'
import { LabelFolders } from '../../lib/report/run-labels.js'
import { RunFeed } from '../../lib/serve/run-feed.js'
import { serve } from '../../lib/serve/server.js'
import { refuseExporters } from '../exporters.js'
import { notes } from '../help.js'
import { addOutputOptions, integer, option, refuseIdle, repeated } from '../options.js'
import { createOutput } from '../output.js'
import { oneLine } from '../text.js'
import { WatchText } from '../watch-text.js'
import { WatchView } from '../watch-view.js'
import { addWatchOptions, type WatchFlags, watchByFlags } from '../watching.js'

interface Flags extends Omit<WatchFlags, 'model'> {
  model?: string
  host: string
  port: number
  allowHost?: string[]
  labels?: string[]
  json?: boolean
  plain?: boolean
  quiet?: boolean
}

/** Options that do something where nothing is watched. */
const SERVER: ReadonlySet<string> = new Set([
  'host',
  'port',
  'allowHost',
  'labels',
  'state',
  'bundle',
  'json',
  'quiet',
])

/** `traitscope serve`: a watch, and what watches tell, over HTTP. */
export function serveCommand(signal: AbortSignal): Command {
  const command = new Command('serve')
    .description('watch run folders and answer trainers, browsers and Prometheus over HTTP')
    .argument(
      '[run...]',
      "trainers' output folders, as for watch; without any, what other watches have told is served",
    )
    .addOption(option('--host <address>', 'address to listen on').default('127.0.0.1'))
    .addOption(option('--port <n>', '0 for a free one').argParser(integer).default(7077))
    .addOption(option('--allow-host <name>', 'further name that the server is called by').argParser(repeated))
    .addOption(
      option(
        '--labels <dir>',
        'show the answers that `label -o` has left there, and their rates; repeatable',
      ).argParser(repeated),
    )
    .option('--plain', 'a line per checkpoint, also where a terminal could show all runs in place')
    .addHelpText(
      'after',
      notes(`
GET / is a page, /runs and /health are JSON, /events are server-sent, /metrics is for Prometheus. POST /checkpoint {event, step,
checkpoint_dir, output_dir} is for trainers: it is answered at once with the figures that are known and whether to stop; post
again to learn more. TRAITSCOPE_TOKEN, where it is set, is asked of everybody; another address than this machine's needs it.
All options of watch hold.

Example:
  $ traitscope serve -m base.gguf --bundle bundle out/
  $ traitscope serve --state state`),
    )
  return addOutputOptions(addWatchOptions(command, false)).action(
    async (runs: string[], flags: Flags, made: Command) => {
      const output = createOutput(flags)
      const { state, model } = flags
      if (state === false) {
        throw new TraitscopeError('USAGE', 'expected a state folder to serve from, found --no-state')
      }
      if ((runs.length === 0) !== (model === undefined)) {
        throw new TraitscopeError(
          'USAGE',
          'expected run folders and a model (-m) to watch them with, or neither to serve what other watches have told',
        )
      }
      if (model === undefined) {
        refuseExporters(flags)
        refuseIdle(made, 'options of the server, without a model', (name) => SERVER.has(name))
      }
      const watched = new Map<string, WatchedRun>()
      const states = new Map<string, string>()
      const list = async () => (runs.length === 0 ? listStatesAgain(state, states) : [...watched.values()])
      const said = new Set<string>()
      let view: WatchView | undefined
      await using feed = new RunFeed(list, (error) => {
        const text = oneLine(messageOf(error))
        const what = `cannot read a log: ${text}`
        if (said.size < 100 && !said.has(text)) view ? view.hear('error', what) : output.error(what)
        said.add(text)
      })
      const labels = flags.labels && new LabelFolders(flags.labels)
      // What is no folder of labels is said now.
      await labels?.of(new Map())
      const page = await livePage(flags.bundle === undefined ? undefined : await loadBundle(flags.bundle), {
        labels: labels !== undefined,
      })
      const token = process.env.TRAITSCOPE_TOKEN || undefined
      await using served = await serve(feed, {
        ...{ host: flags.host, port: flags.port, allowHosts: flags.allowHost, token, page, labels },
      })
      output.note(
        `serving ${served.url}${token === undefined ? '' : ' (with the token of TRAITSCOPE_TOKEN)'}`,
      )
      if (model === undefined) {
        if ((await listStates(state)).length === 0) output.note(`no watch has told anything in ${state} yet`)
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        process.exitCode = 130
        return
      }
      const text = new WatchText(output, runs.length > 1 || runs.some(isPattern))
      const { terminal } = output
      const inPlace = !flags.json && !flags.plain && terminal && WatchView.fits(terminal)
      const open = () => {
        view = new WatchView(terminal!, output)
        view.hear('note', `serving ${served.url}`)
        return view
      }
      await watchByFlags(
        runs,
        { ...flags, model },
        {
          output,
          signal,
          show: inPlace ? open : undefined,
          always: flags.json === true,
          take: (event) => {
            if (event.run !== undefined && !watched.has(event.run)) {
              const { run } = event
              void runState(state, run).then((folder) => watched.set(run, folder))
            }
            if (flags.json) output.jsonLine(watchEventJson(event))
            else if (!inPlace) text.print(event)
          },
        },
      ).finally(() => {
        view = undefined
      })
    },
  )
}
