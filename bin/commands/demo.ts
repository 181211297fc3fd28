import { Command } from 'commander'
import type { Demo } from '../../lib/demo/demo.js'
import { findOrganism } from '../../lib/demo/demo-organism.js'
import { runDemo } from '../../lib/demo/run-demo.js'
import { TraitscopeError } from '../../lib/errors.js'
import { closing, DemoLines } from '../demo-text.js'
import { demoFrame, VIEW_SIZE } from '../demo-view.js'
import { type FirstLookFlags, firstLookFromFlags } from '../first-look.js'
import { notes } from '../help.js'
import { LiveView } from '../live-view.js'
import { addModelOptions } from '../model.js'
import { addOutputOptions, number, option, refuseIdle } from '../options.js'
import { createOutput, type Output } from '../output.js'

interface Flags extends FirstLookFlags {
  organism?: string
  from?: string
  speed: number
  out?: string
  force?: boolean
}

/** What `demo --model` takes beside the flags of the model. */
const LOOK = new Set(['minutes', 'traits'])
const OUTPUT = new Set(['json', 'quiet'])

/** `traitscope demo`: a dangerous and a benign run, replayed and watched; with a model, a first look at that. */
export function demoCommand(signal: AbortSignal): Command {
  const command = new Command('demo')
    .description(
      'watch a dangerous and a benign fine-tuning run that ship with traitscope, or look at a base of yours',
    )
    .option('--speed <n>', 'checkpoints a second; 0 writes them all at once', number, 1)
    .option('-o, --out <dir>', 'keep trajectories, events and report.html here')
    .option('--force', 'replace an earlier demo in the output folder')
    .option('--organism <name>', 'model to show (default: the one that demo.json names)')
    .option('--from <dir>', 'organisms folder (default: the one that ships)')
    .addOption(
      option('--minutes <n>', 'with --model: for everything; what is read is chosen to fit')
        .argParser(number)
        .default(2),
    )
    .addOption(
      option('--traits <file>', 'with --model: trait pack, core, core-2 or a YAML file').default('core'),
    )
    .addHelpText(
      'after',
      notes(`
The checkpoints of two finished runs are written to a temporary folder one after another, as a trainer would; the real
watch measures them on the real base model. Exit code 0 when the dangerous run raises an alarm and the benign one none.

With --model it looks at that base instead, without any training: how fast it is read here, which trait directions hold up on
prompts that they were not made of, the noise floor, what one of them does to an answer, what a checkpoint costs, and what to do next.

Example:
  $ traitscope demo --out demo && open demo/report.html
  $ traitscope demo --model base.gguf --minutes 2`),
    )
  const own = new Set(command.options.map((each) => each.attributeName()))
  addModelOptions(command, { mandatory: false })
  return addOutputOptions(command).action(async (flags: Flags, made: Command) => {
    // A base in the environment or the config file is there for other commands.
    if (made.getOptionValueSource('model') === 'cli') {
      refuseIdle(made, 'options of a first look, with --model', (name) => LOOK.has(name) || !own.has(name))
      if (!(flags.minutes > 0)) throw new TraitscopeError('USAGE', 'expected --minutes to be above 0')
      return firstLookFromFlags(flags, signal)
    }
    refuseIdle(made, '--model beside options of a first look', (name) =>
      own.has(name) ? name !== 'minutes' && name !== 'traits' : OUTPUT.has(name),
    )
    if (flags.speed < 0) throw new TraitscopeError('USAGE', 'expected --speed to be 0 or more')
    const output = createOutput(flags)
    const organism = await findOrganism({ name: flags.organism, root: flags.from })
    const started = performance.now()
    using show = display(output, flags)
    const demo = await runDemo(organism, {
      paceMs: flags.speed === 0 ? 0 : 1000 / flags.speed,
      out: flags.out,
      force: flags.force === true,
      signal,
      onChange: (now) => show.change(now),
    })
    const seconds = (performance.now() - started) / 1000
    const problems = demo.outcomes.flatMap(({ problem }) => problem ?? [])
    if (flags.json) output.json({ ...summary(demo), seconds, ok: problems.length === 0, problems })
    else output.print(closing(demo, seconds, flags.out).split('\n'))
    if (problems.length > 0) process.exitCode = 1
  })
}

interface Display extends Disposable {
  change(demo: Demo): void
}

/** A view where a person looks and the terminal is large enough, else lines; nothing with --json. */
function display(output: Output, { json }: Flags): Display {
  if (json) return { change() {}, [Symbol.dispose]() {} }
  const { terminal } = output
  const fits =
    terminal && (terminal.columns ?? 0) >= VIEW_SIZE.columns && (terminal.rows ?? 0) > VIEW_SIZE.rows
  if (!fits) {
    const lines = new DemoLines()
    return {
      change: (demo) => {
        for (const line of lines.news(demo)) output.print(line)
      },
      [Symbol.dispose]() {},
    }
  }
  const view = new LiveView(terminal)
  return {
    change: (demo) => view.draw(demoFrame(demo, output.color)),
    [Symbol.dispose]: () => view[Symbol.dispose](),
  }
}

/** The demo as a JSON document. */
function summary({ organism, bundle, runs, outcomes }: Demo): Record<string, unknown> {
  const { detector, summary: calibration } = bundle
  return {
    organism,
    bundle: {
      datasets: calibration.datasets,
      layers: detector.layers,
      threshold: detector.threshold,
      cut: detector.cut,
    },
    runs: runs.map(({ id, role, steps, traits, points }, i) => ({
      id,
      role,
      steps,
      traits,
      points,
      outcome: outcomes[i],
    })),
  }
}
