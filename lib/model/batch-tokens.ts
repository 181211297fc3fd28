const MEMORY_BUDGET = 700e6
const CHOICES = [2048, 1536, 1024, 768, 512, 384, 256]

/**
 * Largest batch whose working memory stays near 700 MB: F32 keys and values of all blocks, the attention scores of one
 * block and its feed-forward activations.
 */
export function defaultBatchTokens(metadata: ReadonlyMap<string, unknown>, architecture: string): number {
  const number = (key: string, fallback: number) => {
    const value = metadata.get(`${architecture}.${key}`)
    return typeof value === 'number' && value > 0 ? value : fallback
  }
  const nLayer = number('block_count', 32)
  const nEmbd = number('embedding_length', 4096)
  const nHead = number('attention.head_count', 32)
  const nHeadKv = number('attention.head_count_kv', nHead)
  const headDim = number('attention.key_length', nEmbd / nHead)
  const nFf = number('feed_forward_length', 4 * nEmbd)
  const bytes = (n: number) => 4 * n * (2 * nLayer * nHeadKv * headDim + nHead * n + 2 * nFf + 6 * nEmbd)
  return CHOICES.find((n) => bytes(n) <= MEMORY_BUDGET) ?? CHOICES.at(-1)!
}
