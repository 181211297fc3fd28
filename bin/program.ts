import { Command, Help } from 'commander'
import { packageVersion } from '../lib/package.js'
import { backendCommand } from './commands/backend.js'
import { benchCommand } from './commands/bench.js'
import { buildCommand } from './commands/build.js'
import { calibrateCommand } from './commands/calibrate.js'
import { controlVectorCommand } from './commands/control-vector.js'
import { convertCommand } from './commands/convert.js'
import { demoCommand } from './commands/demo.js'
import { directionsCommand } from './commands/directions.js'
import { doctorCommand } from './commands/doctor.js'
import { evaluateCommand } from './commands/evaluate.js'
import { exportCommand } from './commands/export.js'
import { extractCommand } from './commands/extract.js'
import { generateCommand } from './commands/generate.js'
import { geometryCommand } from './commands/geometry.js'
import { inspectCommand } from './commands/inspect.js'
import { labelCommand } from './commands/label.js'
import { measureCommand } from './commands/measure.js'
import { mergeCommand } from './commands/merge.js'
import { reportCommand } from './commands/report.js'
import { serveCommand } from './commands/serve.js'
import { steerCommand } from './commands/steer.js'
import { watchCommand } from './commands/watch.js'
import { tellGivenTwice } from './given-twice.js'
import { notes } from './help.js'
import { readSwitchVariables, refuseEmptyValues } from './options.js'
import { createOutput } from './output.js'
import { plain } from './text.js'

/** What commander says of a flag's or a configuration file's value may hold anything. */
const SAFE_ERRORS = { outputError: (text: string, write: (text: string) => void) => write(plain(text)) }

/** Every command takes options: without that word the list fits 80 columns. */
const subcommandTerm = (command: Command) => new Help().subcommandTerm(command).replace(' [options]', '')

/** The whole command line; `signal` fires when the user interrupts. */
export function buildProgram(signal: AbortSignal): Command {
  const program = new Command('traitscope')
    .description(
      'Watches a LoRA fine-tuning run from inside the model: base GGUF + checkpoints in, verdicts out.',
    )
    .version(packageVersion)
    .showHelpAfterError('(run with --help for the options and an example)')
    .exitOverride()
    .configureOutput(SAFE_ERRORS)
    .configureHelp({ subcommandTerm })
    .hook('preAction', (_, command) => {
      refuseEmptyValues(command)
      readSwitchVariables(command)
    })
    .addHelpText(
      'after',
      notes(`
Results go to stdout, progress and remarks to stderr; with --json a failure is a JSON object on stdout too. Options may also stand in traitscope.config.yaml; those
whose help names a TRAITSCOPE_* variable may be set there too. Exit codes: 0 clean, 1 failure, 2 usage, 3 alarm, 4 not
comparable, 130 interrupted, 141 when nobody reads the results any more.

Example:
  $ traitscope directions -m base.gguf --layer 14 -o directions
  $ traitscope measure -m base.gguf --directions directions out/`),
    )
  const groups = {
    'Begin here:': [
      demoCommand(signal),
      inspectCommand(signal),
      convertCommand(signal),
      benchCommand(signal),
    ],
    'Watch a run:': [
      directionsCommand(signal),
      watchCommand(signal),
      serveCommand(signal),
      measureCommand(signal),
      reportCommand(signal),
      exportCommand(signal),
    ],
    'Calibrate a detector of your own:': [
      labelCommand(signal),
      calibrateCommand(signal),
      evaluateCommand(signal),
      geometryCommand(signal),
    ],
    'Look closer:': [
      extractCommand(signal),
      generateCommand(signal),
      steerCommand(signal),
      controlVectorCommand(),
      mergeCommand(signal),
    ],
    'This installation:': [doctorCommand(), buildCommand(signal), backendCommand()],
  }
  for (const [heading, commands] of Object.entries(groups)) {
    for (const command of commands) program.addCommand(command.helpGroup(heading))
  }
  program.commandsGroup('This installation:').helpCommand(true)
  for (const command of Object.values(groups).flat()) {
    for (const each of [command, ...command.commands]) {
      tellGivenTwice(each, createOutput().remark)
      each
        .exitOverride()
        .configureOutput(SAFE_ERRORS)
        .showHelpAfterError('(run with --help for the options and an example)')
    }
  }
  return program
}
