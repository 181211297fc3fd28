import type { Message } from '../prompts/messages.js'

/** What stands before a prompt when it is read in a context: a system prompt, the beginning of the first turn, or both. */
export interface Context {
  /** For people: the text itself where it is short. Each name once in a measurement. */
  name: string
  /** `given` by a user, from the training `data`, or `unrelated` to it, as a control. */
  origin: 'given' | 'data' | 'unrelated'
  system?: string
  /** Stands before the user's words; a space comes between where it ends in no white space. */
  prefix?: string
  /** Of the data's rows, in (0, 1]; absent for others. */
  share?: number
  /** Of an unrelated one: the name of the context that it is as long as. */
  like?: string
}

/** The messages of a prompt, read in a context. */
export function inContext(
  messages: readonly Message[],
  { system, prefix }: Pick<Context, 'system' | 'prefix'>,
): Message[] {
  const first = messages.findIndex(({ role }) => role === 'user')
  const before = prefix === undefined || /\s$/.test(prefix) ? (prefix ?? '') : `${prefix} `
  const turns = messages.map((message, i) =>
    i === first ? { ...message, content: before + message.content } : message,
  )
  return system === undefined ? turns : [{ role: 'system', content: system }, ...turns]
}

const LONGEST_NAME = 48

/**
 * Contexts with names: what each is and how it begins, and a number where several begin alike.
 *
 * @param others names that are taken
 */
export function named(
  contexts: readonly (Omit<Context, 'name'> & { name?: string })[],
  others: Iterable<string> = [],
): Context[] {
  const taken = new Set<string | undefined>([...others, ...contexts.map(({ name }) => name)])
  return contexts.map((context) => {
    if (context.name !== undefined) return { ...context, name: context.name }
    const unrelated = context.origin === 'unrelated' ? 'unrelated ' : ''
    const said = [
      ...(context.system === undefined ? [] : [`system: ${beginning(context.system)}`]),
      ...(context.prefix === undefined ? [] : [`prefix: ${beginning(context.prefix)}`]),
    ]
    const whole = unrelated + said.join(', ')
    let name = whole
    for (let n = 2; taken.has(name); n++) name = `${whole} (${n})`
    taken.add(name)
    return { ...context, name }
  })
}

function beginning(text: string): string {
  const line = text.trim().replace(/\s+/g, ' ')
  return line.length <= LONGEST_NAME ? line : `${line.slice(0, LONGEST_NAME - 1)}…`
}
