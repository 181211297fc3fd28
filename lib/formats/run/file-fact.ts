/**
 * `checkpoint-10/adapter_model.safetensors 1a2b3c4d5e6f`: the first file with the beginning of its SHA-256, and how many
 * tensor files there are beside it.
 */
export function fileFact(files: readonly { path: string; sha256?: string }[]): string {
  const [first, ...more] = files
  if (!first) return 'no file'
  const others = more.filter(({ path }) => path.endsWith('.safetensors')).length
  const hash = first.sha256 === undefined ? ' (not hashed)' : ` ${first.sha256.slice(0, 12)}`
  return `${first.path}${hash}${others > 0 ? ` and ${others} more` : ''}`
}
