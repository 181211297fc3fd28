const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text as XML or HTML content, safe in double-quoted attributes too. */
export function escapeXml(content: string): string {
  // Control characters are not XML at all; those that turn the direction of writing would disguise what stands beside them.
  return content
    .replace(/[&<>"']/g, (c) => ENTITIES[c]!)
    .replace(/[^\P{Cc}\t\n]|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
}

/** A value as JSON inside a script element: it can neither end the element nor begin a comment. */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
