/** Options that take one value and are given two: the last counts, as aliases and scripts rely on, and it is said. */

import type { Command } from 'commander'
import { adapterFlag } from './adapters.js'
import { repeated } from './options.js'

/** Parsers of the options that may be given several times. */
const COLLECT: ReadonlySet<unknown> = new Set([repeated, adapterFlag])

/** @param say hears of every option that another value, or its contrary, was given before */
export function tellGivenTwice(command: Command, say: (text: string) => void): void {
  const given = new Map<string, string>()
  for (const each of command.options) {
    if (COLLECT.has(each.parseArg)) continue
    command.on(`option:${each.name()}`, (value?: string | null) => {
      const now = value == null ? each.long! : `${each.long} ${value}`
      const before = given.get(each.attributeName())
      if (before !== undefined && before !== now) say(`${now} counts, and ${before} before it does not`)
      given.set(each.attributeName(), now)
    })
  }
}
