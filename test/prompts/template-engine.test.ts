import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { boundedInterpreter, type JinjaPackage } from '../../lib/prompts/template-bounds.js'
import { TemplateEngine } from '../../lib/prompts/template-engine.js'

const today = new Date('2024-07-26T00:00:00Z')
const render = (source: string) => new TemplateEngine(source).render({ messages: [{ content: 'x' }] }, today)

describe('TemplateEngine', () => {
  it.each([
    ['{{ range(3) | list }}', '[0, 1, 2]'],
    ['{{ range(4, 1, -2) | list }}', '[4, 2]'],
    ['{{ range(2, 2) | list }}', '[]'],
    ['{%- for i in range(1, 9) %}{% if i is odd %}{% continue %}{% endif %}{{ i }}{% endfor %}', '2468'],
    ['a {% if true %}\n  b\n  {% endif %}\nc\n', 'a   b\nc'],
    ['{{ messages[0].missing is defined }} {{ nothing is undefined }}', 'false true'],
  ])('should render %j to %j', (source, text) => {
    expect(render(source)).toBe(text)
  })

  // Each as jinja2 renders it: the package passes over which characters are to go, and takes other ones for blank.
  it.each([
    ["[{{ text.strip('\\n') }}]", '[ \u{1f600}x\u0085 ]'],
    ["[{{ text.lstrip('\\n ') }}]", '[\u{1f600}x\u0085 \n]'],
    ["[{{ text['rstrip']('\\n') }}]", '[\n \u{1f600}x\u0085 ]'],
    ["[{{ text.strip('\u{1f600}\\n ') }}]", '[x\u0085]'],
    ["[{{ text.strip('') }}]", '[\n \u{1f600}x\u0085 \n]'],
    [
      '[{{ text.strip() }}] [{{ text.strip(none) }}] [{{ text | trim }}]',
      '[\u{1f600}x] [\u{1f600}x] [\u{1f600}x]',
    ],
    ["{{ '\\ufeff a'.strip() | length }}", '3'],
    ["{{ text.strip('\\n ').split('x')[0].strip().upper() }}", '\u{1f600}'],
  ])('should strip in %j what Python strips', (source, expected) => {
    expect(new TemplateEngine(source).render({ text: '\n \u{1f600}x\u0085 \n' }, today)).toBe(expected)
  })

  it('should refuse what Python does not strip', () => {
    expect(() => render("{{ 'a'.strip(1) }}")).toThrow(/strip\(\) takes one text/)
    expect(() => render("{{ 'a'.strip(chars='a') }}")).toThrow(/strip\(\) takes one text/)
  })

  const LONG =
    "{% set n = namespace(s='abcd. ') %}{% for i in range(15) %}{% set n.s = n.s ~ n.s %}{% endfor %}"

  // Each of these costs minutes or gigabytes when nothing bounds it.
  it.each([
    ['nested loops', '{% for i in range(9000) %}{% for j in range(9000) %}{% endfor %}{% endfor %}', /steps/],
    ['a huge range', '{{ range(1000000000) | list }}', /range\(\) of 1000000000 entries/],
    [
      'a string that doubles',
      "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
      /value larger/,
    ],
    [
      'a list that doubles',
      '{% set n = namespace(a=[1]) %}{% for i in range(60) %}{% set n.a = n.a + n.a %}{% endfor %}',
      /steps/,
    ],
    [
      'a list that nests itself twice',
      '{% set n = namespace(a=[1]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a | tojson }}',
      /value larger/,
    ],
    ['an indent without end', '{{ messages | tojson(indent=99999999) }}', /filter or method may make/],
    ['a margin without end', '{{ "a" | indent(width=99999999) }}', /filter or method may make/],
    [
      'a separator that is long itself',
      '{% set long = range(9999) | join("0123456789") %}{{ range(9999) | join(long) }}',
      /filter or method may make/,
    ],
    [
      'a replacement of everything by everything',
      '{% set long = range(9999) | join(" ") %}{{ long.replace("", long) }}',
      /filter or method may make/,
    ],
    [
      'a replacement by another name',
      '{% set long = range(9999) | join(" ") %}{% set f = long["replace"] %}{{ f("", long) }}',
      /filter or method may make/,
    ],
    [
      'a long text that is turned round again and again',
      `${LONG}{% for i in range(9999) %}{% if n.s[::-1] %}{% endif %}{% endfor %}`,
      /steps/,
    ],
    [
      'a search that fails late, again and again',
      `${LONG}{% set p = 'b' ~ n.s %}{% for i in range(9999) %}{% if p in n.s %}{% endif %}{% endfor %}`,
      /steps/,
    ],
    [
      'a sorted list of long texts',
      `${LONG}{% set l = [n.s ~ 1, n.s ~ 2, n.s ~ 3] %}{% for i in range(9999) %}{% if l | sort %}{% endif %}{% endfor %}`,
      /steps/,
    ],
    [
      'a list that is written out again and again',
      '{% set n = namespace(a=[1]) %}{% for i in range(14) %}{% set n.a = [n.a, n.a] %}{% endfor %}' +
        '{% for i in range(9999) %}{% if n.a ~ "" %}{% endif %}{% endfor %}',
      /steps/,
    ],
    [
      'a path that is longer than what it leads to',
      `${LONG}{% for i in range(9999) %}{% if [{}, {}] | map(attribute=n.s) %}{% endif %}{% endfor %}`,
      /steps/,
    ],
    [
      'a macro that is defined again and again',
      `{% for i in range(9999) %}{% macro m(a) %}${'{{ a.b.c }}'.repeat(2000)}{% endmacro %}{% endfor %}`,
      /steps/,
    ],
    [
      'endless breaking off',
      '{% for i in range(9999) %}{% for j in range(9999) %}{% continue %}{% endfor %}{% endfor %}',
      /steps/,
    ],
    [
      'a namespace that grows after it was weighed',
      '{% set n = namespace(s="ab") %}{% set l = [n, n, n, n, n, n, n, n, n, n] %}{% if l %}{% endif %}' +
        '{% for i in range(20) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ l }}',
      /value larger/,
    ],
    ['endless recursion', '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}', /failed/],
    ['a range without an end', '{{ range(0, 9, 0) }}', /step that is not zero/],
  ])('should stop %s', (_, source, text) => {
    expect(() => render(source)).toThrow(
      expect.objectContaining({ code: 'TEMPLATE', message: expect.stringMatching(text) }),
    )
  })

  it.each([
    ['an empty template', ' \n', /empty/],
    ['an unclosed tag', '{% if x %}', /not valid Jinja/],
    ['a closed tag that was not open', '{% endif %}', /not valid Jinja/],
    ['text of a megabyte', 'x'.repeat(2 ** 20), /at most 524288 characters, found 1048576/],
    ['a run of blanks, which costs the square of its length', `x${' '.repeat(501)}`, /500 blank characters/],
    [
      'a blank that Python strips and JavaScript does not',
      'x\u0085{%- if true %}{% endif %}',
      /line 1 .*U\+0085/,
    ],
    ['a byte order mark', '\ufeff{{ x }}', /line 1 .*U\+FEFF/],
    ['an indent that jinja2 takes away', 'a\n \u00a0{% if true %}b{% endif %}', /line 2 .*U\+00A0/],
    ['brackets without end', `{{ ${'['.repeat(200_000)}`, /not valid Jinja/],
  ])('should refuse %s', (_, source, text) => {
    expect(() => new TemplateEngine(source)).toThrow(
      expect.objectContaining({ code: 'TEMPLATE', message: expect.stringMatching(text) }),
    )
  })

  it('should give an honest template the time that it needs beside a busy trainer', () => {
    const clock = vi.spyOn(performance, 'now')
    let now = 0
    clock.mockImplementation(() => {
      now += 60_000
      return now
    })
    expect(render('{% for i in range(100) %}{{ messages[0].content }}{% endfor %}')).toBe('x'.repeat(100))
    clock.mockRestore()
  })

  it('should have room for long conversations in templates that look back', () => {
    const source =
      '{%- for message in messages %}{%- for other in messages[::-1] %}' +
      "{%- if other.content is string and not other.content.startswith('<') %}{%- break %}{%- endif %}" +
      '{%- endfor %}{{- message.role + message.content | trim }}{%- endfor %}'
    const messages = Array.from({ length: 200 }, (_, i) => ({
      role: i % 2 ? 'assistant' : 'user',
      content: 'word '.repeat(100),
    }))
    expect(new TemplateEngine(source).render({ messages }, today)).toHaveLength(200 * 499 + 100 * (9 + 4))
  })

  it('should evaluate once what it bounds', () => {
    const count = '{% set n = namespace(i=0) %}{% macro m() %}{% set n.i = n.i + 1 %}a{% endmacro %}'
    expect(
      render(`${count}{{ m().replace(m(), "b") }}{{ m() | indent(width=2 + m() | length) }}{{ n.i }}`),
    ).toBe('ba4')
  })

  it("should pass the template's own refusal on", () => {
    expect(() => render("{{ raise_exception('no poems') }}")).toThrow(
      'the chat template refuses these messages: no poems',
    )
  })

  it('should name a call that cannot be made', () => {
    expect(() => render('{{ open("/etc/passwd") }}')).toThrow(/the chat template failed: Cannot call/)
  })
})

describe('boundedInterpreter', () => {
  it('should refuse an interpreter without a method that carries the bounds', () => {
    class Renamed {
      run() {}
      evaluate() {}
      evaluateArguments() {}
      evaluateMemberExpression() {}
      applyFilters() {}
    }
    const Interpreter = Renamed as unknown as JinjaPackage['Interpreter']
    expect(() => boundedInterpreter(Interpreter)).toThrow(/has no Interpreter\.applyFilter, .*package\.json/)
  })

  it('should be made for the version that is pinned', () => {
    const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
    const pinned = read(join(packageRoot, 'package.json')).dependencies['@huggingface/jinja']
    const entry = createRequire(import.meta.url).resolve('@huggingface/jinja')
    const installed = read(join(entry.slice(0, entry.lastIndexOf('jinja')), 'jinja', 'package.json')).version
    expect(pinned).toBe(installed)
  })
})
