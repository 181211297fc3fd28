#!/usr/bin/env node
/** Entry of the command line: the only file that ends the process. */
import { CommanderError } from 'commander'
import { type ErrorCode, isTraitscopeError } from '../lib/errors.js'
import { applyConfigFile, CONFIG_FILE } from './config-file.js'
import { endOfHangup, isPrintedBesides, isUnread, onHangup } from './hangup.js'
import { translateLlamaFlags } from './options.js'
import { clearLine, createOutput, hasPrintedJson } from './output.js'
import { buildProgram } from './program.js'
import { EXIT_NOT_COMPARABLE } from './verdicts.js'

const EXIT_FAILURE = 1
const EXIT_USAGE = 2
const EXIT_INTERRUPTED = 130
/** What a shell shows of a program that ends because nobody reads its output any more: 128 + SIGPIPE. */
const EXIT_PIPE = 141
/** Nobody presses Ctrl-C twice in less and means two things. */
const SAME_SIGNAL_MS = 300

const output = createOutput()

// One Ctrl-C stops cleanly (temporary files go, the model is closed); a second one does not wait. One may arrive twice: whoever
// runs the command (timeout, npm, a service manager) hands it on to a process that has got it from the group already.
const interrupt = new AbortController()
let interruptedMs: number | undefined
const onSignal = (name: string) => {
  clearLine()
  interruptedMs ??= performance.now()
  if (interrupt.signal.aborted) {
    if (performance.now() - interruptedMs < SAME_SIGNAL_MS) return
    process.exit(EXIT_INTERRUPTED)
  }
  interrupt.abort(new Error(`interrupted by ${name}`))
}
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => onSignal(name))
onHangup(
  () => interrupt.abort(new Error('interrupted by SIGHUP')),
  () => output.note('SIGHUP: nothing of this is shown in a terminal, so it goes on; SIGTERM ends it'),
)
// A reader that closes its end early (`| head`) ends the work in order: what it would find out, nobody would read.
// Once the outcome is known it is no failure. Where nobody can be told on stderr any more the work goes on.
let working = true
let unread: number | undefined
let isLeftOut = false
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (unread !== undefined) return
  if (!isUnread(error) && isPrintedBesides()) {
    if (!isLeftOut)
      output.error(
        `cannot print (${error.code}): what cannot be written there is left out, and the watch goes on; check the free space there`,
      )
    isLeftOut = true
    if (!working) process.exitCode ||= EXIT_FAILURE
    return
  }
  if (!isUnread(error)) {
    unread = EXIT_FAILURE
    output.error(`traitscope: cannot write the results (${error.code}); check the free space there`)
  } else unread = Number(process.exitCode ?? (working ? EXIT_PIPE : 0))
  process.exitCode = unread
  interrupt.abort(new Error('nobody reads the results'))
})
process.stderr.on('error', () => {})

const program = buildProgram(interrupt.signal)
const args = translateLlamaFlags(process.argv.slice(2))
try {
  const asks =
    args.length === 0 || args[0] === 'help' || args.some((arg) => /^(-h|--help|-V|--version)$/.test(arg))
  const isQuiet = args.some((arg) => arg === '-q' || arg === '--quiet')
  if (!asks && applyConfigFile(program, args[0]!) && !isQuiet)
    output.note(`options are taken from ${CONFIG_FILE}`)
  await program.parseAsync(args, { from: 'user' })
  process.exitCode ??= 0
} catch (error) {
  process.exitCode = report(error)
}
working = false
process.exitCode = unread ?? process.exitCode
if (isLeftOut) process.exitCode ||= EXIT_FAILURE
endOfHangup()

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0
    const said =
      error.code === 'commander.help'
        ? 'expected a command'
        : error.message.replace(/^error: /, '').replaceAll('\n', ' ')
    printFailure('USAGE', said) // for people commander has printed it
    return EXIT_USAGE
  }
  if (isTraitscopeError(error)) {
    if (error.code === 'ABORTED' && interrupt.signal.aborted) {
      if (unread !== undefined) return unread
      output.error('traitscope: interrupted')
      printFailure('ABORTED', 'interrupted')
      return EXIT_INTERRUPTED
    }
    output.error(`traitscope: ${error.message} [${error.code}]`)
    printFailure(error.code, error.message)
    if (error.code === 'NOT_COMPARABLE') return EXIT_NOT_COMPARABLE
    return error.code === 'USAGE' ? EXIT_USAGE : EXIT_FAILURE
  }
  output.errorLines(
    `traitscope: this is a bug, please report it\n${error instanceof Error ? error.stack : String(error)}`,
  )
  printFailure('INTERNAL', String(error))
  return EXIT_FAILURE
}

/** Whoever asked for JSON can read stdout as JSON however it ends: where nothing else was printed there, it says why. */
function printFailure(code: ErrorCode, message: string): void {
  const flags = program.commands.find((command) => command.name() === args[0])?.opts() ?? {}
  // Of flags that are refused not all are read.
  const isAsked = [flags.json, flags.jsonl].includes(true) || args.some((arg) => /^--jsonl?$/.test(arg))
  if (isAsked && !hasPrintedJson()) output.jsonLine({ error: { code, message } })
}
