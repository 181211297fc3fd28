/**
 * Whether a module is saved by a name in `modules_to_save`, as PEFT finds them: the name is the end of its path, or of the path
 * of a module that it lies in.
 */
export function isSavedBy(name: string, path: string): boolean {
  const parts = path.split('.')
  return parts.some((_, i) =>
    parts
      .slice(0, i + 1)
      .join('.')
      .endsWith(name),
  )
}
