import { describe, expect, it } from 'vitest'
import { commandWords } from '../../lib/notices/command-words.js'

describe('commandWords()', () => {
  it.each<[string, string[]]>([
    ['scancel --signal=TERM 42', ['scancel', '--signal=TERM', '42']],
    ["  mail -s 'an alarm' me\t", ['mail', '-s', 'an alarm', 'me']],
    ['say "it is \\"bad\\"" \'\' a\\ b', ['say', 'it is "bad"', '', 'a b']],
    ['"a"\'b\'c', ['abc']],
    // Nothing of this means anything without a shell.
    ['echo $HOME; rm * | cat > x', ['echo', '$HOME;', 'rm', '*', '|', 'cat', '>', 'x']],
    ["C:\\\\tools\\\\x.exe '\\n'", ['C:\\tools\\x.exe', '\\n']],
  ])('should split %s', (line, words) => {
    expect(commandWords(line)).toEqual(words)
  })

  it.each(['', '  ', 'a "b', "it's"])('should refuse %j', (line) => {
    expect(() => commandWords(line)).toThrowError(expect.objectContaining({ code: 'USAGE' }))
  })
})
