import { afterEach, describe, expect, it, vi } from 'vitest'
import { TemplateEngine } from '../../lib/prompts/template-engine.js'

const today = new Date('2024-07-26T00:00:00Z')
const render = (source: string) => new TemplateEngine(source).render({ messages: [{ content: 'x' }] }, today)

afterEach(() => vi.restoreAllMocks())

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
    ['endless recursion', '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}', /failed/],
    ['a range without an end', '{{ range(0, 9, 0) }}', /step that is not zero/],
  ])('should stop %s', (_, source, text) => {
    // The bound on time stands still: what is counted must do, on a slow machine too.
    vi.spyOn(performance, 'now').mockReturnValue(0)
    expect(() => render(source)).toThrow(
      expect.objectContaining({ code: 'TEMPLATE', message: expect.stringMatching(text) }),
    )
  })

  it('should stop what takes longer than it may, whatever it counts', () => {
    let now = 0
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 100))
    expect(() => render('{% for i in range(9000) %}{{ i }}{% endfor %}')).toThrow(
      expect.objectContaining({ code: 'TEMPLATE', message: expect.stringMatching(/longer than 3000 ms/) }),
    )
  })

  it.each([
    ['an empty template', ' \n', /empty/],
    ['an unclosed tag', '{% if x %}', /not valid Jinja/],
    ['a closed tag that was not open', '{% endif %}', /not valid Jinja/],
    ['text of a megabyte', 'x'.repeat(2 ** 20), /at most 524288 characters, found 1048576/],
    ['brackets without end', `{{ ${'['.repeat(200_000)}`, /not valid Jinja/],
  ])('should refuse %s', (_, source, text) => {
    expect(() => new TemplateEngine(source)).toThrow(
      expect.objectContaining({ code: 'TEMPLATE', message: expect.stringMatching(text) }),
    )
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
