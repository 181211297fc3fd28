/** What an attacker would put into a template: endless work, huge values, deep nesting, names that do not exist. */
const SNIPPETS = [
  '{% for i in range(99999) %}x{% endfor %}',
  '{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}',
  '{% macro again(n) %}{{ again(n) }}{{ again(n) }}{% endmacro %}{{ again(1) }}',
  '{% set ns = namespace(text="x") %}{% for i in range(60) %}{% set ns.text = ns.text + ns.text %}{% endfor %}',
  '{% set ns = namespace(all=[1]) %}{% for i in range(60) %}{% set ns.all = ns.all + ns.all %}{% endfor %}{{ ns.all }}',
  '{{ "x" * 999999999 }}',
  '{{ range(-1, 9999999999) }}',
  '{{ messages | tojson(indent=99999999) }}',
  '{{ messages[0].content | indent(99999999) }}',
  '{{ (messages | tojson).replace("", messages | tojson | indent(9999)) }}',
  '{{ range(9999) | join(range(9999) | join("long")) }}',
  '{{ messages[0].constructor.constructor("return process")() }}',
  '{{ messages.__proto__ }}',
  '{{ messages | sort(attribute="content") | map(attribute="role") | join(",") }}',
  '{{ raise_exception("no") }}',
  '{{ strftime_now("%") }}{{ strftime_now("%Q%Q%Q") }}',
  '{{ undefined_name.first.second }}',
  '{{ messages[-999999999]["content"] }}',
  '{% if %}',
  '{% endfor %}',
  '{{ 1 / 0 }}{{ 9007199254740993 % 0 }}',
  '{{ "\ud800" }}',
  `{{ ${'('.repeat(20_000)} }}`,
  `{{ ${'[1,'.repeat(20_000)} }}`,
  `${'{% if true %}'.repeat(5000)}`,
  `{{ ${'not '.repeat(20_000)} true }}`,
  `{{ ${'messages | '.repeat(2000)} length }}`,
]

/** Changes the statements and expressions of a Jinja template; what lies between them stays as it is. */
const CHANGES = {
  'remove a part': (_, parts, at) => parts.splice(at, 1),
  'repeat a part': (_, parts, at) => parts.splice(at, 0, parts[at]),
  'repeat parts': (_, parts, at) => parts.splice(at, 0, ...parts.slice(at, at + 12)),
  'move a part': (random, parts, at) => parts.splice(random.below(parts.length), 0, ...parts.splice(at, 1)),
  snippet: (random, parts, at) => parts.splice(at, 0, random.pick(SNIPPETS)),
  'snippet instead': (random, parts, at) => parts.splice(at, 1, random.pick(SNIPPETS)),
  'other name': (random, parts, at) => {
    const other = random.pick(['messages', 'range', 'loop', 'none', 'x', '0', '"a"', '[]', '{}', 'namespace'])
    parts[at] = parts[at].replace(/\b[a-z_]+\b(?= *[%}.[|(])/, other)
  },
  'other operator': (random, parts, at) => {
    const other = random.pick([' in ', ' + ', ' ~ ', ' | ', ' is ', ' and ', ' * ', '.', ' if ', ' == '])
    parts[at] = parts[at].replace(/ (==|!=|\+|in|is|and|or|\|) |\./, other)
  },
}

export function mutateTemplate(random, source, notes) {
  const parts = source.split(/(\{%.*?%\}|\{\{.*?\}\})/s)
  for (let i = random.pick([1, 1, 2, 4]); i > 0 && parts.length > 0; i--) {
    const name = random.pick(Object.keys(CHANGES))
    notes.push(name)
    CHANGES[name](random, parts, random.below(parts.length))
  }
  return parts.join('')
}
