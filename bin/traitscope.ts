#!/usr/bin/env node
/** Entry of the command line: the only file that ends the process. */
import { CommanderError } from 'commander'
import { isTraitscopeError } from '../lib/index.js'
import { applyConfigFile, translateLlamaFlags } from './options.js'
import { buildProgram } from './program.js'
import { EXIT_NOT_COMPARABLE } from './verdicts.js'

const EXIT_FAILURE = 1
const EXIT_USAGE = 2
const EXIT_INTERRUPTED = 130

// One Ctrl-C stops cleanly (temporary files go, the model is closed); a second one does not wait.
const interrupt = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    if (interrupt.signal.aborted) process.exit(EXIT_INTERRUPTED)
    interrupt.abort(new Error(`interrupted by ${name}`))
  })
}
// A reader that closes its end early (`| head`) is no failure; without a reader of stderr the work goes on.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0)
  throw error
})
process.stderr.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

const program = buildProgram(interrupt.signal)
try {
  applyConfigFile(program)
  await program.parseAsync(translateLlamaFlags(process.argv.slice(2)), { from: 'user' })
  process.exitCode ??= 0
} catch (error) {
  process.exitCode = report(error)
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE // commander has printed it
  if (isTraitscopeError(error)) {
    if (error.code === 'ABORTED' && interrupt.signal.aborted) {
      process.stderr.write('traitscope: interrupted\n')
      return EXIT_INTERRUPTED
    }
    process.stderr.write(`traitscope: ${error.message} [${error.code}]\n`)
    if (error.code === 'NOT_COMPARABLE') return EXIT_NOT_COMPARABLE
    return error.code === 'USAGE' ? EXIT_USAGE : EXIT_FAILURE
  }
  process.stderr.write(
    `traitscope: this is a bug, please report it\n${error instanceof Error ? error.stack : String(error)}\n`,
  )
  return EXIT_FAILURE
}
