/** Row-major `[columns, rows]` from row-major `[rows, columns]`. */
export function transposeMatrix(values: Float32Array, rows: number): Float32Array {
  const columns = values.length / rows
  const result = new Float32Array(values.length)
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) result[i * rows + j] = values[j * columns + i]!
  }
  return result
}
