import { TraitscopeError } from '../errors.js'

/**
 * The words of a command line as a shell splits them, quotes and backslashes understood, and nothing else: no variable, glob,
 * pipe or redirection, because no shell is ever asked.
 *
 * @throws TraitscopeError USAGE for an open quote, or no word at all
 */
export function commandWords(line: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote: string | undefined
  for (let i = 0; i < line.length; i++) {
    const character = line[i]!
    if (quote !== undefined) {
      if (character === quote) quote = undefined
      else if (character === '\\' && quote === '"' && '"\\'.includes(line[i + 1] ?? ' ')) word += line[++i]!
      else word += character
    } else if (character === '"' || character === "'") {
      quote = character
      word ??= ''
    } else if (character === '\\' && i + 1 < line.length) word = (word ?? '') + line[++i]!
    else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + character
  }
  if (quote !== undefined)
    throw new TraitscopeError('USAGE', `expected a closing ${quote} in the command ${line}`)
  if (word !== undefined) words.push(word)
  if (words.length === 0) throw new TraitscopeError('USAGE', 'expected a command, found an empty one')
  return words
}
