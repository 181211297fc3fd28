import { describe, expect, it } from 'vitest'
// @ts-expect-error a script without types
import { pictureOf, screenOf } from '../../scripts/terminal-picture.mjs'

const ESC = '\u001b['
const text = (rows: [string, string][][]) =>
  rows.map((cells) => cells.map(([character]) => character).join(''))

describe('screenOf', () => {
  it('should show the last frame of a view that is redrawn in place', () => {
    const first = `${ESC}?25l${ESC}?2026hone${ESC}K\r\ntwo, longer${ESC}K\r\n${ESC}J${ESC}?2026l`
    const second = `${ESC}?2026h${ESC}2A\rONE${ESC}K\r\ntwo${ESC}K\r\n${ESC}J${ESC}?2026l${ESC}?25hend\r\n`
    expect(text(screenOf(first + second))).toEqual(['ONE', 'two', 'end'])
  })
})

describe('pictureOf', () => {
  it('should place words by column, in the colours of the terminal', () => {
    const svg: string = pictureOf(screenOf(`a  <b>\r\n${ESC}31mred${ESC}0m\r\n`), 'title')
    const words = [...svg.matchAll(/<text x="([\d.]+)" y="([\d.]+)" fill="(#\w+)"[^>]*>([^<]*)</g)]
    expect(words.map(([, x, y, fill, word]) => [x, y, fill, word])).toEqual([
      ['16.0', '29.5', '#d0d7de', 'a'],
      ['41.2', '29.5', '#d0d7de', '&lt;b&gt;'],
      ['16.0', '47.5', '#ff7b72', 'red'],
    ])
  })
})
