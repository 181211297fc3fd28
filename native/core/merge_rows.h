#pragma once
// A weight change on rows of a quantised matrix: dequantise, change, requantise. Knows nothing of models or
// adapters, only of numbers.

#include "core/job.h"

#include <cstddef>
#include <cstdint>
#include <ggml.h>
#include <string>

namespace traitscope {

template <typename T> struct View {
    T * data = nullptr;
    size_t size = 0; ///< elements
};

/// Consecutive rows of one matrix and what happens to them, in this order: a row is taken from the base (or
/// is zero), or replaced; B·A is added; it is scaled to a norm; columns are scaled; `strength` of the whole
/// change is applied to the base's row.
struct RowMerge {
    std::string name; ///< of the tensor, for errors
    ggml_type source = GGML_TYPE_F32;
    ggml_type target = GGML_TYPE_F32;
    int64_t rows = 0;
    int64_t columns = 0;
    View<const uint8_t> base; ///< rows of type `source`; empty: zeros

    int64_t rank = 0;
    View<const float> a; ///< [rank, columns]
    View<const float> b; ///< [rows, rank], scale included

    View<const int32_t> replaced;  ///< per row: its row in `replacement`, or -1; empty: none is
    View<const float> replacement; ///< [n, columns]

    View<const float> row_norms;      ///< [rows]; empty: norms stay
    View<const float> column_factors; ///< [columns]; empty: all 1
    float strength = 1;
    int32_t n_threads = 1;
};

/// True for types whose quantiser needs no importance matrix and cannot abort.
bool can_requantize(ggml_type type);

/// Fills `out`, which has rows of type `target`. Throws FileInvalid for a base that is not finite,
/// AdapterInvalid for results that are not finite or do not fit the target type, Aborted, OutOfMemory.
void merge_rows(const RowMerge & merge, View<uint8_t> out, const Job & job);

/// Adds to `out` [columns] the sum over the rows of each squared element, after B·A is added.
void add_column_squares(const RowMerge & merge, View<double> out, const Job & job);

} // namespace traitscope
