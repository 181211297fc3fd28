import { describe, expect, it } from 'vitest'
import { columnsOf, fitted, oneLine, painted, plain, rendered, safeJson } from '../../bin/text.js'

const ESC = '\u001b'

describe('plain', () => {
  it.each([
    ['an escape sequence', `${ESC}]0;title\u0007${ESC}[2J`, '\\u001b]0;title\\u0007\\u001b[2J'],
    ['an eight-bit one', '\u009b31m', '\\u009b31m'],
    ['a carriage return', 'bad\rgood', 'bad\\u000dgood'],
    ['a backspace', 'x\bY', 'x\\u0008Y'],
    ['text that turns round', 'a\u202egnp.exe', 'a\\u202egnp.exe'],
  ])('should show %s instead of sending it', (_, text, shown) => {
    expect(plain(text)).toBe(shown)
  })

  it('should leave words, line ends and pictures alone', () => {
    const text = 'Ünïcödé 模型 🙂\n\tnext line'
    expect(plain(text)).toBe(text)
  })
})

describe('oneLine', () => {
  it('should not let a name make a line of its own, or borrow our colours', () => {
    expect(oneLine('name\nfits base  yes')).toBe('name\\u000afits base  yes')
    expect(oneLine(`x${painted('red', 'y')}`)).toBe('x\\ufdd3y\\ufdd0')
  })
})

describe('rendered', () => {
  it('should send the colours that we painted, and nothing else', () => {
    expect(rendered(`${painted('red', 'no')}: ${ESC}[32myes`, true)).toBe(
      `${ESC}[31mno${ESC}[0m: \\u001b[32myes`,
    )
    expect(rendered(painted('red', 'no'), false)).toBe('no')
  })

  it('should not take a colour from a painted text', () => {
    expect(rendered(painted('red', `a${painted('green', 'b')}c`), true)).toBe(
      `${ESC}[31ma\\ufdd4b\\ufdd0c${ESC}[0m`,
    )
  })
})

describe('safeJson', () => {
  it('should parse to the same value and hold nothing that commands a terminal', () => {
    const value = { name: `${ESC}[2J\u009b31m\u202e\u007f`, list: [1, null, 'ä模'] }
    const text = safeJson(value)
    expect(JSON.parse(text)).toEqual(value)
    expect(text).toBe('{"name":"\\u001b[2J\\u009b31m\\u202e\\u007f","list":[1,null,"ä模"]}')
  })
})

describe('columnsOf and fitted', () => {
  it.each([
    ['plain', 5],
    ['模型', 4],
    ['e\u0301', 1],
    ['🙂', 2],
  ])('should count the columns of %s', (text, columns) => {
    expect(columnsOf(text)).toBe(columns)
  })

  it('should leave out the middle of what is too long', () => {
    expect(fitted('/models/long/base.gguf', 11)).toBe('/mode….gguf')
    expect(fitted('short', 11)).toBe('short')
    for (let columns = 0; columns < 30; columns++) {
      expect(columnsOf(fitted('一二三四五六七八九十.gguf', columns))).toBeLessThanOrEqual(columns)
    }
  })
})
