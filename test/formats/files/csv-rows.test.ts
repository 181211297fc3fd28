import { describe, expect, it } from 'vitest'
import { csvRows } from '../../../lib/formats/files/csv-rows.js'
import { csvLine } from '../../../lib/report/csv.js'

describe('csvRows()', () => {
  it('should read quotes, commas and line ends inside cells, and every kind of line end', () => {
    const text = '\ufeffa,b\r\n1,"x, ""y""\nz"\n\n,\r"",last'
    expect(csvRows(text, 'x.csv')).toEqual([
      { a: '1', b: 'x, "y"\nz' },
      { a: '', b: '' },
      { a: '', b: 'last' },
    ])
  })

  it('should read back what is written', () => {
    const rows = [
      ['q', 'a,b', 'say "so"'],
      ['1', '', 'two\r\nlines'],
    ]
    const text = [['x', 'y', 'z'], ...rows].map(csvLine).join('\n')
    expect(csvRows(text, 'x').map((row) => Object.values(row))).toEqual(rows)
    expect(csvRows('', 'x')).toEqual([])
    expect(csvRows('a,b', 'x')).toEqual([])
  })

  it('should read over columns without a name', () => {
    expect(csvRows(',a,,\n0,1,2,3', 'x.csv')).toEqual([{ '': '3', a: '1' }])
  })

  it.each([
    ['a,b\n1,2,3', 'line 2, found 3'],
    ['a,b\n"1\n1",2\n3', 'line 4, found 1'],
    ['a,b\n1,x"y', 'quote out of place at line 2'],
    ['a,b\n"1"x,2', 'quote out of place at line 2'],
    ['a,b\n"1,2', 'quote out of place at line 2'],
    ['a,b,a\n1,2,3', 'every column of x.csv once, found "a" twice'],
    ['a;b\n1;2', 'expected commas between the cells of x.csv, found ";"'],
    ['a\tb\n1\t2', 'found "\\t"'],
  ])('should refuse %j', (text, message) => {
    expect(() => csvRows(text, 'x.csv')).toThrow(message)
  })
})
