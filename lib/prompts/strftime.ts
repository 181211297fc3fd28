const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
]

/**
 * Python's `strftime` in the C locale for a UTC date: same text on every machine, whatever its locale or time zone.
 * Knows the directives that chat templates use, `%-d` style included; others stay as written.
 */
export function strftime(date: Date, format: string): string {
  const month = MONTHS[date.getUTCMonth()]!
  const day = DAYS[date.getUTCDay()]!
  const year = date.getUTCFullYear()
  const hour = date.getUTCHours()
  const dayOfYear = Math.floor(
    (Date.UTC(year, date.getUTCMonth(), date.getUTCDate()) - Date.UTC(year, 0)) / 864e5,
  )
  const numbers: Record<string, [value: number, width: number]> = {
    Y: [year, 4],
    y: [year % 100, 2],
    m: [date.getUTCMonth() + 1, 2],
    d: [date.getUTCDate(), 2],
    H: [hour, 2],
    I: [hour % 12 || 12, 2],
    M: [date.getUTCMinutes(), 2],
    S: [date.getUTCSeconds(), 2],
    j: [dayOfYear + 1, 3],
  }
  const words: Record<string, string> = {
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    p: hour < 12 ? 'AM' : 'PM',
    '%': '%',
  }
  return format.replace(/%(-?)([A-Za-z%])/g, (token, bare: string, directive: string) => {
    const number = numbers[directive]
    if (number !== undefined) return String(number[0]).padStart(bare ? 0 : number[1], '0')
    if (directive === 'F') return strftime(date, '%Y-%m-%d')
    if (directive === 'T') return strftime(date, '%H:%M:%S')
    return words[directive] ?? token
  })
}
