/**
 * Why an embedding or head does not fit a base that has another number of rows, and the way out, as the end of a
 * sentence: trainers resize the vocabulary for a new pad token or a cloned chat template, and the same must be done to
 * the base.
 *
 * @param rows of the checkpoint
 * @param available rows of the base
 */
export function resizedVocabulary(rows: number, available: number): string {
  return `its vocabulary was resized from ${available} to ${rows} rows, so do the same to the base: load the original model with transformers, model.resize_token_embeddings(${rows}), save_pretrained it and the tokenizer of the training into one folder, convert that with "traitscope convert", make directions for it, and measure on it`
}
