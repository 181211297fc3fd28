/**
 * The one error family. `code` is stable and documented (docs/errors.md); the text may change.
 *
 * Messages are one sentence: what was expected, what was found, and what to do next.
 */
export const ERROR_CODES = [
  'USAGE', // an option or argument is wrong
  'FILE_NOT_FOUND', // a named path does not exist
  'FILE_ACCESS', // a path cannot be read or written: permissions, no space left, a broken disk
  'FILE_EXISTS', // an output exists and `force` was not given
  'FILE_INVALID', // a file breaks its own format, or a value in it is impossible
  'FILE_INCOMPLETE', // a file or checkpoint is still being written
  'AMBIGUOUS', // several files or folders could be meant, and none is guessed
  'FILE_VANISHED', // a file disappeared while it was read (trainers rotate checkpoints)
  'UNSUPPORTED', // valid input of a kind that is refused by name
  'MODEL_LOAD', // llama.cpp could not load the model
  'DEVICE', // a device is not there, or what it computes is wrong
  'MODEL_CLOSED', // the model was closed before or during the call
  'ADAPTER_INVALID', // an adapter contradicts itself (shapes, missing pairs, NaN)
  'ADAPTER_MISMATCH', // an adapter does not fit this base model
  'ADAPTER_NO_EFFECT', // an adapter matches nothing or changes nothing
  'TEMPLATE', // a chat template is missing, malformed or refuses the messages
  'PROMPT_TOO_LONG', // a prompt does not fit the context or the batch budget
  'COMPUTE', // llama.cpp failed while computing
  'OUT_OF_MEMORY', // not enough memory for the model, context or result
  'JUDGE', // answers cannot be judged: no judge to be had, refused, or of no use
  'NETWORK', // a server cannot be reached, or refuses what it is sent
  'ABORTED', // an AbortSignal fired
  'NOT_FITTED', // predict before fit
  'SHAPE', // numbers of a wrong shape or not finite
  'NOT_COMPARABLE', // two artifacts were made under different conditions
  'BINDING', // the native addon could not be loaded
  'DOWNLOAD', // what npm was to fetch cannot be had, or is not what was published
  'INTERNAL', // a bug in traitscope
] as const

/** A code of {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number]

/** What everything rejects with. `message` says what was expected, what was found and what to do; `cause` may hold more. */
export class TraitscopeError extends Error {
  override readonly name = 'TraitscopeError'
  /** Stable, machine-readable; see {@link ERROR_CODES}. */
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/** True for a TraitscopeError, of one given code if `code` is named. */
export function isTraitscopeError(error: unknown, code?: ErrorCode): error is TraitscopeError {
  return error instanceof TraitscopeError && (code === undefined || error.code === code)
}

/** An error that nobody expected, as one of the family. */
export function asTraitscopeError(cause: unknown, doing: string): TraitscopeError {
  if (isTraitscopeError(cause)) return cause
  return new TraitscopeError('INTERNAL', `${doing} failed unexpectedly`, { cause })
}

/** Of whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** An error with what was computed, where a computation failed: it knows numbers alone. Others name their files themselves. */
export function computing(what: string, error: unknown): unknown {
  if (!isTraitscopeError(error, 'COMPUTE')) return error
  return new TraitscopeError('COMPUTE', `${what}: ${error.message}`, { cause: error })
}

/** Throws `ABORTED` when the signal has fired; the signal's reason becomes the cause. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal)
}

/** What {@link throwIfAborted} throws. */
export function abortedError({ reason }: AbortSignal): TraitscopeError {
  return new TraitscopeError('ABORTED', 'the operation was aborted by its signal', { cause: reason })
}
